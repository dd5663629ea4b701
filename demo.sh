#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs one task on a real Mesos master and our agent, in a container image when it may (root).
# Installs into .venv and the user's cache; as root also Debian packages that are missing.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
# shellcheck source=.ci/setup.sh
. .ci/setup.sh

[ "$(uname -sm)" = "Linux x86_64" ] || fail "Linux on x86_64 is needed: the real master is for it"
root=
[ "$(id -u)" = 0 ] && root=1

make_venv
need_library libsasl2.so.2 libsasl2-2
need_library libstdc++.so.6 libstdc++6
[ -n "$root" ] && need_debian is_static_busybox busybox-static

say "A real Mesos master (1.11.0, downloaded once)"
"$bin/mesos-compat" master --version 1.11.0 --prefetch || exit 1

# A cluster of its own, beside one that the user may have.
folder=$(mktemp -d "${TMPDIR:-/tmp}/mesos-compat-demo.XXXXXX") || exit 1
export XDG_RUNTIME_DIR=$folder/run XDG_STATE_HOME=$folder/state
mkdir -m 700 "$XDG_RUNTIME_DIR"

finish() {
    local status=$?
    trap - EXIT
    say "Bringing the cluster down"
    "$bin/mesos-compat" cluster down || status=1
    rm -rf --one-file-system "$folder" || status=1
    if [ $status = 0 ]; then
        say "Done: the task ran, and nothing of it is left"
    else
        say "The demo FAILED"
    fi
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ -n "$root" ]; then
    say "Building the image busybox:latest from Debian's busybox-static"
    "$bin/python" -m integration.images docker "$folder/images" busybox:latest || exit 1
    agent_flags=(
        --isolation=docker/runtime,filesystem/linux
        --image_providers=docker
        --docker_registry="$folder/images"
        --launcher=linux
        --executor_environment_variables={}
    )
    task_flags=(--docker_image=busybox:latest --containerizer=mesos)
    greeting='echo "Hello from $(busybox | head -n 1)"; sleep 1'
else
    say "Not root: the task runs without an image, for mounting one and entering it needs root"
    agent_flags=()
    task_flags=()
    greeting='echo Hello from $(uname -sr); sleep 1'
fi

say "Starting the master and an agent"
"$bin/mesos-compat" cluster up --detach --master-version 1.11.0 -- "${agent_flags[@]}" || exit 1
master=$("$bin/mesos-compat" cluster status | sed -n 's/^master *\([^ ]*\).*/\1/p')

say "mesos-execute --master=$master --name=demo ${task_flags[*]} --command='$greeting'"
"$bin/mesos-execute" --master="$master" --name=demo "${task_flags[@]}" --command="$greeting" \
    2>&1 | tee "$folder/execute.log" || exit 1
for state in TASK_STARTING TASK_RUNNING TASK_FINISHED; do
    grep -q "$state" "$folder/execute.log" || fail "no $state was reported"
done

say "What the task wrote"
cat "$XDG_STATE_HOME"/mesos-compat/cluster/agent-1/slaves/*/frameworks/*/executors/*/runs/*-*/stdout
