# SPDX-License-Identifier: Apache-2.0
"""Root in a container with all capabilities tries to get out or to stay; each leaves nothing."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import shutil
import stat
import sys
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from containerizer.launcher.linux import LinuxLauncherConfig
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.linux import cgroup1, proc, users
from containerizer.linux.namespaces import CLONE_NEWNS, CLONE_NEWPID
from containerizer.linux.users import Identity
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from tests.containerizer.launcher import host
from tests.containerizer.launcher.executors import NAMESPACES, image_executor_info
from tests.containerizer.launcher.host import LinuxHost, eventually, image_info, launch_info
from tests.executor.fake_agent import FakeAgent, shell_task
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.root


#: Opens for writing whatever /proc shows of any process of the container. Prints what it could.
OVERWRITE = r"""
for file in /proc/[0-9]*/exe /proc/[0-9]*/map_files/*; do
  case $(busybox readlink $file) in /bin/busybox) continue;; esac
  (: >> $file) 2>/dev/null && echo "wrote $file"
  exec 9< $file && (: >> /proc/self/fd/9) 2>/dev/null && echo "wrote $file by its descriptor"
  exec 9<&-
done 2>/dev/null
"""
#: Looks for a file of the host on all ways that /proc offers.
LOOK = r"""
for pid in /proc/[0-9]*; do
  for way in root cwd cwd/.. cwd/../../../../../../../.. root/../../..; do
    busybox test -e "$pid/$way/$MARKER" && echo "found by $pid/$way"
  done
  for fd in $pid/fd/*; do
    for up in . .. ../../../../../../../..; do
      busybox test -e "$fd/$up/$MARKER" && echo "found by $fd/$up"
    done
  done
  busybox grep -q SECRET_OF_THE_AGENT $pid/environ && echo "secret in $pid"
done 2>/dev/null
"""


@pytest.fixture
def spawner(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> Spawner:
    monkeypatch.setenv("SECRET_OF_THE_AGENT", "SECRET_OF_THE_AGENT")
    program = {f"{os.path.realpath(tmp_path)}/executor": "mesos_compat.executor.command:main"}
    return Spawner(SpawnerConfig(programs=program))


@pytest.fixture
async def linux(spawner: Spawner, tmp_path: os.PathLike[str]) -> AsyncIterator[LinuxHost]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    version = "v2" if cgroup1.layout() is cgroup1.CgroupLayout.V2 else "v1"
    config = LinuxLauncherConfig(cgroups_root=f"test-{uuid.uuid4()}", destroy_timeout_s=60)
    launcher = host.linux_launcher(version, config, spawner)
    assert launcher is not None
    made = LinuxHost(launcher, os.fspath(tmp_path), config=config, version=version)
    try:
        yield made
        await made.clean()
    finally:
        await made.launcher.close()


@pytest.fixture
def marker() -> Iterator[str]:
    """The path, without its slash, of a file that only the host has."""
    path = f"/.marker-{uuid.uuid4()}"
    with open(path, "x"):
        pass
    yield path[1:]
    os.unlink(path)


@pytest.fixture
def outside() -> Iterator[str]:
    """A directory of the host that everybody can reach."""
    path = f"/.outside-{uuid.uuid4()}"
    os.mkdir(path, 0o755)
    yield path
    shutil.rmtree(path)


def written_files() -> dict[str, tuple[int, int]]:
    """Size and time of change of the files that this machine's Python is made of."""
    files = {os.path.realpath("/proc/self/exe")}
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        files |= {line.split(maxsplit=5)[5].strip() for line in maps if ".so" in line}
    return {f: (os.stat(f).st_size, os.stat(f).st_mtime_ns) for f in files if os.path.exists(f)}


async def test_init_of_a_container_is_no_way_out(linux: LinuxHost, image: str, marker: str) -> None:
    files = written_files()
    info = image_info(
        image,
        f"{OVERWRITE}{LOOK}busybox test -r /proc/1/exe && echo end",
        clone_namespaces=NAMESPACES,
        environment={"MARKER": marker, "PATH": "/bin"},
    )
    outcome = await linux.run(info)
    # It may look at the program, but that is all.
    assert outcome.lines == ["end"], outcome.stdout
    assert written_files() == files


async def test_executor_of_a_command_task_is_no_way_out(
    linux: LinuxHost, image: str, marker: str
) -> None:
    files = written_files()
    agent = FakeAgent()
    info = image_executor_info(linux, agent, image, MARKER=marker)
    try:
        container_id, init = await linux.start(info)
        script = f"{OVERWRITE}{LOOK}echo $$; busybox tr '\\0' ' ' < /proc/1/cmdline; echo; ls /proc"
        await asyncio.to_thread(agent.start_task, shell_task(script))
        await asyncio.to_thread(agent.update, v1.TASK_FINISHED)
        outcome = await linux.finish(container_id)
    finally:
        agent.close()
    pid, title, *names = outcome.lines
    assert int(pid) > 1, outcome.stdout
    assert title.startswith("mesos-executor --rootfs=")
    # Init and executor are one process; the other one is the task, which has become ls.
    assert [name for name in names if name.isdigit()] == ["1", pid]
    assert outcome.status == "0"
    assert written_files() == files
    assert proc.is_zombie_or_gone(init.pid)


async def test_program_of_init_cannot_be_run_to_be_overwritten(
    linux: LinuxHost, image: str
) -> None:
    """The way of CVE-2019-5736: what is executed is a link to the program of process 1."""
    files = written_files()
    os.symlink("/proc/self/exe", f"{image}/bin/evil")
    for argv in (["/bin/evil", "-c", "import os"], ["/proc/1/exe", "--version"]):
        info = image_info(image, argv[0], arguments=argv, clone_namespaces=NAMESPACES)
        outcome = await linux.run(info)
        assert outcome.status in ("256", "0"), outcome.stderr
    keep_trying = (
        "n=0; while busybox test $n -lt 300; do n=$((n+1));"
        " for file in /proc/[0-9]*/exe; do"
        " case $(busybox readlink $file) in /bin/busybox) ;; *)"
        " (: > $file) 2>/dev/null && echo wrote;; esac; done; done; echo end"
    )
    outer, _ = await linux.start(
        image_info(image, f"echo up; {keep_trying}", clone_namespaces=NAMESPACES)
    )
    await linux.written(outer)
    # Launches in sight of the attacker: nested containers share its pids.
    for _ in range(5):
        nested = image_info(
            image,
            "true",
            # Only the first container makes the root.
            mounts=[{"source": image, "target": image, "flags": 4096 | 16384}],
        )
        inner, _ = await linux.start(nested, parent=outer, enter=CLONE_NEWPID)
        assert (await linux.finish(inner)).status == "0"
    assert (await linux.finish(outer)).lines == ["up", "end"]
    assert written_files() == files


TARGETS = ["proc", "sys", "dev", "etc", "tmp", "mnt", "data"]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("link", ["/{outside}", "../../../../../../../../../../{outside}"])
async def test_links_for_mount_targets(
    linux: LinuxHost, image: str, outside: str, name: str, link: str
) -> None:
    os.mkdir(f"{outside}/kept")
    # Inside the image the link leads to a directory of its own, as everywhere.
    os.makedirs(f"{image}{outside}")
    os.symlink(link.format(outside=outside[1:]), f"{image}/{name}")
    source = os.path.join(os.path.realpath(linux.folder), "source")
    os.makedirs(f"{source}/seen")
    mounts = [
        {"source": image, "target": image, "flags": 4096 | 16384},
        {"source": source, "target": f"{image}/{name}", "flags": 4096},
        {"source": source, "target": f"{image}/{name}/new/deep", "flags": 4096},
    ]
    outcome = await linux.run(
        image_info(
            image,
            f"ls /{name}; ls {outside}; ls /{name}/new/deep",
            mounts=mounts,
            masked_paths=[f"{image}/{name}/seen"],
            clone_namespaces=[CLONE_NEWNS],
        )
    )
    assert outcome.status == "0", outcome.stderr
    # The second mount made its mount point in the source of the first.
    assert outcome.lines == ["new", "seen"] * 3
    assert os.listdir(outside) == ["kept"]


async def test_kernel_settings_are_read_only_until_somebody_may_mount(
    linux: LinuxHost, image: str
) -> None:
    caps = {"capabilities": ["CHOWN", "DAC_OVERRIDE", "SETUID", "SETGID", "FOWNER", "KILL"]}
    script = (
        "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sysrq-trigger"
        ' /proc/irq/default_smp_affinity; do (cat $f > $f) 2>/dev/null && echo "wrote $f"; done;'
        " busybox mount -t tmpfs none /bin 2>/dev/null && echo mounted;"
        " busybox mount -o remount,rw /proc/sys 2>/dev/null && echo remounted;"
        " busybox mknod /dev/x c 1 1 2>/dev/null && echo node;"
        " busybox chroot /proc/1/root true 2>/dev/null && echo root;"
        " echo end"
    )
    outcome = await linux.run(
        image_info(
            image,
            script,
            clone_namespaces=NAMESPACES,
            effective_capabilities=caps,
            bounding_capabilities=caps,
        )
    )
    assert outcome.lines == ["end"], outcome.stdout


async def test_set_user_id_programs_gain_nothing(linux: LinuxHost, outside: str) -> None:
    program = f"{outside}/id"
    shutil.copy(shutil.which("id") or "id", program)
    os.chmod(program, 0o4755)
    gained = launch_info(f"{program} -u", user="nobody", working_directory="/")
    if (await linux.run(gained)).lines != ["0"]:
        pytest.skip("set-user-id programs do nothing here")
    safe = launch_info(
        f"{program} -u", user="nobody", no_new_privileges=True, working_directory="/"
    )
    assert (await linux.run(safe)).lines == [str(pwd.getpwnam("nobody").pw_uid)]


STAYERS = {
    "fork bomb": "echo up; bomb() { bomb | bomb & }; (bomb; bomb) & exec sleep 1000",
    "deaf": "trap '' TERM INT HUP QUIT; echo up; while :; do sleep 1; done",
    "daemon": "(busybox setsid sh -c '(sleep 1000 &) ; exec sleep 1000' &); echo up; sleep 1000",
    "stopped": "echo up; kill -STOP $$; sleep 1000",
    "stopped children": "echo up; for i in 1 2 3; do (kill -STOP 0; sleep 1000) & done; sleep 1000",
    "double fork": (
        'echo up; for i in 1 2 3; do (busybox setsid sh -c \'trap "" TERM HUP; cd /;'
        ' (busybox setsid sh -c "while :; do sleep 1; done" &) &\' &) ; done; sleep 1000'
    ),
    "orphans that fork on": ("echo up; on() { (on & exit) & }; on; on; while :; do sleep 1; done"),
    "without streams": "echo up; exec 0<&- 1>&- 2>&-; while :; do sleep 1; done",
}


#: Users that nobody else is, whoever runs these tests at the same time.
UIDS = itertools.count(1_000_000_000 + (os.getpid() << 8))


@pytest.mark.parametrize("script", STAYERS.values(), ids=STAYERS)
@pytest.mark.parametrize("pids", [[], [CLONE_NEWPID]], ids=["host pids", "own pids"])
async def test_whatever_stays_is_killed(
    linux: LinuxHost, image: str, script: str, pids: list[int]
) -> None:
    limits = {"rlimits": [{"type": "RLMT_NPROC", "soft": 400, "hard": 400}]}
    # What nobody has reaped yet counts, too: a user for each.
    user = users.numbered(Identity(next(UIDS), 1, ()))
    info = image_info(
        image, script, clone_namespaces=[CLONE_NEWNS, *pids], rlimits=limits, user=user
    )
    for path, _, _ in os.walk(linux.folder):
        os.chmod(path, 0o755)
    container_id, init = await linux.start(info)
    await linux.written(container_id)
    await asyncio.sleep(0.05)
    members = cgroup1.all_processes(linux.linux.cgroup(container_id))
    assert init.pid in members
    async with asyncio.timeout(PATIENCE_S):
        await linux.launcher.destroy(container_id)
    linux.ids.remove(container_id)
    await eventually(lambda: all(proc.is_zombie_or_gone(pid) for pid in members))
    assert not cgroup1.exists(linux.linux.cgroup(container_id))


async def test_much_output_goes_to_the_file_only(linux: LinuxHost, image: str) -> None:
    before = own_memory_kb()
    limits = {"rlimits": [{"type": "RLMT_FSIZE", "soft": 64 << 20, "hard": 64 << 20}]}
    script = "busybox yes 0123456789abcdef | busybox head -c 1000000000"
    outcome_of, _ = await linux.start(image_info(image, script, rlimits=limits))
    await linux.launcher.wait(outcome_of)
    await linux.launcher.destroy(outcome_of)
    linux.ids.remove(outcome_of)
    path = os.path.join(linux.runtime_directory(outcome_of), "stdout")
    # The limit of the file ends it, at most the disk's.
    assert os.stat(path).st_size == 64 << 20
    os.truncate(path, 0)
    assert own_memory_kb() - before < 8 << 10


async def test_flooded_standard_input_is_read_as_empty(linux: LinuxHost, image: str) -> None:
    script = "cat; exec 0<&-; cat; busybox yes | busybox head -c 1000000 > /dev/stdin; echo end"
    assert (await linux.run(image_info(image, script))).lines == ["end"]


#: A parent in vfork(2): it cannot be interrupted until its child has executed, which never happens.
VFORK = """\
import os, signal, sys
os.mkfifo(sys.argv[1])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.write(1, b"up\\n")
action = (os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)
os.posix_spawn("/bin/true", ["true"], {}, file_actions=[action])
"""


async def test_vfork_without_end_is_killed(linux: LinuxHost) -> None:
    program = os.path.join(linux.folder, "vfork.py")
    with open(program, "w") as file:
        file.write(VFORK)
    info = launch_info(f"exec {sys.executable} -S {program} {linux.folder}/fifo")
    container_id, _ = await linux.start(info)
    await linux.written(container_id)
    members: set[int] = set()

    def all_wait() -> bool:
        nonlocal members
        members = cgroup1.all_processes(linux.linux.cgroup(container_id))
        states = [proc.stat(pid).state for pid in members]
        return len(members) >= 4 and states.count("D") >= 1

    await eventually(all_wait)
    await linux.launcher.destroy(container_id)
    linux.ids.remove(container_id)
    assert all(proc.is_zombie_or_gone(pid) for pid in members)


def own_memory_kb() -> int:
    return int(proc.status("self")["VmRSS"].split()[0])


async def test_device_nodes_of_an_image_are_what_it_may_have(linux: LinuxHost, image: str) -> None:
    """Nodes that an image brings along are as usable as the device cgroup allows."""
    os.mknod(f"{image}/zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    info = image_info(
        image,
        "busybox head -c 2 /zero | busybox od -An -tx1",
        mounts=[
            {"source": image, "target": image, "flags": 4096 | 16384},
        ],
    )
    outcome = await linux.run(info)
    assert outcome.lines == [" 00 00"], outcome.stderr


async def test_links_in_a_sandbox_lead_nowhere(linux: LinuxHost, outside: str) -> None:
    """Between the isolators' look at a sandbox and the mount a task may have changed it."""
    os.mkdir(f"{outside}/secret")
    sandbox = os.path.join(os.path.realpath(linux.folder), "sandbox")
    os.makedirs(f"{sandbox}/real/inner/kept")
    os.makedirs(f"{sandbox}/target")
    os.symlink("real", f"{sandbox}/good")
    os.symlink(outside, f"{sandbox}/absolute")
    os.symlink("../" * 20 + outside[1:], f"{sandbox}/relative")

    async def mounted(source: str, target: str) -> host.Outcome:
        info = launch_info(
            f"ls {sandbox}/target",
            mounts=[{"source": source, "target": target, "flags": 4096}],
            clone_namespaces=[CLONE_NEWNS],
            working_directory="/",
        )
        container_id, _ = await linux.start(info, sandbox=sandbox)
        return await linux.finish(container_id)

    outcome = await mounted(f"{sandbox}/good/inner", f"{sandbox}/target")
    assert outcome.lines == ["kept"], outcome.stderr
    for link in ("absolute", "relative"):
        outcome = await mounted(f"{sandbox}/{link}/secret", f"{sandbox}/target")
        assert outcome.status == "256"
        assert outcome.stderr.endswith(": Invalid cross-device link\n")
        outcome = await mounted(f"{sandbox}/real", f"{sandbox}/{link}/secret")
        assert outcome.status == "256"
        outcome = await mounted(f"{sandbox}/real", f"{sandbox}/{link}/made")
        assert outcome.status == "256"
    assert os.listdir(outside) == ["secret"]
