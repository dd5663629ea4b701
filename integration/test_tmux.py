# SPDX-License-Identifier: Apache-2.0
"""Containers used from a real terminal: of the engine without an agent, and of a running agent."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.images import BUSYBOX, write_docker
from integration.processes import environment, eventually
from integration.scene import Scene, bin_folder
from integration.test_nested import ISOLATION, task
from integration.tmux import PATIENCE_S, Terminal

pytestmark = pytest.mark.root

INSIDE = "in> "
_PASTE_BYTES = 1 << 20


class Box:
    """Somewhere to start a shell in a container: ``enter`` is the command line for it."""

    def __init__(self, kind: str, folder: Path, enter: str, variables: dict[str, str]) -> None:
        self.kind = kind
        self.folder = folder
        self.enter = enter
        self.variables = variables

    def command(self, inner: str) -> str:
        """Return a command line that runs something else than a shell."""
        return f"{self.enter} {inner}"


@pytest.fixture(scope="module", params=["run", "exec", "agent"])
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not os.path.exists(BUSYBOX):
        pytest.skip("needs busybox (Debian package busybox-static)")
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux (Debian package tmux)")
    folder = tmp_path_factory.mktemp(request.param)
    write_docker(str(folder / "registry"), "busybox:latest")
    variables = {
        "MESOS_COMPAT_ENGINE": str(folder / "engine"),
        "MESOS_COMPAT_REGISTRY": str(folder / "registry"),
        "PATH": f"{bin_folder()}:{os.environ['PATH']}",
    }
    options = f"-it -e PS1='{INSIDE}'"
    if request.param == "run":
        enter = f"mesos-compat run {options} --image busybox:latest --"
        yield Box("run", folder, enter, variables)
    elif request.param == "exec":
        compat(variables, "run", "-d", "--name=box", "--image=busybox:latest", "--", *FOREVER)
        yield Box("exec", folder, f"mesos-compat exec {options} box --", variables)
        compat(variables, "rm", "-f", "box")
    else:
        scene = Scene(os.path.realpath(folder))
        agent = scene.agent(
            scene.master(),
            isolation=ISOLATION,
            image_providers="docker",
            docker_registry=str(folder / "registry"),
            authenticate_http_readwrite=False,
        )
        with task(scene, agent, "box", "--command=sleep 9999", "--docker_image=busybox:latest"):
            variables["MESOS_COMPAT_AGENT"] = agent.address
            yield Box("agent", folder, f"mesos-compat exec {options} box --", variables)
        left = scene.close()
        assert not left


FOREVER = ("sh", "-c", "while :; do sleep 1000; done")


def compat(variables: dict[str, str], *arguments: str) -> str:
    """Run one of our commands to its good end."""
    program = os.path.join(bin_folder(), "mesos-compat")
    done = subprocess.run(
        (program, *arguments),
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def terminal(box: Box) -> Iterator[Terminal]:
    made = Terminal(box.variables)
    try:
        yield made
    finally:
        made.close()


def settings(terminal: Terminal) -> list[str]:
    """Return how the user's terminal is set."""
    return terminal.run("stty -g | cksum")


def enter(terminal: Terminal, box: Box) -> None:
    """Start a shell in the container and wait for its prompt."""
    terminal.type(box.command("sh"))
    terminal.until_prompt(INSIDE)


def test_a_shell(terminal: Terminal, box: Box) -> None:
    """Sizes, the keys of a terminal, the end by Ctrl-D, and the exit code."""
    before = settings(terminal)
    enter(terminal, box)
    assert terminal.run("stty size", INSIDE) == ["30 100"]
    # A program that waits learns of a new size, and has it.
    terminal.clear(INSIDE)
    terminal.type("trap 'echo resized to $(stty size)' WINCH; echo now$((1)); read x")
    terminal.until("now1")
    terminal.resize(77, 22)
    terminal.until("resized to 22 77")
    terminal.press("C-c")
    terminal.until_prompt(INSIDE)
    terminal.clear(INSIDE)
    terminal.type("sh -c 'echo now$((1)); exec sleep 1000'")
    terminal.until("now1")
    terminal.press("C-z")
    terminal.until("Stopped")
    terminal.until_prompt(INSIDE)
    terminal.type("fg")
    terminal.until("fg\nsh -c")
    terminal.press("C-c")
    terminal.until_prompt(INSIDE)
    assert terminal.run("echo $?", INSIDE) == ["130"]
    assert terminal.run("(exit 42)", INSIDE) == []
    terminal.press("C-d")
    terminal.until_prompt()
    assert terminal.run("echo $?") == ["42"]
    assert settings(terminal) == before


def test_exit_codes(terminal: Terminal, box: Box) -> None:
    before = settings(terminal)
    for inner, code in (
        ("true", 0),
        ("sh -c 'exit 3'", 3),
        ("sh -c 'kill -TERM $$'", 128 + signal.SIGTERM),
        ("sh -c 'kill -SEGV $$'", 128 + signal.SIGSEGV),
        ("sh -c 'kill -KILL $$'", 128 + signal.SIGKILL),
    ):
        shown = terminal.run(f"{box.command(inner)}; echo $?")
        assert shown[-1] == str(code), (inner, shown)
    if box.kind == "agent":
        inner = "run --image busybox:latest -e A=b -- sh -c 'echo $A; exit 5'"
        # What init tells is part of an agent's stderr.
        shown = terminal.run(f"mesos-compat {inner}; echo $?")
        assert (shown[-1], "b" in shown) == ("5", True)
    assert settings(terminal) == before


def test_programs_with_a_screen_of_their_own(terminal: Terminal, box: Box) -> None:
    enter(terminal, box)
    terminal.clear(INSIDE)
    terminal.type("vi /tmp/poem")
    terminal.until("/tmp/poem")
    terminal.press("i")
    terminal.type("roses are red")
    terminal.type("violets are blue")
    terminal.until("violets are blue")
    terminal.press("Escape")
    # Whoever types on at once presses Alt as far as vi can tell.
    time.sleep(0.3)
    terminal.type(":wq")
    terminal.until_prompt(INSIDE)
    poem = ["roses are red", "violets are blue", ""]
    assert terminal.run("cat /tmp/poem", INSIDE) == poem
    terminal.run("rm /tmp/poem", INSIDE)
    terminal.type("top -d 1")
    terminal.until("Load average")
    terminal.until("top -d 1")
    terminal.press("q")
    terminal.until_prompt(INSIDE)
    terminal.press("C-d")
    terminal.until_prompt()


def test_a_large_paste_arrives_whole(terminal: Terminal, box: Box) -> None:
    data = os.urandom(_PASTE_BYTES)
    enter(terminal, box)
    terminal.clear(INSIDE)
    terminal.type(
        f"stty raw -echo; echo now$((1)); head -c {len(data)} | sha256sum; stty sane; echo do''ne"
    )
    terminal.until("now1")
    terminal.paste(data)
    shown = terminal.until("done", 60)
    assert hashlib.sha256(data).hexdigest() in shown
    terminal.press("C-d")
    terminal.until_prompt()


def test_a_flood_of_output_can_be_stopped(terminal: Terminal, box: Box) -> None:
    enter(terminal, box)
    terminal.type("yes flood")
    terminal.until("flood\nflood\nflood")
    time.sleep(1)
    terminal.press("C-c")
    terminal.until_prompt(INSIDE)
    assert terminal.run("echo $?", INSIDE) == ["130"]
    terminal.press("C-d")
    terminal.until_prompt()


def test_a_client_that_is_killed(terminal: Terminal, box: Box) -> None:
    """The user's shell sets the terminal back; what ran in the session is gone."""
    before = settings(terminal)
    enter(terminal, box)
    marks = [f"{os.getpid()}{number}" for number in range(2)]
    terminal.type(f"(trap '' HUP; exec sleep {marks[0]}) & sleep {marks[1]}")
    eventually(lambda: all(map(sleepers, marks)), PATIENCE_S, "what runs in the session")
    (client,) = terminal.children()
    os.kill(client, signal.SIGKILL)
    terminal.until_prompt()
    assert settings(terminal) == before
    eventually(lambda: not any(map(sleepers, marks)), PATIENCE_S, "the end of the session")
    shown = terminal.run(f"{box.command('echo again')}; echo $?")
    assert shown == ["again", "0"]


def sleepers(seconds: str) -> list[int]:
    """Return the processes of this host that sleep for so long."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", seconds.encode()]:
            found.append(int(name))
    return found
