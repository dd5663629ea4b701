# SPDX-License-Identifier: Apache-2.0
"""What is wrong is answered with a clear status or exit, and the agent lives on."""

import contextlib
import os
import socket
import tarfile
import time
from collections.abc import Callable

import pytest

from integration import images
from integration.agent import OurAgent
from integration.images import DockerImage, Member
from integration.master import RealMaster
from integration.processes import eventually, get_json
from integration.scene import Execution, Scene

#: Made when a test runs, or bytes as they are.
Archive = Callable[[], bytes] | bytes
STARTED = ("TASK_STARTING", "TASK_RUNNING")
IMAGE_FLAGS = {
    "isolation": "docker/runtime,filesystem/linux",
    "image_providers": "docker",
    "launcher": "linux",
}


def still_works(scene: Scene, master: RealMaster, agent: OurAgent) -> None:
    """The agent is the same process, registered, and runs a task."""
    assert agent.running, agent.tail()
    done = scene.execute(master, "--name=alive", "--command=true")
    done.check(*STARTED, "TASK_FINISHED")


def failed_launch(done: Execution) -> str:
    """Check that the task failed before it ran; returns what was said about it."""
    assert done.states[-1] == "TASK_FAILED", str(done)
    assert "TASK_RUNNING" not in done.states, str(done)
    messages = [line for line in done.stdout.splitlines() if line.startswith("  message: ")]
    assert messages, str(done)
    return messages[-1]


# --- images ------------------------------------------------------------


def hostile(*members: Member) -> bytes:
    """An image whose second layer holds ``members``."""
    layers = [images.layer(images.busybox_members()), images.layer(members)]
    return images.docker_archive(DockerImage("bad:latest", layers))


def dotdot() -> bytes:
    return hostile(Member("../../../../../../tmp/mesos-compat-escaped", data=b"escaped"))


def absolute_name() -> bytes:
    return hostile(Member("/tmp/mesos-compat-escaped", data=b"escaped"))


def through_a_link() -> bytes:
    return hostile(
        Member("out", tarfile.SYMTYPE, link="/tmp"),
        Member("out/mesos-compat-escaped", data=b"escaped"),
    )


def through_a_dotdot_link() -> bytes:
    return hostile(
        Member("up", tarfile.SYMTYPE, link="../../../../../../../../tmp"),
        Member("up/mesos-compat-escaped", data=b"escaped"),
    )


def hard_link_to_the_host() -> bytes:
    return hostile(Member("shadow", tarfile.LNKTYPE, link="/etc/shadow"))


def truncated() -> bytes:
    whole = images.docker_archive(
        DockerImage("bad:latest", [images.layer(images.busybox_members())])
    )
    return whole[: len(whole) // 2]


def device_node() -> bytes:
    return hostile(Member("dev/mem-of-host", tarfile.CHRTYPE, mode=0o666, device=(1, 1)))


ESCAPED = "/tmp/mesos-compat-escaped"


@pytest.mark.root
@pytest.mark.parametrize(
    "archive",
    [None, b"", b"not a tar file at all", truncated],
    ids=["missing", "empty", "garbage", "truncated"],
)
def test_unusable_archives_fail_the_task(scene: Scene, archive: Archive | None) -> None:
    folder = scene.path("images")
    os.makedirs(folder)
    if archive is not None:
        content = archive if isinstance(archive, bytes) else archive()
        images.write_docker(folder, "bad:latest", content)
    master = scene.master()
    agent = scene.agent(master, docker_registry=folder, **IMAGE_FLAGS)
    done = scene.execute(master, "--name=bad", "--docker_image=bad:latest", "--command=true")
    message = failed_launch(done)
    if archive is None:
        path = os.path.join(folder, "bad:latest.tar")
        assert f"Failed to find archive for image 'bad:latest' at '{path}'" in message
    still_works(scene, master, agent)


@pytest.mark.root
@pytest.mark.parametrize(
    "archive",
    [dotdot, absolute_name, through_a_link, through_a_dotdot_link, hard_link_to_the_host],
)
def test_layers_never_reach_the_host(scene: Scene, archive: Callable[[], bytes]) -> None:
    """Such a layer is either refused or kept inside its root file system."""
    assert not os.path.lexists(ESCAPED)
    folder = scene.path("images")
    images.write_docker(folder, "bad:latest", archive())
    before = os.stat("/etc/shadow").st_nlink
    master = scene.master()
    agent = scene.agent(master, docker_registry=folder, **IMAGE_FLAGS)
    done = scene.execute(master, "--name=bad", "--docker_image=bad:latest", "--command=true")
    try:
        assert not os.path.lexists(ESCAPED)
        assert os.stat("/etc/shadow").st_nlink == before
        assert done.states[-1] in ("TASK_FINISHED", "TASK_FAILED"), str(done)
        if done.states[-1] == "TASK_FAILED":
            failed_launch(done)
        still_works(scene, master, agent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(ESCAPED)


@pytest.mark.root
def test_a_device_node_of_an_image_opens_nothing(scene: Scene) -> None:
    folder = scene.path("images")
    images.write_docker(folder, "bad:latest", device_node())
    master = scene.master()
    agent = scene.agent(master, docker_registry=folder, **IMAGE_FLAGS)
    done = scene.execute(
        master,
        "--name=device",
        "--docker_image=bad:latest",
        "--command=if head -c 1 /dev/mem-of-host; then echo readable; exit 1; fi",
    )
    assert done.states[-1] in ("TASK_FINISHED", "TASK_FAILED"), str(done)
    if done.states[-1] == "TASK_FAILED":
        failed_launch(done)
    still_works(scene, master, agent)


# --- tasks ------------------------------------------------------------


def test_a_command_that_does_not_exist_fails(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    by_shell = scene.execute(master, "--name=shell", "--command=/no/such/command")
    by_shell.check(*STARTED, "TASK_FAILED")
    assert "Command exited with status 127" in by_shell.stdout
    task = (
        '{"name": "direct", "task_id": {"value": "direct"}, "agent_id": {"value": ""}, '
        '"command": {"shell": false, "value": "/no/such/command", "arguments": ["x"]}, '
        '"resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}, '
        '{"name": "mem", "type": "SCALAR", "scalar": {"value": 32}}]}'
    )
    direct = scene.execute(master, f"--task={task}")
    assert direct.states[-1] == "TASK_FAILED", str(direct)
    still_works(scene, master, agent)


@pytest.mark.root
def test_an_unknown_user_fails_the_task(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    task = (
        '{"name": "nobody", "task_id": {"value": "nobody"}, "agent_id": {"value": ""}, '
        '"command": {"value": "true", "user": "no-such-user"}, '
        '"resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}}, '
        '{"name": "mem", "type": "SCALAR", "scalar": {"value": 32}}]}'
    )
    done = scene.execute(master, f"--task={task}")
    # It never had a sandbox: dropped, for a framework that knows about partitions.
    done.check("TASK_DROPPED")
    assert "Failed to chown directory to 'no-such-user'" in done.stdout
    still_works(scene, master, agent)


def test_more_than_the_agent_has_ends_mesos_execute(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    started = time.monotonic()
    done = scene.execute(
        master, "--name=big", "--command=true", "--resources=cpus:64;mem:32", timeout_s=110
    )
    assert done.exit_code != 0
    assert done.states == []
    assert done.stderr.strip(), "a reason is said"
    assert time.monotonic() - started < 100
    still_works(scene, master, agent)


# --- libprocess messages ------------------------------------------------------------


def message(agent: OurAgent, name: str, body: bytes, claimed: int | None = None) -> bytes:
    """A libprocess message to the agent, its length as claimed."""
    length = len(body) if claimed is None else claimed
    return (
        f"POST /slave(1)/{name} HTTP/1.1\r\n"
        f"Host: {agent.address}\r\n"
        "User-Agent: libprocess/master@127.0.0.1:1\r\n"
        "Libprocess-From: master@127.0.0.1:1\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode() + body


def send(agent: OurAgent, data: bytes) -> None:
    """Send bytes to the agent; it may close the connection whenever it likes."""
    with socket.create_connection((agent.ip, agent.port), timeout=60) as connection:
        connection.settimeout(20)
        with contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("mesos.internal.RunTaskMessage", b"\xff" * 64),
        ("mesos.internal.RunTaskMessage", b""),
        ("mesos.internal.ShutdownMessage", b"\x00\x01\x02"),
        ("mesos.internal.KillTaskMessage", b"\x0a\x02\x0a\x00"),
        ("mesos.internal.NoSuchMessage", b"\x0a\x00"),
        ("..%2f..%2fetc", b"x"),
        ("PING", b"\xff\xff"),
        ("mesos.internal.StatusUpdateAcknowledgementMessage", b"\x0a\x80"),
    ],
)
def test_messages_that_are_no_messages_are_dropped(scene: Scene, name: str, body: bytes) -> None:
    master = scene.master()
    agent = scene.agent(master)
    send(agent, message(agent, name, body))
    still_works(scene, master, agent)


def test_a_message_of_100_mb_does_not_disturb(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    send(agent, message(agent, "mesos.internal.RunTaskMessage", b"\x0a" * (100 << 20)))
    still_works(scene, master, agent)
    with open(f"/proc/{agent.pid}/status", encoding="ascii") as file:
        resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    assert resident < 200 << 10, f"{resident} kB stay in memory"


def test_half_a_message_and_no_http_at_all(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    send(agent, message(agent, "mesos.internal.RunTaskMessage", b"\x0a", claimed=1 << 40))
    send(agent, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500)
    send(agent, b"POST /slave(1)/x HTTP/1.1\r\n" + b"X: y\r\n" * 20000)
    still_works(scene, master, agent)


# --- start-up ------------------------------------------------------------


def test_an_unknown_isolator_ends_the_agent_with_its_name(scene: Scene) -> None:
    master = scene.master()
    agent = scene.prepare_agent(master, isolation="posix/cpu,no/such").spawn()
    assert agent.wait() == 1
    assert "no/such" in agent.tail()


def test_an_unknown_flag_ends_the_agent_with_upstreams_text(scene: Scene) -> None:
    agent = scene.prepare_agent("127.0.0.1:1", no_such_flag="1").spawn()
    assert agent.wait() == 1
    assert "Failed to load unknown flag 'no_such_flag'" in agent.log_text()


def test_a_master_that_does_not_answer_is_waited_for(scene: Scene) -> None:
    """The agent keeps trying, answers its own endpoints, and registers once there is a master."""
    master = scene.master()
    master.stop()
    agent = scene.prepare_agent(master).spawn()
    eventually(lambda: get_json(agent.address, "/version"), 60, "the agent to answer")
    time.sleep(1)
    assert agent.running
    master.start()
    agent.wait_until_registered()


def test_a_second_agent_on_the_same_work_directory_is_refused(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(master)
    second = scene.prepare_agent(master, work_dir=agent.work_dir).spawn()
    assert second.wait() != 0
    assert agent.work_dir in second.tail()
    still_works(scene, master, agent)
