# SPDX-License-Identifier: Apache-2.0
"""Root in a container with all capabilities takes its init apart.

The init is the container's own: whoever may trace it can end it, and the container with it. It is a
fork of the process that all containers come from, so nothing of that may be reached through it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from pathlib import Path

import pytest

from containerizer.launcher.spawn import Spawner, SpawnerConfig
from containerizer.linux import proc
from containerizer.linux.namespaces import CLONE_NEWPID
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave
from tests.containerizer.launcher.executors import NAMESPACES, image_executor_info
from tests.containerizer.launcher.host import PSEUDO, LinuxHost, eventually, image_info, launch_info
from tests.containerizer.launcher.test_hostile import written_files
from tests.executor.fake_agent import FakeAgent, shell_task

pytestmark = pytest.mark.root

#: Overwrites all code of process 1.
OVERWRITE_MEMORY = r"""
while read range mode rest; do
  case $mode in r-x*) ;; *) continue;; esac
  start=$((0x${range%-*} / 4096)); end=$((0x${range#*-} / 4096))
  busybox yes | busybox dd of=/proc/1/mem bs=4096 iflag=fullblock seek=$start \
    count=$((end - start)) conv=notrunc 2>/dev/null
done < /proc/1/maps
echo overwritten
"""
#: Stops process 1, puts a breakpoint where it is and lets it go.
TRACE = r"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
registers = (ctypes.c_ulong * 27)()
assert libc.ptrace(16, 1, None, None) == 0, ctypes.get_errno()
os.waitpid(1, 0x40000000)
assert libc.ptrace(12, 1, None, registers) == 0, ctypes.get_errno()
with open("/proc/1/mem", "r+b", 0) as memory:
    memory.seek(registers[16])
    memory.write(b"\xcc" * 8)
print("traced", flush=True)
libc.ptrace(17, 1, None, None)
import time; time.sleep(1000)
"""
#: Searches the memory of process 1 for words, which it is given backwards.
SEARCH = r"""
import sys
words = [word[::-1].encode() for word in sys.argv[1:]]
seen = 0
with open("/proc/1/maps") as maps, open("/proc/1/mem", "rb", 0) as memory:
    for line in maps:
        start, end = (int(number, 16) for number in line.split()[0].split("-"))
        try:
            memory.seek(start)
            content = memory.read(end - start)
        except (OSError, ValueError, OverflowError):
            continue
        seen += len(content)
        for word in words:
            if word in content:
                print("found", word.decode()[::-1], line, end="")
print("searched", seen > 1 << 20)
"""


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """A word that only the agent's environment has."""
    word = uuid.uuid4().hex
    monkeypatch.setenv("SECRET_OF_THE_AGENT", word)
    return word


@pytest.fixture
def spawner(tmp_path: Path, secret: str) -> Spawner:
    path = f"{os.path.realpath(tmp_path)}/executor"
    return Spawner(SpawnerConfig(programs={path: "mesos_compat.executor.command:main"}))


def python(program: str, *arguments: str) -> slave.ContainerLaunchInfo:
    """A program that sees its own pid namespace, in the host's files."""
    interpreter = os.path.realpath(sys.executable)
    return launch_info(
        interpreter,
        arguments=[interpreter, "-SEc", program, *arguments],
        mounts=[{"source": "proc", "target": "/proc", "type": "proc", "flags": PSEUDO}],
        clone_namespaces=NAMESPACES,
        working_directory="/",
    )


async def test_memory_of_init_is_the_containers_own(linux: LinuxHost, image: str) -> None:
    files = written_files()
    info = image_info(image, OVERWRITE_MEMORY, clone_namespaces=NAMESPACES)
    container_id, init = await linux.start(info)
    await eventually(lambda: proc.is_zombie_or_gone(init.pid))
    # The end of the command was the end of an init without code.
    outcome = await linux.finish(container_id)
    assert (outcome.lines, outcome.status) == (["overwritten"], "")
    assert written_files() == files
    assert (await linux.run(image_info(image, "echo fine"))).lines == ["fine"]


async def test_memory_of_an_executor_is_the_containers_own(linux: LinuxHost, image: str) -> None:
    files = written_files()
    agent = FakeAgent()
    info = image_executor_info(linux, agent, image)
    try:
        container_id, init = await linux.start(info)
        await asyncio.to_thread(agent.start_task, shell_task(f"{OVERWRITE_MEMORY}sleep 1000"))
        await linux.written(container_id)
        os.kill(init.pid, 28)  # something to wake up for
        await eventually(lambda: proc.is_zombie_or_gone(init.pid))
        assert (await linux.finish(container_id)).lines == ["overwritten"]
    finally:
        agent.close()
    assert written_files() == files
    assert (await linux.run(image_info(image, "echo fine"))).lines == ["fine"]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="registers of x86_64")
async def test_init_that_is_traced(linux: LinuxHost, image: str) -> None:
    files = written_files()
    container_id, init = await linux.start(python(TRACE))
    await linux.written(container_id)
    os.kill(init.pid, 28)
    await eventually(lambda: proc.is_zombie_or_gone(init.pid))
    outcome = await linux.finish(container_id)
    assert (outcome.lines, outcome.status) == (["traced"], "")
    assert written_files() == files
    assert (await linux.run(image_info(image, "echo fine"))).lines == ["fine"]


async def test_init_knows_nothing_of_the_agent_and_of_others(
    linux: LinuxHost, image: str, secret: str
) -> None:
    other = uuid.uuid4().hex
    neighbour, _ = await linux.start(
        image_info(
            image, "echo up; sleep 1000", environment={"OTHER": other}, clone_namespaces=NAMESPACES
        )
    )
    await linux.written(neighbour)
    outcome = await linux.run(python(SEARCH, secret[::-1], other[::-1]))
    assert outcome.lines == ["searched True"], outcome.stderr


async def test_nested_init_before_its_image_needs_the_right_to_trace(
    linux: LinuxHost, image: str
) -> None:
    """Who shares its pids and lacks CAP_SYS_PTRACE sees nothing of the host by way of it."""
    marker = f"/.marker-{uuid.uuid4()}"
    some = {"capabilities": ["CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "SYS_CHROOT", "SYS_ADMIN"]}
    script = (
        "echo up; n=0; while busybox test $n -lt 200; do n=$((n+1));"
        " for pid in /proc/[0-9]*; do"
        f" busybox test -e $pid/root{marker} && echo root; busybox test -e $pid/cwd{marker} &&"
        " echo cwd; done; done; echo end"
    )
    with open(marker, "x"):
        pass
    try:
        outer, _ = await linux.start(
            image_info(
                image,
                script,
                clone_namespaces=NAMESPACES,
                effective_capabilities=some,
                bounding_capabilities=some,
            )
        )
        await linux.written(outer)
        mounts = [{"source": image, "target": image, "flags": 4096 | 16384}]
        held, init = await linux.start(
            image_info(image, "true", mounts=mounts),
            parent=outer,
            enter=CLONE_NEWPID,
            release=False,
        )
        await asyncio.sleep(0.2)
        init.release()
        await linux.finish(held)
        assert (await linux.finish(outer)).lines == ["up", "end"]
    finally:
        os.unlink(marker)
