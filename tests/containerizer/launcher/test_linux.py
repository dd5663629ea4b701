# SPDX-License-Identifier: Apache-2.0
"""The linux launcher and all that a launch does, on the real kernel."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import stat
from dataclasses import replace

import pytest

from containerizer.launcher.base import ForkRequest, Stdio
from containerizer.launcher.linux import LinuxLauncher
from containerizer.launcher.spawn import Spawner
from containerizer.linux import cgroup1, mount, mountinfo, namespaces, proc
from containerizer.linux.mount import MS_MOVE
from containerizer.linux.namespaces import CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID
from mesos_compat.base.errors import FlagError, LaunchError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.launcher.host import (
    PSEUDO,
    LinuxHost,
    eventually,
    image_info,
    image_mounts,
    launch_info,
)
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.root


async def test_exit_status_is_the_raw_one(linux: LinuxHost) -> None:
    assert (await linux.run(launch_info("exit 3"))).status == "768"


async def test_status_file_is_there_and_empty_while_it_runs(linux: LinuxHost) -> None:
    container_id, init = await linux.start(launch_info("exit 0"), release=False)
    path = os.path.join(linux.runtime_directory(container_id), "status")
    assert os.stat(path).st_size == 0
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    init.release()
    assert (await linux.finish(container_id)).status == "0"


async def test_init_is_frozen_in_before_anything_runs(linux: LinuxHost) -> None:
    container_id, init = await linux.start(launch_info("true"), release=False)
    assert linux.launcher.pid(container_id) == init.pid
    # Nobody else: isolators assign init only, and rely on all others being its children.
    await asyncio.sleep(0.05)
    assert cgroup1.all_processes(linux.linux.cgroup(container_id)) == {init.pid}


async def test_command_is_where_init_was_put_before_the_release(linux: LinuxHost) -> None:
    pids = cgroup1.hierarchies().get("pids")
    if pids is None:
        pytest.skip("needs the pids controller in version 1")
    cgroup = os.path.join(pids, linux.config.cgroups_root)
    cgroup1.create(cgroup)
    try:
        container_id, init = await linux.start(
            launch_info("cat /proc/self/cgroup", clone_namespaces=[CLONE_NEWPID]), release=False
        )
        await asyncio.sleep(0.05)
        cgroup1.assign(cgroup, init.pid)
        init.release()
        outcome = await linux.finish(container_id)
        assert any(f":pids:/{linux.config.cgroups_root}" in line for line in outcome.lines)
    finally:
        for delay in cgroup1.remove(cgroup):
            await asyncio.sleep(delay)


async def test_abort_ends_an_unreleased_init(linux: LinuxHost) -> None:
    container_id, init = await linux.start(launch_info("echo never"), release=False)
    init.abort()
    outcome = await linux.finish(container_id)
    assert outcome.stdout == ""
    assert outcome.status == "256"
    assert outcome.stderr == "Failed to synchronize with agent (it's probably exited)\n"


async def test_release_of_a_dead_init_says_so(linux: LinuxHost) -> None:
    container_id, init = await linux.start(launch_info("true"), release=False)
    os.kill(init.pid, signal.SIGKILL)
    await linux.launcher.wait(container_id)
    with pytest.raises(LaunchError, match="Failed to synchronize with child process"):
        init.release()
    assert (await linux.finish(container_id)).status == ""


async def test_command_gets_default_signals_and_no_descriptors(linux: LinuxHost) -> None:
    outcome = await linux.run(
        launch_info("grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd")
    )
    assert outcome.lines[:2] == ["SigBlk:\t" + "0" * 16, "SigIgn:\t" + "0" * 16]
    # The last one is the listing itself.
    assert outcome.lines[2:] == ["0", "1", "2", "3"]


async def test_environment_is_exactly_the_given_one(linux: LinuxHost) -> None:
    info = launch_info("x", arguments=["env"], environment={"A": "1"})
    info.command.value = "env"
    info.environment.variables.add(name="A", value="2")
    outcome = await linux.run(info)
    assert sorted(outcome.lines) == [
        "A=2",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    assert outcome.stderr == "Overwriting environment variable 'A'\n"


async def test_the_first_argument_is_the_name_of_the_command(linux: LinuxHost) -> None:
    info = launch_info("/bin/cat", arguments=["any name", "/proc/self/cmdline"])
    assert (await linux.run(info)).stdout == "any name\0/proc/self/cmdline\0"


async def test_a_stopped_command_goes_on(linux: LinuxHost) -> None:
    script = "echo ready; kill -STOP $$; echo again; exit 4"
    container_id, init = await linux.start(launch_info(script))
    await linux.written(container_id)
    [command] = await stopped(init.pid)
    assert not proc.is_zombie_or_gone(init.pid)
    os.kill(command, signal.SIGCONT)
    outcome = await linux.finish(container_id)
    assert outcome.lines == ["ready", "again"]
    assert outcome.status == str(4 << 8)


async def stopped(pid: int) -> list[int]:
    """Return the children of a process when they are stopped."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            children = proc.children(pid)
            if children and all(proc.stat(child).state == "T" for child in children):
                return list(children)
            await asyncio.sleep(0.01)


async def test_unknown_executable(linux: LinuxHost) -> None:
    outcome = await linux.run(launch_info("/no/such/thing", arguments=["thing"]))
    assert outcome.status == "256"
    assert outcome.stderr == "Failed to execute '/no/such/thing': No such file or directory\n"


async def test_unknown_user(linux: LinuxHost) -> None:
    outcome = await linux.run(launch_info("true", user="nobody-knows"))
    assert outcome.status == "256"
    assert outcome.stderr == "Failed to get the uid of user 'nobody-knows': not found\n"


async def test_user_with_supplementary_groups(linux: LinuxHost) -> None:
    command = "grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr -s '\\t ' '  '"
    outcome = await linux.run(
        launch_info(command, user="daemon", supplementary_groups=[4711], working_directory="/")
    )
    uid, gid, groups = outcome.lines
    assert uid == "Uid: 1 1 1 1"
    assert gid == "Gid: 1 1 1 1"
    assert groups.split()[1:] == ["1", "4711"]


async def test_init_gives_up_what_the_command_gives_up(linux: LinuxHost, image: str) -> None:
    caps = {"capabilities": ["NET_RAW"]}
    container_id, init = await linux.start(
        image_info(
            image,
            "echo on; sleep 1000",
            clone_namespaces=[CLONE_NEWNS, CLONE_NEWPID],
            user="daemon",
            supplementary_groups=[4711],
            effective_capabilities=caps,
            bounding_capabilities=caps,
            no_new_privileges=True,
        )
    )
    await linux.written(container_id)
    await eventually(lambda: proc.status(init.pid)["Uid"].split() == ["1"] * 4)
    await eventually(lambda: proc.status(init.pid)["NoNewPrivs"] == "1")
    status = proc.status(init.pid)
    assert status["Groups"].split() == ["1", "4711"]
    assert int(status["CapBnd"], 16) == int(status["CapPrm"], 16) == 1 << 13
    # The pivot of the command is init's, too.
    assert os.path.samefile(f"/proc/{init.pid}/root/bin/busybox", f"{image}/bin/busybox")
    assert os.listdir(f"/proc/{init.pid}/cwd/") == os.listdir(f"/proc/{init.pid}/root/")
    os.kill(init.pid, signal.SIGTERM)
    assert (await linux.finish(container_id)).status == "15"


async def test_large_launch_info(linux: LinuxHost) -> None:
    big = {f"V{n}": "x" * 50_000 for n in range(10)}
    outcome = await linux.run(launch_info("echo ${#V9}", environment=big))
    assert outcome.lines == ["50000"]


async def test_signal_to_init_reaches_the_command(linux: LinuxHost) -> None:
    script = "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.01; done"
    container_id, init = await linux.start(launch_info(script))
    await linux.written(container_id)
    os.kill(init.pid, signal.SIGTERM)
    outcome = await linux.finish(container_id)
    assert outcome.lines == ["ready", "got"]
    assert outcome.status == str(7 << 8)


async def test_killed_command_and_killed_init(linux: LinuxHost) -> None:
    assert (await linux.run(launch_info("kill -9 $$"))).status == "9"
    container_id, init = await linux.start(launch_info("echo ready; sleep 1000"))
    await linux.written(container_id)
    os.kill(init.pid, signal.SIGKILL)
    assert (await linux.finish(container_id)).status == ""


async def test_signal_before_the_release_is_the_status(linux: LinuxHost) -> None:
    container_id, init = await linux.start(launch_info("true"), release=False)
    os.kill(init.pid, signal.SIGTERM)
    assert (await linux.finish(container_id)).status == "15"


async def test_pid_namespace(linux: LinuxHost) -> None:
    # A process left behind becomes a child of init, which reaps it.
    script = (
        "echo $$; cat /proc/1/comm; orphan=$(sleep 0.05 >/dev/null & echo $!);"
        " while [ -e /proc/$orphan ]; do sleep 0.05; done; echo reaped"
    )
    proc_mount = {"source": "proc", "target": "/proc", "type": "proc", "flags": 14}
    container_id, init = await linux.start(
        launch_info(script, clone_namespaces=[CLONE_NEWNS, CLONE_NEWPID], mounts=[proc_mount])
    )
    host_view = namespaces.identity(init.pid, CLONE_NEWPID)
    assert host_view != namespaces.identity("self", CLONE_NEWPID)
    outcome = await linux.finish(container_id)
    assert outcome.lines == ["2", "mesos-container", "reaped"]


async def test_daemons_and_stopped_processes_die(linux: LinuxHost) -> None:
    script = (
        "setsid sh -c 'setsid sh -c \"trap : TERM HUP; echo daemon; sleep 1000\" &' &"
        "sh -c 'kill -STOP $$' & sleep 0.05; echo main; sleep 1000"
    )
    container_id, _ = await linux.start(launch_info(script))
    await linux.written(container_id, 2)
    pids = cgroup1.all_processes(linux.linux.cgroup(container_id))
    assert len(pids) >= 4
    async with asyncio.timeout(PATIENCE_S):
        await linux.launcher.destroy(container_id)
    linux.ids.remove(container_id)
    assert all(proc.is_zombie_or_gone(pid) for pid in pids)
    assert not cgroup1.exists(linux.linux.cgroup(container_id))


async def test_fork_bomb_dies(linux: LinuxHost) -> None:
    # Each process is replaced by two that end soon: the pids change faster than one can look.
    script = "f() { sleep 0.01; f & f & wait; }; ulimit -u 2000; f & echo on; exec sleep 1000"
    container_id, _ = await linux.start(launch_info(script))
    await linux.written(container_id)
    cgroup = linux.linux.cgroup(container_id)
    await eventually(lambda: len(cgroup1.all_processes(cgroup)) >= 40)
    async with asyncio.timeout(PATIENCE_S):
        await linux.launcher.destroy(container_id)
    linux.ids.remove(container_id)
    assert not cgroup1.exists(linux.linux.cgroup(container_id))


async def test_destroy_has_a_limit_and_can_be_tried_again(
    linux: LinuxHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    container_id, init = await linux.start(launch_info("sleep 1000"))
    hurried = replace(linux.config, destroy_timeout_s=0.05)
    monkeypatch.setattr(linux.launcher, "_config", hurried)
    monkeypatch.setattr(type(linux.linux._cgroups), "destroy", lambda *_: itertools.repeat(0.01))
    with pytest.raises(LaunchError, match="Timed out after 50ms"):
        await linux.launcher.destroy(container_id)
    monkeypatch.undo()
    await linux.launcher.destroy(container_id)
    linux.ids.remove(container_id)
    assert proc.is_zombie_or_gone(init.pid)


async def test_cgroups_made_by_the_task_are_removed(linux: LinuxHost) -> None:
    container_id, _ = await linux.start(launch_info("sleep 1000"))
    inner = os.path.join(linux.task_cgroup(container_id), "own", "deeper")
    os.makedirs(inner)
    pid = linux.launcher.pid(container_id)
    assert pid is not None
    cgroup1.assign(inner, pid)
    # Frozen on its own: thawing only the outer one would not let it die.
    if linux.version == "v1":
        cgroup1.write(inner, "freezer.state", "FROZEN")
    else:
        cgroup1.write(inner, "cgroup.freeze", "1")
    async with asyncio.timeout(PATIENCE_S):
        await linux.launcher.destroy(container_id)
    linux.ids.remove(container_id)
    assert proc.is_zombie_or_gone(pid)


async def test_orphans_are_found_and_destroyed(linux: LinuxHost, spawner: Spawner) -> None:
    container_id, init = await linux.start(launch_info("sleep 1000"))
    nested, _ = await linux.start(launch_info("sleep 1000"), parent=container_id)
    other = linux.another()
    state = slave.ContainerState(container_id=container_id.message(), pid=init.pid, directory="/")
    assert await other.recover([state]) == {nested}
    assert other.pid(container_id) == init.pid
    with pytest.raises(LaunchError, match="Container has nested containers"):
        await other.destroy(container_id)
    await other.destroy(nested)
    await other.destroy(container_id)
    await other.wait(container_id) if other.pid(container_id) else None
    assert proc.is_zombie_or_gone(init.pid)
    await other.close()


async def test_recovered_pid_of_a_stranger_counts_as_gone(linux: LinuxHost) -> None:
    container_id = ContainerId("recovered")
    state = slave.ContainerState(
        container_id=container_id.message(), pid=os.getpid(), directory="/"
    )
    assert await linux.launcher.recover([state]) == frozenset()
    async with asyncio.timeout(PATIENCE_S):
        await linux.launcher.wait(container_id)
    await linux.launcher.destroy(container_id)


async def test_known_and_unknown_containers(linux: LinuxHost) -> None:
    info = launch_info("sleep 1000")
    container_id, _ = await linux.start(info)
    nested, _ = await linux.start(info, parent=container_id)
    assert linux.linux.cgroup(nested).endswith(f"{container_id}/mesos/{nested.value}")
    with pytest.raises(LaunchError, match="Unknown parent container"):
        await linux.start(info, parent=ContainerId("nobody"))
    with pytest.raises(LaunchError, match="Cannot enter parent namespaces"):
        await linux.start(info, enter=CLONE_NEWIPC)
    await linux.launcher.destroy(ContainerId("nobody"))
    assert linux.launcher.pid(ContainerId("nobody")) is None


async def test_failed_start_leaves_nothing(linux: LinuxHost) -> None:
    container_id = ContainerId("no-runtime-directory")
    request = ForkRequest(launch_info("true"), Stdio(0, 1, 2), "/no/such/folder")
    with pytest.raises(LaunchError, match="status"):
        await linux.launcher.fork(container_id, request)
    assert not cgroup1.exists(linux.linux.cgroup(container_id))


@pytest.mark.parametrize("inner", [0, CLONE_NEWPID])
async def test_nested_container_enters_and_clones(
    linux: LinuxHost, spawner: Spawner, inner: int
) -> None:
    outer, init = await linux.start(
        launch_info("echo up; sleep 1000", clone_namespaces=[CLONE_NEWPID, CLONE_NEWIPC])
    )
    await linux.written(outer)
    nested, nested_init = await linux.start(
        launch_info("echo $$; sleep 1000", clone_namespaces=[inner] if inner else []),
        parent=outer,
        enter=CLONE_NEWPID | CLONE_NEWIPC,
    )
    await linux.written(nested)
    same_ipc = namespaces.identity(nested_init.pid, CLONE_NEWIPC)
    assert same_ipc == namespaces.identity(init.pid, CLONE_NEWIPC)
    own = proc.status(nested_init.pid)["NSpid"].split()
    assert len(own) == (3 if inner else 2)
    assert proc.stat(nested_init.pid).parent == (init.pid if inner else spawner.pid)
    os.kill(nested_init.pid, signal.SIGTERM)
    assert (await linux.finish(nested)).status == "15"


async def test_nested_container_moves_proc_away(
    linux: LinuxHost, tmp_path: os.PathLike[str]
) -> None:
    outer, _ = await linux.start(launch_info("sleep 1000", clone_namespaces=[CLONE_NEWPID]))
    saved = os.path.join(tmp_path, "saved")
    os.mkdir(saved)
    mounts = [
        {"source": "/proc", "target": saved, "flags": MS_MOVE},
        {"source": "proc", "target": "/proc", "type": "proc", "flags": PSEUDO},
    ]
    nested, _ = await linux.start(
        launch_info("cat /proc/1/comm", clone_namespaces=[CLONE_NEWNS], mounts=mounts),
        parent=outer,
        enter=CLONE_NEWPID,
    )
    outcome = await linux.finish(nested)
    assert outcome.lines == ["mesos-container"], outcome.stderr


async def test_user_namespaces_are_refused(linux: LinuxHost) -> None:
    outer, _ = await linux.start(launch_info("sleep 1000"))
    with pytest.raises(LaunchError, match="User namespaces are not supported"):
        await linux.start(launch_info("true"), parent=outer, enter=namespaces.CLONE_NEWUSER)


def test_unusable_cgroup_roots_are_refused(linux: LinuxHost, spawner: Spawner) -> None:
    for root in ("", "/", "../other"):
        with pytest.raises(FlagError, match="cgroups_root"):
            LinuxLauncher.create(replace(linux.config, cgroups_root=root), spawner)


async def test_spawner_that_is_killed_is_replaced(linux: LinuxHost, spawner: Spawner) -> None:
    container_id, _ = await linux.start(launch_info("echo on; sleep 1000"))
    await linux.written(container_id)
    assert spawner.pid is not None
    before = spawner.pid
    os.kill(before, signal.SIGKILL)
    assert (await linux.run(launch_info("exit 4"))).status == str(4 << 8)
    assert spawner.pid != before
    # The first container did not notice.
    pid = linux.launcher.pid(container_id)
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    assert (await linux.finish(container_id)).status == "15"


async def test_spawner_reaps(linux: LinuxHost, spawner: Spawner) -> None:
    for _ in range(3):
        await linux.run(launch_info("true"))
    pid = spawner.pid
    assert pid is not None
    await eventually(lambda: not proc.children(pid))


async def test_image(linux: LinuxHost, image: str) -> None:
    script = "ls -a /; cat /proc/self/mountinfo; cd ../../..; ls -a"
    outcome = await linux.run(image_info(image, script))
    assert outcome.status == "0", outcome.stderr
    top = [".", "..", "bin", "dev", "proc", "tmp"]
    assert outcome.lines[: len(top)] == top
    assert outcome.lines[-len(top) :] == top
    targets = [line.split()[4] for line in outcome.lines[len(top) : -len(top)]]
    assert sorted(set(targets)) == [
        "/",
        "/dev",
        "/dev/null",
        "/proc",
        *[f"/proc/{d}" for d in ("bus", "fs", "irq", "sys") if os.path.exists(f"/proc/{d}")],
        *(["/proc/sysrq-trigger"] if os.path.exists("/proc/sysrq-trigger") else []),
    ]
    assert outcome.stderr.splitlines() == [
        f"Preparing rootfs at '{image}'",
        "Marked '/' as rslave",
        f"Changing root to {image}",
    ]


async def test_read_only_proc_and_masks(linux: LinuxHost, image: str) -> None:
    masked = [f"{image}/proc/{name}" for name in ("timer_list", "fs", "no-such-file")]
    script = (
        "echo 1 > /proc/sys/kernel/printk || echo denied; cat /proc/timer_list;"
        " ls /proc/fs; grep ' /proc/sys ' /proc/self/mountinfo | cat"
    )
    outcome = await linux.run(image_info(image, script, masked_paths=masked))
    assert outcome.lines[0] == "denied"
    options = outcome.lines[-1].split()[5].split(",")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options)
    assert len(outcome.lines) == 2, outcome.stdout


async def test_image_without_proc_mount_or_shell(linux: LinuxHost, image: str) -> None:
    os.unlink(f"{image}/bin/sh")
    info = launch_info(
        "/bin/busybox",
        arguments=["busybox", "ls", "/"],
        rootfs=image,
        clone_namespaces=[CLONE_NEWNS],
        mounts=[{"source": image, "target": image, "flags": 4096 | 16384}],
    )
    outcome = await linux.run(info)
    assert outcome.status == "0", outcome.stderr
    assert outcome.lines == ["bin", "tmp"]
    info = image_info(image, "true")
    outcome = await linux.run(info)
    assert outcome.status == "256"
    assert outcome.stderr.endswith("Failed to execute 'sh': No such file or directory\n")


async def test_read_only_image(linux: LinuxHost, image: str) -> None:
    info = launch_info(
        "ls /; echo x > /file || echo denied",
        rootfs=image,
        clone_namespaces=[CLONE_NEWNS],
        mounts=[{"source": image, "target": image, "flags": 4096 | 16384 | 1}],
    )
    outcome = await linux.run(info)
    assert outcome.status == "0", outcome.stderr
    assert outcome.lines == ["bin", "denied"]


@pytest.mark.parametrize("link", ["/etc", "../../../../../../../../etc"])
async def test_links_of_an_image_lead_nowhere(
    linux: LinuxHost, image: str, tmp_path: os.PathLike[str], link: str
) -> None:
    os.symlink(link, f"{image}/data")
    os.symlink("/run/x", f"{image}/dangling")
    source = os.path.join(tmp_path, "source")
    os.mkdir(source)
    mounts = [
        *image_mounts(image),
        {"source": source, "target": f"{image}/data/inside", "flags": 4096},
        {"source": source, "target": f"{image}/dangling/y", "flags": 4096},
        {"source": "/etc/hostname", "target": f"{image}/data/hostname", "flags": 4096},
    ]
    before = sorted(os.listdir("/etc"))
    masked = [f"{image}/data/hostname"]
    operations = [
        {
            "operation": "SYMLINK",
            "symlink": {"source": "s", "target": f"{image}/data/made-by-symlink"},
        },
        {
            "operation": "MKDIR",
            "mkdir": {"target": f"{image}/data/made/by/mkdir", "recursive": True},
        },
        {
            "operation": "RENAME",
            "rename": {"source": f"{image}/data/made", "target": f"{image}/data/renamed"},
        },
    ]
    outcome = await linux.run(
        image_info(
            image,
            "ls /etc; cat /etc/hostname; ls /run/x",
            mounts=mounts,
            masked_paths=masked,
            file_operations=operations,
        )
    )
    assert outcome.status == "0", outcome.stderr
    assert outcome.lines == ["hostname", "inside", "made-by-symlink", "renamed", "y"]
    assert sorted(os.listdir("/etc")) == before


async def test_proc_that_is_a_link_to_the_root_is_refused(linux: LinuxHost, image: str) -> None:
    os.symlink("../..", f"{image}/proc")
    outcome = await linux.run(image_info(image, "true"))
    assert outcome.status == "256"
    assert "leads to the root directory itself" in outcome.stderr


async def test_rootfs_by_a_link_is_refused(
    linux: LinuxHost, image: str, tmp_path: os.PathLike[str]
) -> None:
    link = os.path.join(tmp_path, "link")
    os.symlink(image, link)
    outcome = await linux.run(image_info(link, "true"))
    assert outcome.status == "256"
    assert outcome.stderr.splitlines()[-1] == f"Rootfs path '{link}' is not an absolute path"


async def test_mounts_need_a_mount_namespace(linux: LinuxHost, image: str) -> None:
    outcome = await linux.run(
        launch_info("true", mounts=[{"source": image, "target": image, "flags": 4096}])
    )
    assert outcome.status == "256"
    assert outcome.stderr == "Mounts are not supported if the mount namespace is not cloned\n"
    outcome = await linux.run(launch_info("true", rootfs=image))
    assert "Container rootfs is not supported" in outcome.stderr


async def test_failing_mount_names_itself(linux: LinuxHost, image: str) -> None:
    bad = {"source": "none", "target": f"{image}/bin", "type": "no-such-fs", "flags": 0}
    outcome = await linux.run(image_info(image, "true", mounts=[*image_mounts(image), bad]))
    assert outcome.stderr.splitlines()[-1] == (
        f'Failed to mount \'{{"source":"none","target":"{image}/bin","type":"no-such-fs"}}\':'
        " No such device"
    )


async def test_working_directory_is_made_and_searched_first(linux: LinuxHost, image: str) -> None:
    os.makedirs(f"{image}/work")
    with open(f"{image}/work/tool", "w") as file:
        file.write("#!/bin/sh\necho tool; pwd\n")
    os.chmod(f"{image}/work/tool", 0o755)
    info = image_info(image, "x", arguments=["tool"], working_directory="/work")
    info.command.value = "tool"
    outcome = await linux.run(info)
    assert outcome.lines == ["tool", "/work"]
    outcome = await linux.run(image_info(image, "pwd", working_directory="/new/deep"))
    assert outcome.lines == ["/new/deep"]


async def test_pre_exec_commands_run_on_the_host(linux: LinuxHost, image: str) -> None:
    commands = [{"value": "echo one; hostname >/dev/null || :; exit 0"}, {"value": "exit 5"}]
    outcome = await linux.run(image_info(image, "echo never", pre_exec_commands=commands))
    assert outcome.lines == ["one"]
    assert outcome.stderr.splitlines()[-1].endswith("exited with status 5")
    assert outcome.status == "256"


async def test_capabilities(linux: LinuxHost) -> None:
    caps = {"capabilities": ["NET_BIND_SERVICE", "KILL"]}
    mask = f"{1 << 10 | 1 << 5:016x}"
    outcome = await linux.run(
        launch_info(
            "grep ^Cap /proc/self/status | cut -f2",
            user="daemon",
            effective_capabilities=caps,
            bounding_capabilities=caps,
            working_directory="/",
        )
    )
    assert outcome.lines == [mask] * 5, outcome.stderr
    outcome = await linux.run(
        launch_info(
            "grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2", bounding_capabilities=caps
        )
    )
    # Root regains what the bounding set leaves.
    assert outcome.lines == [mask] * 3, outcome.stderr


async def test_limits_and_new_privileges(linux: LinuxHost) -> None:
    limits = [
        {"type": "RLMT_NOFILE", "soft": 77, "hard": 99},
        {"type": "RLMT_CORE", "soft": 0, "hard": 0},
    ]
    outcome = await linux.run(
        launch_info(
            "ulimit -Sn; ulimit -Hn; ulimit -c; grep NoNew /proc/self/status",
            rlimits={"rlimits": limits},
            no_new_privileges=True,
        )
    )
    assert outcome.lines == ["77", "99", "0", "NoNewPrivs:\t1"], outcome.stderr
    outcome = await linux.run(
        launch_info("true", rlimits={"rlimits": [{"type": "RLMT_NOFILE", "soft": 7}]})
    )
    assert outcome.stderr == "Failed to set RLMT_NOFILE limit: Invalid rlimit values\n"


async def test_few_capabilities_do_not_reach_the_files_of_init(
    linux: LinuxHost, image: str
) -> None:
    caps = {"capabilities": ["CHOWN"]}
    script = (
        "cat /proc/1/exe >/dev/null && echo read; ls /proc/1/root/;"
        " for fd in /proc/1/fd/*; do busybox readlink $fd; done; echo end"
    )
    outcome = await linux.run(
        image_info(
            image,
            script,
            clone_namespaces=[CLONE_NEWNS, CLONE_NEWPID],
            effective_capabilities=caps,
            bounding_capabilities=caps,
        )
    )
    assert outcome.lines == ["end"]


async def test_debug_container_enters_mounts_late(linux: LinuxHost, image: str) -> None:
    info = image_info(image, "echo up; sleep 1000", clone_namespaces=[CLONE_NEWNS, CLONE_NEWPID])
    outer, init = await linux.start(info)
    await linux.written(outer)
    command = proc.children(init.pid)[0]
    debug = launch_info("ls /; echo $0", working_directory="/bin")
    nested, _ = await linux.start(
        debug, parent=outer, enter=CLONE_NEWPID, namespace_mnt_target=command
    )
    outcome = await linux.finish(nested)
    assert outcome.lines == ["bin", "dev", "proc", "tmp", "sh"], outcome.stderr
    debug = image_info(image, "true")
    nested, _ = await linux.start(debug, parent=outer, namespace_mnt_target=command)
    outcome = await linux.finish(nested)
    assert outcome.stderr == "Mounts are not supported if 'namespace_mnt_target' is set\n"


async def test_shared_trees_stay_shared(linux: LinuxHost, tmp_path: os.PathLike[str]) -> None:
    shared, other = (os.path.join(tmp_path, name) for name in ("shared", "other"))
    for path in (shared, other):
        os.mkdir(path)
        mount.mount(path, path, None, mount.MS_BIND)
        mount.mount(None, path, None, mount.MS_SHARED)
    try:
        mounts: list[dict[str, object]] = [
            {"target": shared, "flags": mount.MS_SHARED | mount.MS_BIND | mount.MS_REC},
            {"source": "tmpfs", "target": f"{other}/made", "type": "tmpfs"},
        ]
        script = f"mkdir {shared}/made; mount -t tmpfs tmpfs {shared}/made; mount -t tmpfs x /mnt"
        outcome = await linux.run(
            launch_info(script, clone_namespaces=[CLONE_NEWNS], mounts=mounts)
        )
        assert outcome.status == "0", outcome.stderr
        made = {entry.target for entry in mountinfo.below(mountinfo.read(), str(tmp_path))}
        assert made == {shared, other, f"{shared}/made"}
        assert not any(e.target == "/mnt" and e.source == "x" for e in mountinfo.read())
        mounts[1]["target"] = f"{shared}/refused"
        outcome = await linux.run(
            launch_info("true", clone_namespaces=[CLONE_NEWNS], mounts=mounts)
        )
        assert f"the target is under a shared mount '{shared}" in outcome.stderr
    finally:
        for path in (f"{shared}/made", shared, other):
            while any(entry.target == path for entry in mountinfo.read()):
                mount.umount(path, mount.MNT_DETACH)


async def test_rename_across_file_systems(linux: LinuxHost, image: str) -> None:
    os.makedirs(f"{image}/from/inner")
    operations = [
        {
            "operation": "RENAME",
            "rename": {"source": f"{image}/from", "target": f"{image}/dev/to"},
        }
    ]
    outcome = await linux.run(image_info(image, "ls /dev/to", file_operations=operations))
    assert outcome.lines == ["inner"], outcome.stderr


async def test_failing_file_operations_end_the_launch(linux: LinuxHost, image: str) -> None:
    for operation in (
        {"operation": "MKDIR", "mkdir": {"target": f"{image}/bin"}},
        {"operation": "SYMLINK", "symlink": {"source": "x", "target": f"{image}/bin"}},
        {"operation": "RENAME", "rename": {"source": f"{image}/no", "target": f"{image}/x"}},
        {"operation": "MOUNT", "mount": {"source": "/", "target": f"{image}/no", "flags": 4096}},
    ):
        outcome = await linux.run(image_info(image, "true", file_operations=[operation]))
        assert outcome.status == "256", operation


async def test_terminal(linux: LinuxHost) -> None:
    manager, terminal = os.openpty()
    try:
        info = launch_info("tty; ps -o tty= -p $$", tty_slave_path=os.ttyname(terminal))
        container_id, _ = await linux.start(info, terminal=terminal)
        async with asyncio.timeout(PATIENCE_S):
            await linux.launcher.wait(container_id)
        name = os.ttyname(terminal)
        said = os.read(manager, 4096).decode().split()
        assert said == [name, name.removeprefix("/dev/")]
        await linux.finish(container_id)
    finally:
        os.close(manager)
        os.close(terminal)


async def test_title_of_init(linux: LinuxHost) -> None:
    container_id, init = await linux.start(launch_info("echo on; sleep 1000"))
    await linux.written(container_id)
    with open(f"/proc/{init.pid}/cmdline", "rb") as file:
        assert file.read().rstrip(b"\0") == b"mesos-containerizer launch"
    with open(f"/proc/{init.pid}/environ", "rb") as file:
        assert b"MESOS" not in file.read()
