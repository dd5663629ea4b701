#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: ./test.sh [fast|root|integration|conformance|chaos|crash|qemu|lint|all] [argument ...]
#        (default: all; arguments are pytest's, but for chaos)
#
#   lint          ruff, mypy, import contracts
#   fast          tests without root and network
#   root          tests that need root and real kernel features
#   integration   tests with real masters, downloaded once
#   conformance   every scenario with every master; --masters 1.4.3,1.11.0 for some (root; minutes)
#   chaos         random faults while tasks run; --seconds N --seed S --master V (root; 10 minutes)
#   crash         agents and spawners killed at each step of a launch or a destroy (root; minutes)
#   qemu          tests of hosts with cgroups version 2 only, in an emulated one (root; slow)
#   all           lint, then every test but those of crash and qemu in one run; of conformance each
#                 scenario with one of the masters, of chaos half a minute
#
# Where CI is set to true, a test that is marked root or integration and fails is run once more; the
# summary lists it, and what it said at first. Each of them is a finding to be mended.
#
# Installs into .venv and the user's cache; as root also Debian packages that are missing.
# The exit code is 0 only if all that was asked for passes.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
# shellcheck source=.ci/setup.sh
. .ci/setup.sh

what=${1:-all}
[ $# -gt 0 ] && shift
case $what in
    lint | fast | root | integration | conformance | chaos | crash | qemu | all) ;;
    *) fail "unknown: $what (usage: ./test.sh [fast|root|integration|conformance|chaos|crash|qemu|lint|all] [argument ...])" ;;
esac

make_venv test

[ "$what" = lint ] || need_library libseccomp.so.2 libseccomp2
[ "$what" = lint ] || need_debian "command -v openssl" openssl

lint() {
    local failed=0
    "$bin/ruff" check . || failed=1
    "$bin/ruff" format --check . || failed=1
    "$bin/mypy" || failed=1
    "$bin/lint-imports" || failed=1
    return $failed
}

prepare_integration() {
    need_library libsasl2.so.2 libsasl2-2
    need_library libstdc++.so.6 libstdc++6
    # Masters before 1.10 use libevent.
    need_library libevent-2.1.so.7 libevent-2.1-7
    need_library libevent_openssl-2.1.so.7 libevent-openssl-2.1-7
    need_library libevent_pthreads-2.1.so.7 libevent-pthreads-2.1-7
    if [ "$(id -u)" = 0 ]; then
        prepare_images
        need_debian "command -v docker-registry" docker-registry
        need_debian "command -v tmux" tmux
        need_debian "PATH=\$PATH:/usr/sbin command -v ss" iproute2
        need_debian "command -v java" default-jre-headless
        need_debian "test -e /usr/share/java/zookeeper.jar" libzookeeper-java
        # Executors of others: the driver of mesos-go.
        need_debian "command -v go" golang-go
        need_debian "test -d /usr/share/gocode/src/github.com/mesos/mesos-go" \
            golang-github-mesos-mesos-go-dev
        # Networks that are cut.
        need_debian "PATH=\$PATH:/sbin:/usr/sbin command -v nft" nftables
    fi
    say "pymesos, a framework library that the tests use"
    "$bin/mesos-compat" pymesos install || exit 1
    say "Real Mesos masters (downloaded once)"
    # Those of --masters=1.5.3,1.9.0, too.
    local others
    others=$(grep -oP -- '--masters[= ]\K\S+' <<<"$*" | tr ',' ' ')
    for version in 1.4.3 1.7.3 1.10.0 1.11.0 $others; do
        "$bin/mesos-compat" master --version $version --prefetch || exit 1
    done
}

prepare_fast() {
    # Signatures of images. Their tests are skipped, and say so, where nothing can be installed.
    [ "$(id -u)" = 0 ] || return 0
    need_debian "command -v gpg" gnupg
    need_debian "command -v gpgv" gpgv
}

prepare_images() {
    prepare_fast
    need_debian is_static_busybox busybox-static
    for tool in skopeo buildah zstd; do
        need_debian "command -v $tool" "$tool"
    done
}

prepare_root() {
    prepare_images
    # Trees of images are compared with those that these make.
    need_debian "command -v umoci" umoci
    need_debian "PATH=\$PATH:/usr/sbin command -v mkfs.btrfs" btrfs-progs
    need_debian "PATH=\$PATH:/usr/sbin command -v debootstrap" debootstrap
}

lint_failed=0
case $what in
    lint)
        lint
        exit
        ;;
    fast)
        prepare_fast
        selection=(-m "not root and not integration" tests)
        ;;
    root)
        prepare_root
        selection=(-m "root and not integration and not crash" tests)
        ;;
    crash)
        need_debian is_static_busybox busybox-static
        selection=(-m crash tests)
        ;;
    integration)
        prepare_integration
        selection=(-m "integration and not qemu" integration)
        ;;
    conformance)
        prepare_integration "$@"
        selection=(--matrix integration/conformance integration/test_takeover.py)
        ;;
    chaos)
        prepare_integration
        exec "$bin/python" -m integration.chaos "$@" </dev/null
        ;;
    qemu)
        prepare_integration
        need_debian "command -v qemu-system-x86_64" qemu-system-x86
        need_debian "PATH=\$PATH:/usr/sbin command -v debootstrap" debootstrap
        selection=(-m qemu integration)
        ;;
    all)
        say "Lint and types"
        lint || lint_failed=1
        prepare_integration
        [ "$(id -u)" = 0 ] && prepare_root
        selection=(-m "not qemu and not crash" tests integration)
        if [ $lint_failed = 1 ]; then
            say "Lint or types FAILED, see above: the exit code will be 1 whatever the tests say"
        fi
        ;;
esac

# A folder of its own: pytest would clear away those of runs that are still going on.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/mesos-compat-test.XXXXXX") || exit 1
say "pytest ${selection[*]} $*"
reruns=()
[ "${CI:-}" = true ] && reruns=(-p tests.reruns --max-suite-reruns=10)
"$bin/python" -m pytest -raR --basetemp="$scratch/run" "${reruns[@]}" "${selection[@]}" "$@" \
    </dev/null
status=$?
# After a failure its logs and sandboxes stay to be looked at.
[ $status = 0 ] && { rm -rf --one-file-system "$scratch" || status=1; }
[ $status = 0 ] && status=$lint_failed
exit $status
