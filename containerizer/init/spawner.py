# SPDX-License-Identifier: Apache-2.0
"""The resident process that forks the inits of containers, so that no interpreter is started.

One thread, no state, no secrets: a request is one datagram, its launch info a file that only the
child reads. The child answers for itself on the control socket of its launch. The kernel reaps
our children; the process ends when the agent's socket does, and containers go on running.

Started by ``launcher/spawn.py``. Protocol, one datagram each, JSON plus descriptors:

* spawner → agent, once: ``{}``, or ``{"error": text}`` before it exits
* agent → spawner: a ``SpawnRequest`` and [control, launch info, stdin, stdout, stderr]
* child → agent on control: ``{}`` and [pidfd], its pid in the credentials, or ``{"error": text}``
* agent → child on control: one byte, the release; end of file aborts

A helper program (``helper.py``) is asked for, answers and is released in the same way.

Source: spec ``containerizer`` 5.2, 6.4.
"""

from __future__ import annotations

import array
import contextlib
import gc
import json
import os
import pwd
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NoReturn

from containerizer.init import command, mounts, privileges, readonly
from containerizer.init.command import InitProgram, Program, load_program
from containerizer.init.failure import LaunchFailure, be_silent, failure, say
from containerizer.init.helper import MAX_HELPER_FDS, HelperRequest, become_helper
from containerizer.init.launch import InitTask, LaunchPlace, run_init
from containerizer.init.pid1 import Init, StatusFile
from containerizer.init.spec import LaunchSpec, MountStep
from containerizer.linux import cgroup1, cgroup2, fds, namespaces, signals
from containerizer.linux.cgroup1 import CgroupLayout
from containerizer.linux.mount import MS_BIND, MS_RDONLY, MS_REC
from containerizer.linux.namespaces import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER
from containerizer.linux.prctl import ProcessTitle, set_child_subreaper, set_dumpable, set_name
from containerizer.linux.process import fork

#: Longest request; the launch info is not part of it.
MAX_REQUEST = 64 * 1024
#: Number of descriptors of a request.
REQUEST_FDS = 5
#: Variable that makes room for long process titles behind the arguments.
TITLE_ROOM = "MESOS_CONTAINERIZER_TITLE_ROOM"
#: Launches tell nothing but failures.
QUIET = "--quiet"
#: What is forked ends with whoever asked for it.
MORTAL = "--mortal"
_FLAGS = ("--program=", "--helper=", "--rehearse=")
_INIT_TITLE = "mesos-containerizer launch"
_INIT_NAME = "mesos-containerizer"
_OWN_TITLE = "mesos-containerizer spawner"
_OWN_NAME = "mesos-spawner"
#: Often enough for the interpreter to have adapted its code, which children then share.
_WARM_UP_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """All about one init but its launch info and descriptors."""

    runtime_directory: str
    #: Version 1 cgroups to join before anything else.
    cgroups: tuple[str, ...] = ()
    clone_namespaces: int = 0
    enter_namespaces: int = 0
    #: Whose namespaces to enter. A nested container has one even if it enters none: its init
    #: becomes a child of the system, not of the spawner.
    enter_pid: int | None = None
    namespace_mnt_target: int | None = None
    #: Whether stdio is the terminal that the new session controls.
    terminal: bool = False
    #: Sandbox of the outermost container; nothing in it is trusted.
    sandbox: str | None = None
    #: Path of the program of ours that init runs itself instead of forking a command.
    program: str | None = None

    def encode(self) -> bytes:
        """Return the datagram."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> SpawnRequest:
        """Read a datagram. Raises ValueError, TypeError."""
        fields = json.loads(data)
        fields["cgroups"] = tuple(fields["cgroups"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class _Descriptors:
    """What came with a request."""

    control: int
    launch_info: int
    stdin: int
    stdout: int
    stderr: int


def main(arguments: Sequence[str]) -> int:
    """Serve requests from the socket on descriptor 0 until it is closed."""
    agent = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), 0)
    os.environ.pop(TITLE_ROOM, None)
    if QUIET in arguments:
        be_silent()
    mortal = MORTAL in arguments
    arguments = [argument for argument in arguments if argument not in (QUIET, MORTAL)]
    try:
        programs = _programs(arguments, "--program=")
        programs = {os.path.realpath(path): run for path, run in programs.items()}
        helpers = _programs(arguments, "--helper=")
        rehearsals = _programs(arguments, "--rehearse=").values()
    except LaunchFailure as error:
        agent.send(json.dumps({"error": str(error)}).encode())
        return 1
    _be_expendable()
    # Children start with all signals blocked and default actions: none is lost on the way.
    signals.reset()
    signals.block_all()
    if os.geteuid() == 0:
        # Children inherit it up to their exec: whoever lacks CAP_SYS_PTRACE cannot look into an
        # init in its container's pid namespace, not even before it has entered the root.
        set_dumpable(False)
    # Orphans of containers without a pid namespace come to us: pid 1 of a host that is a
    # container itself may reap nobody.
    set_child_subreaper(True)
    spawner = _Spawner(agent, programs, helpers, mortal)
    _warm_up()
    for rehearse in rehearsals:
        rehearse()
    readonly.end()
    gc.disable()
    gc.collect()
    gc.freeze()
    agent.send(b"{}")
    spawner.serve()
    spawner.end()
    return 0


def _be_expendable() -> None:
    """If memory runs out the agent may be spared; what it starts is not."""
    path = "/proc/self/oom_score_adj"
    with contextlib.suppress(OSError):
        with open(path, encoding="ascii") as file:
            protected = int(file.read()) < 0
        if protected:
            with open(path, "w", encoding="ascii") as file:
                file.write("0")


def _programs(arguments: Sequence[str], flag: str) -> dict[str, Callable[..., int]]:
    """Import the programs of ``--program=path=module:function`` or ``--helper=name=…``."""
    programs = {}
    for argument in arguments:
        path, _, reference = argument.partition("=")[2].rpartition("=")
        if not argument.startswith(_FLAGS) or not path:
            raise LaunchFailure(f"Unknown argument '{argument}'")
        if argument.startswith(flag):
            programs[path] = load_program(reference)
    return programs


def _warm_up() -> None:
    """Load what is loaded at first use only: name services, codecs."""
    with contextlib.suppress(KeyError):
        pwd.getpwnam("root")
    os.getgrouplist("root", 0)
    example = {
        "clone_namespaces": [CLONE_NEWNS],
        "command": {"arguments": ["true"], "shell": False, "value": "true"},
        "environment": {"variables": [{"name": "A", "type": "VALUE", "value": "b"}]},
        "mounts": [{"flags": 1, "source": "a", "target": "b", "type": "c"}],
        "user": "root",
        "working_directory": "/",
    }
    text = json.dumps(example)
    for _ in range(_WARM_UP_ROUNDS):
        spec = LaunchSpec.from_json(text)
        command.execution(spec)
    if readonly.is_apart():
        _rehearse_mounts(spec)


def _rehearse_mounts(spec: LaunchSpec) -> None:
    """Mount this and that in the namespace that is about to be left."""
    steps = (
        MountStep("/proc", "/proc", flags=MS_BIND | MS_REC),
        MountStep("/proc/sys", "/proc/sys", flags=MS_BIND | MS_RDONLY),
    )
    kept = os.dup(2)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        for _ in range(_WARM_UP_ROUNDS):
            mounts.perform(replace(spec, mounts=steps))
            privileges.gather(spec)
    except LaunchFailure as error:
        os.dup2(kept, 2)
        say(f"mesos-containerizer spawner: {error}")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class _Spawner:
    """The loop: requests in, forks out, the ended reaped."""

    def __init__(
        self,
        agent: socket.socket,
        programs: Mapping[str, InitProgram],
        helpers: Mapping[str, Program],
        mortal: bool,
    ) -> None:
        """With ``mortal`` what was forked ends with the agent."""
        self._agent = agent
        self._mortal: list[SpawnRequest] | None = [] if mortal else None
        self._programs = programs
        self._helpers = helpers
        self._title = ProcessTitle()
        self._title.set(_OWN_TITLE)
        set_name(_OWN_NAME)
        #: Shared with all children: whoever reads gets the signals of its own.
        self._signals = signals.open_signalfd()
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def serve(self) -> None:
        """Work until the agent's end of the socket is closed."""
        poll = select.poll()
        poll.register(self._agent, select.POLLIN)
        poll.register(self._signals, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self._signals in ready:
                self._reap()
            if self._agent.fileno() in ready and not self._serve_one():
                return

    def end(self) -> None:
        """Kill what has to end with the agent; nothing of it is left if the agent lived."""
        for request in self._mortal or ():
            for cgroup in request.cgroups:
                with contextlib.suppress(OSError):
                    _destroy(cgroup)
            with contextlib.suppress(OSError):
                for name in os.listdir(request.runtime_directory):
                    os.unlink(os.path.join(request.runtime_directory, name))
                os.rmdir(request.runtime_directory)

    def _reap(self) -> None:
        while signals.read_signalfd(self._signals) is not None:
            pass
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass

    def _serve_one(self) -> bool:
        received = _receive(self._agent)
        if received is None:
            return False
        data, descriptors = received
        try:
            helper = HelperRequest.decode(data)
            if helper is not None:
                self._start_helper(helper, descriptors)
                return True
            if len(descriptors) != REQUEST_FDS:
                raise ValueError(f"{len(descriptors)} descriptors")
            request = SpawnRequest.decode(data)
            if self._mortal is not None:
                self._mortal.append(request)
            self._spawn(request, _Descriptors(*descriptors))
        except (ValueError, TypeError, KeyError) as error:
            say(f"mesos-containerizer spawner: unusable request: {error}")
        finally:
            for fd in descriptors:
                os.close(fd)
        return True

    def _start_helper(self, request: HelperRequest, descriptors: Sequence[int]) -> None:
        program = self._helpers[request.name]
        try:
            if fork() == 0:
                self._be_helper(request, program, descriptors)
        except OSError as error:
            _report(descriptors[0], str(failure("Failed to clone child process", error)))

    def _be_helper(
        self, request: HelperRequest, program: Program, descriptors: Sequence[int]
    ) -> NoReturn:
        """Nothing here may return into the spawner."""
        try:
            become_helper(request, program, descriptors, _announce, self._title)
        except BaseException as error:
            _report(descriptors[0], f"Failed to start {request.name}: {error}")
        os._exit(1)

    def _spawn(self, request: SpawnRequest, descriptors: _Descriptors) -> None:
        """Fork the first process of a launch."""
        # A new pid namespace is for the children of whoever asks for it. Asking here and going
        # back saves an intermediate process; nested ones have one anyway.
        new_pids = request.clone_namespaces & CLONE_NEWPID and request.enter_pid is None
        failed = None
        # The child inherits its name: setting it there would cost it memory of its own.
        self._title.set(_INIT_TITLE)
        set_name(_INIT_NAME)
        try:
            if new_pids:
                namespaces.unshare(CLONE_NEWPID)
            if fork() == 0:
                self._child(request, descriptors)
        except OSError as error:
            failed = str(failure("Failed to clone child process", error))
        self._title.set(_OWN_TITLE)
        set_name(_OWN_NAME)
        if new_pids:
            namespaces.setns(self._own_pids, CLONE_NEWPID)
        if failed is not None:
            _report(descriptors.control, failed)

    def _child(self, request: SpawnRequest, descriptors: _Descriptors) -> NoReturn:
        """Become the init, or the ancestor of it; nothing here may return into the spawner."""
        try:
            for cgroup in request.cgroups:
                cgroup1.assign(cgroup, 0)
            if request.enter_pid is None:
                _unshare(request.clone_namespaces & ~CLONE_NEWPID)
            else:
                _enter(request.enter_pid, request.enter_namespaces)
                _clone(request.clone_namespaces)
            self._become_init(request, descriptors)
        except LaunchFailure as error:
            _report(descriptors.control, str(error))
        except OSError as error:
            subject = f" '{error.filename}'" if error.filename else ""
            text = f"Failed to prepare child process{subject}: {error.strerror}"
            _report(descriptors.control, text)
        except BaseException as error:
            _report(descriptors.control, f"Failed to prepare child process: {error!r}")
        os._exit(1)

    def _become_init(self, request: SpawnRequest, descriptors: _Descriptors) -> NoReturn:
        os.setsid()
        init = Init(StatusFile(request.runtime_directory), self._signals)
        os.dup2(descriptors.stdin, 0)
        os.dup2(descriptors.stdout, 1)
        os.dup2(descriptors.stderr, 2)
        fds.close_all_but({descriptors.control, descriptors.launch_info, *init.fds})
        _announce(descriptors.control)

        def read_spec() -> LaunchSpec:
            with open(descriptors.launch_info, "rb", buffering=0) as file:
                return LaunchSpec.from_json(file.readall())

        place = LaunchPlace(
            terminal=request.terminal,
            namespace_mnt_target=request.namespace_mnt_target,
            sandbox=request.sandbox,
        )
        program = None if request.program is None else self._programs[request.program]
        task = InitTask(read_spec, descriptors.control, place, program, self._title)
        run_init(init, task)


def _destroy(cgroup: str) -> None:
    """Kill all in a cgroup that inits join, and remove what is the container's of it."""
    if cgroup1.layout() is CgroupLayout.V2:
        steps = cgroup2.destroy(os.path.dirname(cgroup))
    else:
        steps = cgroup1.destroy(cgroup)
    for delay_s in steps:
        time.sleep(delay_s)


def _receive(agent: socket.socket) -> tuple[bytes, list[int]] | None:
    """Return the next request with its descriptors; ``None`` once the agent is gone."""
    passed = array.array("i")
    room = socket.CMSG_SPACE(max(REQUEST_FDS, MAX_HELPER_FDS) * passed.itemsize)
    try:
        data, ancillary, _, _ = agent.recvmsg(MAX_REQUEST, room, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            passed.frombytes(content[: len(content) - len(content) % passed.itemsize])
    return (data, list(passed)) if data or passed else None


def _enter(pid: int, flags: int) -> None:
    """Enter namespaces of the parent container and go on in a child that is in all of them."""
    if flags & CLONE_NEWUSER:
        raise LaunchFailure("User namespaces are not supported")
    try:
        opened = namespaces.open_namespaces(pid, flags & ~CLONE_NEWNS)
        for flag, fd in opened:
            namespaces.setns(fd, flag)
            os.close(fd)
    except OSError as error:
        raise failure(f"Failed to enter the namespaces of process {pid}", error) from error
    _go_on_in_child()


def _clone(flags: int) -> None:
    """Make namespaces from inside others; a pid namespace begins with a further child."""
    if flags:
        _unshare(flags)
    if flags & CLONE_NEWPID:
        _go_on_in_child()


def _go_on_in_child() -> None:
    if fork() != 0:
        os._exit(0)


def _unshare(flags: int) -> None:
    if not flags:
        return
    try:
        namespaces.unshare(flags)
    except OSError as error:
        raise failure("Failed to clone namespaces", error) from error


def _announce(control: int) -> None:
    """Tell the agent that we exist, by a descriptor that stands for this process for ever."""
    pidfd = os.pidfd_open(os.getpid())
    try:
        with socket.socket(fileno=os.dup(control)) as agent:
            socket.send_fds(agent, [b"{}"], [pidfd])
    except OSError:
        raise LaunchFailure("Failed to synchronize with agent (it's probably exited)") from None
    finally:
        os.close(pidfd)


def _report(control: int, text: str) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(control)) as agent:
        agent.send(json.dumps({"error": text}).encode())
