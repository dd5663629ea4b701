# SPDX-License-Identifier: Apache-2.0
# Sourced by demo.sh and test.sh, with the project as working directory.
#
#   need_debian PROBE PACKAGE   installs PACKAGE where PROBE fails: as root on Debian, else it says so
#   make_venv [EXTRA]           .venv with the project (and an extra) in it; sets $bin

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

say() {
    printf '\n== %s\n' "$*"
}

_apt_updated=

need_debian() {
    if eval "$1" >/dev/null 2>&1; then
        return 0
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        fail "the Debian package $2 is needed; install it first (as root: apt-get install $2)"
    fi
    say "Installing the Debian package $2"
    if [ -z "$_apt_updated" ]; then
        apt-get -qq update || fail "apt-get update failed; is there a network? $2 is needed"
        _apt_updated=1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$2" </dev/null \
        >/dev/null || fail "the Debian package $2 could not be installed"
}

need_library() {
    # ldconfig may be outside the PATH of a user. No -q: grep must read to the end of the pipe.
    need_debian "PATH=\$PATH:/sbin:/usr/sbin ldconfig -p | grep -F '$1 '" "$2"
}

is_static_busybox() {
    [ -x /bin/busybox ] && ! ldd /bin/busybox
}

_usable='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c "$_usable" >/dev/null 2>&1; then
            command -v "$python"
            return 0
        fi
    done
    return 1
}

make_venv() {
    bin=$PWD/.venv/bin
    if ! "$bin/python" -c "$_usable" >/dev/null 2>&1; then
        if ! find_python >/dev/null; then
            need_debian find_python python3-venv
        fi
        python=$(find_python) || fail "Python 3.11 or newer with its venv module is needed"
        say "Making .venv with $python"
        "$python" -m venv --clear .venv || fail "$python could not make .venv"
    fi
    # What was installed from which description: nothing to do, and no network needed, while it holds.
    local wanted stamp=.venv/installed${1:+-$1}
    wanted=$(cat setup.cfg pyproject.toml | sha256sum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
        say "Installing mesos-compat${1:+ with its $1 extra} into .venv"
        "$bin/python" -m pip install --quiet --disable-pip-version-check --editable ".${1:+[$1]}" \
            </dev/null || fail "pip could not install the project; is there a network?"
        printf '%s\n' "$wanted" >"$stamp"
    fi
}
