# SPDX-License-Identifier: Apache-2.0
"""Containers that operators and executors launch by HTTP, on a real agent with a real master.

What answers look like was recorded from the C++ agent; ids differ.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.agent import OurAgent
from integration.api import Api, ContainerID, container_id
from integration.processes import command, environment, eventually
from integration.scene import Scene

pytestmark = pytest.mark.root

ISOLATION = "docker/runtime,filesystem/linux,cgroups/cpu,cgroups/mem,namespaces/pid,namespaces/ipc"
IMAGE = {
    "type": "MESOS",
    "mesos": {"image": {"type": "DOCKER", "docker": {"name": "busybox:latest"}}},
}
RESOURCES = [
    {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
    {"name": "mem", "type": "SCALAR", "scalar": {"value": 32}},
]
OK = (200, "")


def shell(value: str, **more: object) -> dict[str, object]:
    """Return a CommandInfo."""
    return {"shell": True, "value": value, **more}


@contextmanager
def task(scene: Scene, agent: OurAgent, name: str, *arguments: str) -> Iterator[str]:
    """Run a command task until the end of the block; gives its container's id."""
    program = command("execute", f"--master={agent.master}", f"--name={name}", *arguments)
    running = subprocess.Popen(
        program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    try:
        yield eventually(lambda: running_container(agent, name), 60, f"the task {name}")
    finally:
        running.kill()
        running.wait()


def running_container(agent: OurAgent, name: str) -> str | None:
    """Return the container of a task that runs."""
    for framework in agent.state()["frameworks"]:
        for executor in framework["executors"]:
            if any(t["name"] == name and t["state"] == "TASK_RUNNING" for t in executor["tasks"]):
                container: str = executor["container"]
                return container
    return None


@pytest.fixture
def agent(scene: Scene, docker_images: str) -> OurAgent:
    return scene.agent(
        scene.master(),
        isolation=ISOLATION,
        image_providers="docker",
        docker_registry=docker_images,
        http_heartbeat_interval="1secs",
        authenticate_http_readwrite=False,
    )


def ended(api: Api, container: ContainerID) -> str:
    """Wait for a container; return the reply."""
    answer = api.call("WAIT_CONTAINER", container_id=container)
    assert answer.status == 200, answer.text
    return answer.text


def test_nested_containers_answer_like_upstream(scene: Scene, agent: OurAgent) -> None:
    api = Api(agent.address)
    with task(scene, agent, "cmd", "--command=sleep 9999") as root:
        n1, n2 = container_id(root, "n1"), container_id(root, "n2")
        script = "trap 'exit 0' TERM; echo up; sleep 9999 & wait"
        launch = {"container_id": n1, "command": shell(script)}
        answer = api.call("LAUNCH_NESTED_CONTAINER", **launch)
        assert answer.shown == OK
        assert answer.headers == {"Content-Length": "0"}
        answer = api.call("LAUNCH_NESTED_CONTAINER", **launch)
        assert answer.shown == (202, "")
        assert answer.headers == {"Content-Length": "0"}
        answer = api.call("REMOVE_CONTAINER", container_id=n1)
        assert answer.shown == (500, "Nested container has not terminated yet")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"

        shown = api.call("GET_CONTAINERS", show_nested=True, show_standalone=True)
        own, nested = shown.value["containers"]
        assert own["executor_id"] == {"value": "cmd"}
        assert own["executor_name"] == "Command Executor (Task: cmd) (Command: sh -c 'sleep 9999')"
        assert own["container_id"] == own["container_status"]["container_id"] == {"value": root}
        assert sorted(nested) == ["container_id", "container_status", "resource_statistics"]
        assert nested["container_id"] == {"value": "n1"}
        assert nested["container_status"]["container_id"] == n1
        assert sorted(nested["container_status"]) == ["container_id", "executor_pid"]
        assert sorted(nested["resource_statistics"]) == ["timestamp"]
        assert len(api.call("GET_CONTAINERS").value["containers"]) == 1

        said = Path(agent.sandbox("cmd"), "containers", "n1", "stdout")
        eventually(lambda: said.read_text() == "up\n", 60, "the trap to be set")
        assert api.call("KILL_CONTAINER", container_id=n1, signal=15).shown == OK
        zero = '{"type":"WAIT_CONTAINER","wait_container":{"exit_status":0}}'
        assert ended(api, n1) == zero
        text = f"Container '{root}.n1' cannot be found (or is already killed)"
        assert api.call("KILL_CONTAINER", container_id=n1).shown == (404, text)
        answer = api.call("WAIT_NESTED_CONTAINER", container_id=n1)
        nested_zero = zero.replace("wait_", "wait_nested_").replace("WAIT_", "WAIT_NESTED_")
        assert answer.shown == (200, nested_zero)
        for _ in range(2):
            assert api.call("REMOVE_CONTAINER", container_id=n1).shown == OK
        never = container_id(root, "never")
        assert api.call("REMOVE_NESTED_CONTAINER", container_id=never).shown == OK
        text = f"Container {root}.n1 cannot be found"
        assert api.call("WAIT_CONTAINER", container_id=n1).shown == (404, text)

        assert (
            api.call("LAUNCH_CONTAINER", container_id=n2, command=shell("sleep 9999")).shown == OK
        )
        invalid = (500, "Unable to send signal to container: Invalid argument")
        assert api.call("KILL_CONTAINER", container_id=n2, signal=99).shown == invalid
        assert api.call("KILL_CONTAINER", container_id=n2).shown == OK
        assert ended(api, n2) == '{"type":"WAIT_CONTAINER","wait_container":{"exit_status":9}}'
        # an id may come again when its container has ended
        again = {"container_id": n2, "command": shell("exit 3")}
        assert api.call("LAUNCH_NESTED_CONTAINER", **again).shown == OK
        assert ended(api, n2) == '{"type":"WAIT_CONTAINER","wait_container":{"exit_status":768}}'

        # it knows nothing of its executor
        alone = {"container_id": container_id(root, "env"), "command": shell("env")}
        assert api.call("LAUNCH_NESTED_CONTAINER", **alone).shown == OK
        ended(api, container_id(root, "env"))
        sandbox = agent.sandbox("cmd")
        names = Path(sandbox, "containers", "env", "stdout").read_text().splitlines()
        assert {name.partition("=")[0] for name in names} == {"MESOS_SANDBOX", "PATH", "PWD"}
        answer = api.call(
            "LAUNCH_CONTAINER",
            container_id=container_id(root, "n4"),
            command=shell("true", user="nosuchuser"),
        )
        text = f"Failed to create nested sandbox '{sandbox}/containers/n4': "
        text += "Failed to chown directory to 'nosuchuser': No such user 'nosuchuser'"
        assert answer.shown == (400, text)
        orphan = container_id(root, "missing", "x")
        answer = api.call("LAUNCH_CONTAINER", container_id=orphan, command=shell("true"))
        text = f"Parent container {root}.missing does not exist"
        assert answer.shown == (400, text)
        answer = api.call("REMOVE_CONTAINER", container_id=container_id(root))
        assert answer.status == 500
        # a missing program is a failure of the container, not of its launch
        missing = container_id(root, "s4")
        program = {"shell": False, "value": "/no/such"}
        assert api.call("LAUNCH_CONTAINER", container_id=missing, command=program).shown == OK
        assert '"exit_status":256}' in ended(api, missing)


def test_standalone_containers_answer_like_upstream(agent: OurAgent) -> None:
    api = Api(agent.address)
    alone = container_id("sa1")
    launch = {"container_id": alone, "resources": RESOURCES}
    launch["command"] = shell("env; pwd; while [ ! -e go ]; do sleep 0.05; done; exit 3")
    assert api.call("GET_CONTAINERS", show_standalone=True).text == '{"type":"GET_CONTAINERS"}'
    assert api.call("LAUNCH_CONTAINER", **launch).shown == OK
    assert api.call("LAUNCH_CONTAINER", **launch).shown == (202, "")
    [shown] = api.call("GET_CONTAINERS", show_standalone=True).value["containers"]
    assert shown["container_id"] == {"value": "sa1"}
    assert sorted(shown["container_status"]) == ["container_id", "executor_pid"]
    assert shown["resource_statistics"]["cpus_soft_limit"] == 0.1
    assert api.call("GET_CONTAINERS", show_nested=True).text == '{"type":"GET_CONTAINERS"}'
    missing = (404, "Container sa1 cannot be found")
    stream = api.stream("ATTACH_CONTAINER_OUTPUT", container_id=alone)
    assert stream.status_line == "HTTP/1.1 404 Not Found"
    stream.close()
    assert api.input(alone).end().answer() == missing
    sandbox = Path(agent.work_dir, "containers", "sa1")
    assert sandbox.stat().st_mode == 0o40750
    nested = container_id("sa1", "in")
    assert api.call("LAUNCH_CONTAINER", container_id=nested, command=shell("exit 1")).shown == OK
    assert '"exit_status":256}' in ended(api, nested)
    (sandbox / "go").touch()
    assert ended(api, alone) == '{"type":"WAIT_CONTAINER","wait_container":{"exit_status":768}}'
    assert api.call("WAIT_CONTAINER", container_id=alone).shown == missing
    # what was nested in it is gone with it
    assert api.call("WAIT_CONTAINER", container_id=nested).status == 404
    lines = (sandbox / "stdout").read_text().splitlines()
    assert sorted(lines) == sorted(
        [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"MESOS_SANDBOX={sandbox}",
            f"PWD={sandbox}",
            str(sandbox),
        ]
    )
    answer = api.call(
        "LAUNCH_CONTAINER",
        container_id=container_id("sa2"),
        command=shell("true", user="nosuchuser"),
        resources=RESOURCES,
    )
    text = "Failed to create sandbox: "
    text += "Failed to chown directory to 'nosuchuser': No such user 'nosuchuser'"
    assert answer.shown == (500, text)
    answer = api.call("LAUNCH_CONTAINER", container_id=container_id("sa3"), command=shell("true"))
    text = "Failed to update subsystems: Failed to update subsystem 'memory': No memory resource"
    text += " given; Failed to update subsystem 'cpu': No cpus resource given"
    assert answer.shown == (400, text)
    answer = api.call(
        "LAUNCH_CONTAINER",
        container_id=container_id("sa4"),
        command=shell("true"),
        resources=RESOURCES,
        container={"type": "DOCKER", "docker": {"image": "x"}},
    )
    assert answer.shown == (400, "The provided ContainerInfo is not supported")
    eventually(
        lambda: (
            api.call("GET_CONTAINERS", show_standalone=True).text == '{"type":"GET_CONTAINERS"}'
        ),
        60,
        "failed launches to be destroyed",
    )


def test_standalone_and_nested_containers_with_images(scene: Scene, agent: OurAgent) -> None:
    api = Api(agent.address)
    alone = container_id("sb1")
    launch = {"container_id": alone, "resources": RESOURCES, "container": IMAGE}
    launch["command"] = shell(
        "env; pwd; cat /etc/passwd | head -n 1; ls -d /work /home; sleep 9999"
    )
    assert api.call("LAUNCH_CONTAINER", **launch).shown == OK
    stdout = Path(agent.work_dir, "containers", "sb1", "stdout")
    eventually(lambda: "root:x:0:0" in stdout.read_text(), 60, "output")
    lines = stdout.read_text().splitlines()
    assert "MESOS_SANDBOX=/mnt/mesos/sandbox" in lines
    assert "/mnt/mesos/sandbox" in lines
    inner = container_id("sb1", "in")
    nested = {"container_id": inner, "container": IMAGE}
    nested["command"] = shell("touch /only-here; echo $$; ls -d /only-here; exit 4")
    assert api.call("LAUNCH_CONTAINER", **nested).shown == OK
    assert '"exit_status":1024}' in ended(api, inner)
    inside = Path(agent.work_dir, "containers", "sb1", "containers", "in", "stdout")
    assert inside.read_text() == "2\n/only-here\n"
    text = "Failed to find archive for image 'nosuch'"
    bad = {"type": "MESOS", "mesos": {"image": {"type": "DOCKER", "docker": {"name": "nosuch"}}}}
    answer = api.call(
        "LAUNCH_CONTAINER",
        container_id=container_id("sb1", "bad"),
        command=shell("true"),
        container=bad,
    )
    assert answer.status == 400
    assert answer.text.startswith(text)
    assert api.call("KILL_CONTAINER", container_id=alone).shown == OK
    assert '"exit_status":9}' in ended(api, alone)


def test_sessions_answer_like_upstream(scene: Scene, agent: OurAgent) -> None:
    api = Api(agent.address)
    with task(scene, agent, "cmd", "--command=sleep 9999") as root:

        def session(name: str, value: str, accept: str = "application/recordio") -> bytes:
            stream = api.stream(
                "LAUNCH_NESTED_CONTAINER_SESSION",
                accept,
                container_id=container_id(root, name),
                command=shell(value),
            )
            assert stream.status_line == "HTTP/1.1 200 OK"
            types = [line for line in stream.headers if "ontent-Type" in line]
            assert types[0] == f"Content-Type: {accept}"
            assert types[1:] == (
                ["Message-Content-Type: application/json"] if "recordio" in accept else []
            )
            assert "Transfer-Encoding: chunked" in stream.headers
            return stream.body()

        chunk = b'39\r\n54\n{"type":"DATA","data":{"type":"STDOUT","data":"YQo="}}\r\n0\r\n\r\n'
        assert session("s1", "echo a; exit 3") == chunk
        assert '"exit_status":768}' in ended(api, container_id(root, "s1"))
        assert session("s1", "true") == b"0\r\n\r\n"
        assert session("s2", "echo a", "application/json") == chunk
        protobuf = b"d\r\n10\n\x08\x01\x12\x06\x08\x02\x12\x02a\n\r\n0\r\n\r\n"
        assert session("s3", "echo a", "application/x-protobuf") == protobuf

        stream = api.stream(
            "LAUNCH_NESTED_CONTAINER_SESSION",
            container_id=container_id(root, "env"),
            command=shell("env; echo to stderr >&2"),
        )
        output = stream.output()
        assert output["STDERR"] == b"to stderr\n"
        names = {line.partition("=")[0] for line in output["STDOUT"].decode().splitlines()}
        assert names >= {"MESOS_EXECUTOR_ID", "MESOS_FRAMEWORK_ID", "MESOS_SANDBOX", "PATH", "PWD"}
        assert f"MESOS_SANDBOX={agent.sandbox('cmd')}\n" in output["STDOUT"].decode()

        gone = container_id(root, "s5")
        stream = api.stream(
            "LAUNCH_NESTED_CONTAINER_SESSION", container_id=gone, command=shell("sleep 9999")
        )
        stream.close()
        assert '"exit_status":9}' in ended(api, gone)

        talk = container_id(root, "s6")
        stream = api.stream(
            "LAUNCH_NESTED_CONTAINER_SESSION", container_id=talk, command=shell("cat")
        )
        assert api.input(talk).end().answer() == OK
        first = api.input(talk).type(b"hello\n")
        refused = (409, "Multiple input connections are not allowed")
        eventually(lambda: api.input(talk).end().answer() == refused, 60, "the input to be taken")
        assert first.type(b"").end().answer() == OK
        assert stream.output() == {"STDOUT": b"hello\n"}
        assert '"exit_status":0}' in ended(api, talk)

        disabled = "I/O switchboard server was disabled for this container"
        assert api.input(container_id(root)).end().answer() == (500, disabled)
        stream = api.stream("ATTACH_CONTAINER_OUTPUT", container_id=container_id(root))
        assert stream.status_line == "HTTP/1.1 500 Internal Server Error"
        stream.close()
        unknown = container_id(root, "zz")
        assert api.input(unknown).end().answer() == (500, f"Unknown container {root}.zz")


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (
            {"type": "DATA", "data": {"type": "STDOUT", "data": ""}},
            "Expecting 'process_io.data.type' to be 'STDIN'",
        ),
        (
            {"type": "DATA", "data": {"type": "STDIN"}},
            "Expecting 'process_io.data.data' to be present",
        ),
        ({"type": "DATA"}, "Expecting 'process_io.data' to be present"),
        ({}, "Expecting 'process_io.type' to be present"),
        (
            {"type": "CONTROL", "control": {"type": "TTY_INFO", "tty_info": {}}},
            "Expecting 'tty_info.window_size' to be present",
        ),
        (
            {
                "type": "CONTROL",
                "control": {
                    "type": "TTY_INFO",
                    "tty_info": {"window_size": {"rows": 1, "columns": 1}},
                },
            },
            "Unable to set the window size: Inappropriate ioctl for device",
        ),
    ],
)
def test_bad_input_records(
    session_of_cat: tuple[Api, ContainerID], record: dict[str, object], text: str
) -> None:
    api, container = session_of_cat
    assert api.input(container).send(record).answer() == (400, text)
    # its place is free again
    assert api.input(container).end().answer() == OK


@pytest.fixture
def session_of_cat(scene: Scene, agent: OurAgent) -> Iterator[tuple[Api, ContainerID]]:
    api = Api(agent.address)
    with task(scene, agent, "cmd", "--command=sleep 9999") as root:
        container = container_id(root, "cat")
        stream = api.stream(
            "LAUNCH_NESTED_CONTAINER_SESSION", container_id=container, command=shell("cat")
        )
        yield api, container
        stream.close()


def test_a_session_with_a_terminal(scene: Scene, agent: OurAgent) -> None:
    api = Api(agent.address)
    with task(scene, agent, "cmd", "--command=sleep 9999") as root:
        container = container_id(root, "tty")
        script = "stty size; read x; stty size; tty; cat"
        stream = api.stream(
            "LAUNCH_NESTED_CONTAINER_SESSION",
            container_id=container,
            command=shell(script),
            container={"type": "MESOS", "tty_info": {"window_size": {"rows": 1, "columns": 1}}},
        )
        size = {"tty_info": {"window_size": {"rows": 33, "columns": 44}}}
        typed = api.input(container)
        typed.send({"type": "CONTROL", "control": {"type": "TTY_INFO", **size}})
        typed.type(b"\n").type(b"ab\n").type(b"\x04")
        output = stream.output()
        assert set(output) == {"STDOUT"}
        text = output["STDOUT"].decode()
        assert re.search(r"33 44\r\n/dev/pts/\d+\r\n", text), text
        assert text.endswith("ab\r\n")
        assert typed.answer() == OK
        assert '"exit_status":0}' in ended(api, container)


def test_a_session_in_a_task_of_one_process(scene: Scene, agent: OurAgent) -> None:
    """There is no process below the task's own."""
    api = Api(agent.address)
    with task(scene, agent, "cmd", "--command=exec sleep 9999") as root:
        stream = api.stream(
            "LAUNCH_NESTED_CONTAINER_SESSION",
            container_id=container_id(root, "echo"),
            command=shell("echo hi"),
        )
        assert stream.output() == {"STDOUT": b"hi\n"}


def test_a_session_in_a_task_with_an_image(scene: Scene, agent: OurAgent) -> None:
    api = Api(agent.address)
    script = "touch /made-by-task; sleep 9999"
    with task(scene, agent, "img", "--docker_image=busybox:latest", f"--command={script}") as root:
        stream = api.stream(
            "LAUNCH_NESTED_CONTAINER_SESSION",
            container_id=container_id(root, "s"),
            command=shell("ls /made-by-task; pwd; readlink /bin/sh; ps | grep -c sleep"),
        )
        output = stream.output()
        assert output["STDOUT"].decode().splitlines()[:3] == [
            "/made-by-task",
            "/mnt/mesos/sandbox",
            "busybox",
        ], output
        nested = {"container_id": container_id(root, "n"), "container": IMAGE}
        nested["command"] = shell("ls /made-by-task")
        assert api.call("LAUNCH_NESTED_CONTAINER", **nested).shown == OK
        assert '"exit_status":256}' in ended(api, container_id(root, "n"))


def test_depth_and_order_of_the_end(scene: Scene, agent: OurAgent) -> None:
    api = Api(agent.address)
    with task(scene, agent, "deep", "--command=sleep 9999") as root:
        path = [root]
        for name in ("a", "b", "c", "d"):
            path.append(name)
            launch = {"container_id": container_id(*path), "command": shell("sleep 9999")}
            assert api.call("LAUNCH_CONTAINER", **launch).shown == OK
        freezer = Path("/sys/fs/cgroup/freezer", agent.cgroups_root)
        deepest = freezer.joinpath("/mesos/".join(path))
        if freezer.exists():
            assert deepest.is_dir()
        assert api.call("KILL_CONTAINER", container_id=container_id(root, "a")).shown == OK
        assert '"exit_status":9}' in ended(api, container_id(root, "a"))
        answer = api.call("WAIT_CONTAINER", container_id=container_id(*path))
        assert answer.status == 200
        assert not deepest.exists()
        # the destroyed one and all in it are removed together
        assert api.call("REMOVE_CONTAINER", container_id=container_id(root, "a")).shown == OK
        assert api.call("WAIT_CONTAINER", container_id=container_id(*path)).status == 404
        assert not os.path.exists(os.path.join(agent.sandbox("deep"), "containers", "a"))


@pytest.mark.parametrize("much", [False, True])
def test_a_client_that_vanishes_leaves_its_place(scene: Scene, agent: OurAgent, much: bool) -> None:
    """Nobody reads its input, so that nothing but its absence tells of its end."""
    api = Api(agent.address)
    with task(scene, agent, "cmd", "--command=sleep 9999") as root:
        session = container_id(root, "s")
        script = "until [ -e go ]; do sleep 0.02; done; cat > got"
        stream = api.stream(
            "LAUNCH_NESTED_CONTAINER_SESSION", container_id=session, command=shell(script)
        )
        first = api.input(session)
        if much:
            first.flood()
        else:
            first.type(bytes(100_000))
        # as long as it is there the place is taken
        assert api.input(session).answer()[0] == 409
        first.close()
        second = api.input(session)
        second.type(b"second").type(b"").end()
        # a session works where its parent does
        folder = Path(agent.sandbox("cmd"))
        (folder / "go").touch()
        assert second.answer() == (200, "")
        stream.body()
        assert (folder / "got").read_bytes().endswith(b"second")
