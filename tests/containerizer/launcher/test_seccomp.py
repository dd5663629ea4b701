# SPDX-License-Identifier: Apache-2.0
"""System call filters on the real kernel."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import platform
import signal
import sys
from pathlib import Path

import pytest

from containerizer.init import seccomp as init_seccomp
from containerizer.init.seccomp import Filters
from containerizer.isolators import seccomp_profile
from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.linux import proc, seccomp
from containerizer.linux.namespaces import CLONE_NEWNS, CLONE_NEWPID
from containerizer.linux.seccomp import Comparison, Profile, Rule
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from mesos_compat.pb.mesos.v1 import mesos_pb2 as v1
from mesos_compat.pb.mesos.v1.executor import executor_pb2 as api
from tests.containerizer.launcher.executors import executor_info
from tests.containerizer.launcher.host import (
    LinuxHost,
    Outcome,
    image_info,
    image_mounts,
    launch_info,
)
from tests.executor.fake_agent import FakeAgent, shell_task

pytestmark = pytest.mark.root

EVERYTHING = (1 << 41) - 1
ALLOW, ERRNO, KILL = "ACT_ALLOW", "ACT_ERRNO", "ACT_KILL"
#: What a profile has to allow for an init to get from the filter to the command, as another user.
TO_START = """
    brk capget capset close_range execve exit_group getegid geteuid getgid getuid lseek mmap munmap
    newfstatat openat prctl read recvfrom rt_sigaction rt_sigprocmask setgid setgroups setuid write
"""
#: And what a small static program calls.
TO_ECHO = "arch_prctl fcntl getpid mprotect prlimit64 rseq set_robust_list set_tid_address"

#: Makes the calls that its arguments name (number, arguments) and prints what came of each.
PROBE = """
import ctypes, errno, sys
syscall = ctypes.CDLL(None, use_errno=True).syscall
for numbers in sys.argv[1:]:
    number, *arguments = map(int, numbers.split(","))
    result = syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    print(errno.errorcode[ctypes.get_errno()] if result < 0 else "done", flush=True)
"""
#: The same for getpid by the interrupt of 32-bit programs.
PROBE_32 = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
print(ctypes.CFUNCTYPE(ctypes.c_int)(address)(), flush=True)
"""

X86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86_64")
PERSONALITY, GETPGID, GETPID, X32 = 135, 121, 39, 0x40000000


def translated(profile: Profile) -> Filters:
    return init_seccomp.translate(profile, EVERYTHING)


def with_profile(info: slave.ContainerLaunchInfo, profile: Profile) -> slave.ContainerLaunchInfo:
    info.seccomp_profile.CopyFrom(seccomp_profile.message(profile))
    return info


def python(program: str, *arguments: str) -> slave.ContainerLaunchInfo:
    interpreter = os.path.realpath(sys.executable)
    return launch_info(interpreter, arguments=[interpreter, "-SEc", program, *arguments])


def signal_of(outcome: Outcome) -> int:
    status = int(outcome.status)
    assert os.WIFSIGNALED(status), outcome
    return os.WTERMSIG(status)


@X86_64
@pytest.mark.parametrize("by_init", [False, True], ids=["agent", "init"])
async def test_calls_and_their_arguments(linux: LinuxHost, by_init: bool) -> None:
    query = Comparison(0, "CMP_EQ", 0xFFFFFFFF)
    masked = Comparison(0, "CMP_MASKED_EQ", 0xF0, 0x10)
    profile = Profile(
        ALLOW,
        rules=(
            Rule(("personality",), ERRNO, (query,), errno=1 if by_init else 38),
            Rule(("getpgid",), ERRNO, (masked,)),
            Rule(("mkdir", "mkdirat"), ERRNO),
            # A rule for a capability that nobody has is none.
            Rule(("getpid",), KILL, includes=1 << 63),
        ),
    )
    calls = (
        f"{PERSONALITY},{0xFFFFFFFF}",
        f"{GETPGID},0",
        f"{GETPGID},{0x15}",
        f"{GETPGID},{0x2000015}",
        f"{GETPID}",
    )
    info = python(PROBE, *calls)
    if by_init:
        for_init = Profile(ALLOW, rules=profile.rules[:3])
        outcome = await linux.run(with_profile(info, for_init))
    else:
        outcome = await linux.run(info, filters=translated(profile))
    personality = "EPERM" if by_init else "ENOSYS"
    assert outcome.lines == [personality, "done", "EPERM", "EPERM", "done"], outcome.stderr


@X86_64
async def test_a_call_that_kills(linux: LinuxHost) -> None:
    profile = Profile(ALLOW, rules=(Rule(("personality",), KILL),))
    outcome = await linux.run(
        python(PROBE, f"{GETPID}", f"{PERSONALITY},0"), filters=translated(profile)
    )
    assert outcome.lines == ["done"]
    assert signal_of(outcome) == signal.SIGSYS


@X86_64
async def test_calls_of_other_architectures(linux: LinuxHost) -> None:
    rules = (Rule(("getpid",), ERRNO),)
    both = Profile(ALLOW, architectures=("ARCH_X86", "ARCH_X32"), rules=rules)
    x32 = f"{X32 | GETPID}"
    # With their rules …
    outcome = await linux.run(python(PROBE, f"{GETPID}", x32), filters=translated(both))
    assert outcome.lines == ["EPERM", "EPERM"]
    outcome = await linux.run(python(PROBE_32), filters=translated(both))
    assert outcome.lines == ["-1"]
    # … and never around the rules.
    alone = Profile(ALLOW, rules=rules)
    outcome = await linux.run(python(PROBE, x32), filters=translated(alone))
    assert signal_of(outcome) == signal.SIGSYS
    assert outcome.lines == []
    outcome = await linux.run(python(PROBE_32), filters=translated(alone))
    assert signal_of(outcome) == signal.SIGSYS
    assert outcome.lines == []


async def test_what_a_profile_has_to_allow(linux: LinuxHost, image: str) -> None:
    caps = {"capabilities": ["CHOWN"]}
    profile = Profile(ERRNO, rules=(Rule(tuple(f"{TO_START} {TO_ECHO}".split()), ALLOW),))
    info = image_info(
        image,
        "/bin/busybox",
        arguments=["echo", "hello"],
        user="daemon",
        working_directory="/",
        effective_capabilities=caps,
        bounding_capabilities=caps,
        no_new_privileges=True,
        clone_namespaces=[CLONE_NEWNS, CLONE_NEWPID],
    )
    outcome = await linux.run(info, filters=translated(profile))
    assert outcome.lines == ["hello"], outcome.stderr
    assert outcome.status == "0"


async def test_init_is_filtered_and_lives_on(linux: LinuxHost, image: str) -> None:
    """Whatever the command may do: init waits for it, passes signals on and reaps."""
    needed = {name for name in init_seccomp.NEEDED if seccomp.is_syscall(name)}
    for profile in (
        Profile(ALLOW, rules=(Rule(("poll", "ppoll", "wait4", "mount"), ERRNO),)),
        Profile(KILL, rules=(Rule((*sorted(needed), "clone", "arch_prctl"), ALLOW),)),
    ):
        container_id, init = await linux.start(
            image_info(image, "echo up; sleep 1000", clone_namespaces=[CLONE_NEWNS, CLONE_NEWPID]),
            filters=translated(profile),
        )
        await linux.written(container_id)
        for pid in (init.pid, proc.children(init.pid)[0]):
            status = proc.status(pid)
            assert (status["Seccomp"], status["Seccomp_filters"]) == ("2", "1")
            assert status["NoNewPrivs"] == "0"
        os.kill(init.pid, signal.SIGTERM)
        assert (await linux.finish(container_id)).status == str(int(signal.SIGTERM))


async def test_a_filter_that_cannot_be_made(linux: LinuxHost) -> None:
    bad = Profile(ALLOW, rules=(Rule(("no_such_call",), ERRNO),))
    outcome = await linux.run(with_profile(launch_info("echo up"), bad))
    assert outcome.stderr == "Failed to load Seccomp filter: Unrecognized syscall 'no_such_call'\n"
    assert (outcome.status, outcome.lines) == ("256", [])
    outcome = await linux.run(launch_info("echo up"), filters=Filters(b"12345678", b"12345678"))
    assert outcome.stderr == "Failed to load Seccomp filter: Invalid argument\n"
    assert (outcome.status, outcome.lines) == ("256", [])


async def test_sessions_and_nested_containers_have_filters_of_their_own(
    linux: LinuxHost, image: str
) -> None:
    info = image_info(image, "echo up; sleep 1000", clone_namespaces=[CLONE_NEWNS, CLONE_NEWPID])
    outer, init = await linux.start(info)
    await linux.written(outer)
    command = proc.children(init.pid)[0]
    strict = translated(Profile(ALLOW, rules=(Rule(("mkdir", "mkdirat"), ERRNO),)))
    session, _ = await linux.start(
        launch_info("/bin/busybox mkdir /new || echo no", working_directory="/"),
        parent=outer,
        enter=CLONE_NEWPID,
        namespace_mnt_target=command,
        filters=strict,
    )
    assert (await linux.finish(session)).lines == ["no"]


class TestCommandTasks:
    """The init of a command task is its executor."""

    @pytest.fixture
    def spawner(self, tmp_path: Path) -> Spawner:
        path = f"{os.path.realpath(tmp_path)}/executor"
        return Spawner(SpawnerConfig(programs={path: "mesos_compat.executor.command:main"}))

    def info(
        self, linux: LinuxHost, agent: FakeAgent, *arguments: str, **fields: object
    ) -> slave.ContainerLaunchInfo:
        return executor_info(
            linux,
            agent,
            *arguments,
            environment={
                "MESOS_CHECKPOINT": "1",
                "MESOS_RECOVERY_TIMEOUT": "15mins",
                "MESOS_SUBSCRIPTION_BACKOFF_MAX": "10ms",
            },
            **fields,
        )

    async def run_task(
        self,
        linux: LinuxHost,
        script: str,
        filters: Filters,
        *arguments: str,
        mounts: list[dict[str, object]] | None = None,
        user: str | None = None,
    ) -> tuple[Outcome, list[str]]:
        """Run a command task; return how it ended and the Seccomp lines of its executor."""
        agent = FakeAgent()
        fields: dict[str, object] = {} if user is None else {"user": user}
        info = self.info(linux, agent, *arguments, mounts=mounts or [], **fields)
        try:
            container_id, init = await linux.start(info, filters=filters)
            await asyncio.to_thread(agent.start_task, shell_task(script))
            status = proc.status(init.pid)
            await asyncio.to_thread(agent.update, v1.TASK_FINISHED)
            outcome = await linux.finish(container_id)
        finally:
            agent.close()
        return outcome, [status["Seccomp"], status["Seccomp_filters"]]

    async def test_task_of_an_image(self, linux: LinuxHost, image: str) -> None:
        # The executor enters the image although its task may do nothing of the kind.
        forbidden = ("mount", "pivot_root", "unshare", "umount2", "open_tree", "move_mount")
        profile = Profile(ALLOW, rules=(Rule((*forbidden, "connect", "kill"), ERRNO),))
        made = translated(profile)
        outcome, executor = await self.run_task(
            linux,
            "busybox mount -t tmpfs none /tmp 2>/dev/null || echo no mount;"
            " busybox kill -0 1 2>/dev/null || echo no kill;"
            " busybox grep Seccomp: /proc/self/status; busybox grep NoNew /proc/self/status",
            Filters(made.command, made.init, by_program=True),
            f"--rootfs={image}",
            "--working_directory=/",
            mounts=image_mounts(image),
        )
        assert outcome.lines == ["no mount", "no kill", "Seccomp:\t2", "NoNewPrivs:\t0"]
        assert executor == ["2", "1"]

    @pytest.mark.parametrize("user", [None, "daemon"])
    async def test_task_without_an_image(self, linux: LinuxHost, user: str | None) -> None:
        profile = Profile(ALLOW, rules=(Rule(("mkdir", "mkdirat"), ERRNO),))
        outcome, executor = await self.run_task(
            linux,
            "mkdir new 2>/dev/null || echo no; grep Seccomp: /proc/self/status",
            translated(profile),
            user=user,
        )
        assert outcome.lines == ["no", "Seccomp:\t2"]
        assert executor == ["2", "1"]

    async def test_executor_lives_on_whatever_is_forbidden(
        self, linux: LinuxHost, image: str
    ) -> None:
        """It comes back to a restarted agent, kills with escalation and tells how it ended."""
        needed = {name for name in init_seccomp.NEEDED if seccomp.is_syscall(name)}
        profile = Profile(KILL, rules=(Rule((*sorted(needed), "clone", "arch_prctl"), ALLOW),))
        filters = dataclasses.replace(translated(profile), by_program=True)
        agent = FakeAgent()
        info = self.info(
            linux,
            agent,
            f"--rootfs={image}",
            "--working_directory=/",
            mounts=image_mounts(image),
        )
        script = "trap '' TERM; echo up; while :; do sleep 1; done"
        try:
            container_id, _ = await linux.start(info, filters=filters)
            await asyncio.to_thread(agent.start_task, shell_task(script))
            await linux.written(container_id)
            agent.drop()
            await asyncio.to_thread(agent.call, api.Call.SUBSCRIBE)
            agent.subscribed()
            agent.kill(0.1)
            await asyncio.to_thread(agent.update, v1.TASK_KILLED)
            outcome = await linux.finish(container_id)
        finally:
            agent.close()
        assert outcome.status == "0", outcome.stderr


async def test_helper_of_another_agent(tmp_path: Path) -> None:
    """The program that a C++ agent runs, with what it says on the command line."""
    profile = Profile(ALLOW, rules=(Rule(("mkdir", "mkdirat"), ERRNO),))
    info = with_profile(launch_info("mkdir new || echo no"), profile)
    process = await asyncio.create_subprocess_exec(
        os.path.join(os.path.dirname(sys.executable), "mesos-containerizer"),
        "launch",
        f"--launch_info={jsonpb.print_message(info).decode()}",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert out == b"no\n", err
    assert json.loads(jsonpb.print_message(info))["seccomp_profile"]["syscalls"]
