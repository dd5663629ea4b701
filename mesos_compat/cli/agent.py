# SPDX-License-Identifier: Apache-2.0
"""mesos-agent (and mesos-slave): flags → parts → run. The composition root: it alone sees all.

Source: spec ``state-and-recovery`` 1.7, 13.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from containerizer.isolators.filesystem_linux import unshare_directory
from containerizer.provisioner.progress import PullTable
from containerizer.secrets import create_secret_resolver
from containerizer.volume_gids import VolumeGids
from mesos_compat.agent import gauges
from mesos_compat.agent import recover as recovery
from mesos_compat.agent.assembly import Parts, assemble
from mesos_compat.agent.authenticatee import authentication_config
from mesos_compat.agent.credentials import load_key
from mesos_compat.agent.domain_socket import DomainSocket, domain_socket
from mesos_compat.agent.flags import AgentFlags, listen_options, parse_agent_flags, usage
from mesos_compat.agent.gc import DiskWatch, GarbageCollector
from mesos_compat.agent.hooks import create_hooks
from mesos_compat.agent.image_gc import watch_images
from mesos_compat.agent.loop import AgentLoop
from mesos_compat.agent.machine import events
from mesos_compat.agent.machine.state import AgentState
from mesos_compat.agent.machine.tokens import ExecutorTokens
from mesos_compat.agent.modules import module_parameters
from mesos_compat.agent.oversubscription import (
    Oversubscription,
    load_controller,
    load_estimator,
)
from mesos_compat.agent.recover import Recovery, RecoveryError
from mesos_compat.agent.runner import Runner, no_volume
from mesos_compat.agent.service import ServiceManager
from mesos_compat.agent.settings import MESOS_VERSION, agent_config, from_json
from mesos_compat.agent.workdir import DirectoryLock, publish
from mesos_compat.authorization.gate import open_gate
from mesos_compat.base import log as glog
from mesos_compat.base.beneath import RemovalStopped
from mesos_compat.base.clock import Clock, RealClock
from mesos_compat.base.errors import CheckpointError, FlagError, InvariantError, MesosCompatError
from mesos_compat.base.garbage import spare_collector
from mesos_compat.base.log import Logging
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.plugins import Parameters
from mesos_compat.base.procs import raise_open_files
from mesos_compat.base.scope import Scope
from mesos_compat.base.tls import Tls
from mesos_compat.cli.agent_containers import (
    Doors,
    image_gc_config,
    image_watch,
    make_spawner,
    open_containerizer,
    volume_gids,
)
from mesos_compat.http.app import create_app
from mesos_compat.http.domain_socket import only_for_executors
from mesos_compat.http.realms import realms
from mesos_compat.libprocess.address import Bound, bind
from mesos_compat.libprocess.server import Handler, Server
from mesos_compat.master.detected import Detector
from mesos_compat.master.detector import detect, load_detector
from mesos_compat.pb.mesos.internal.messages.flags_pb2 import Firewall
from mesos_compat.v1.executor_api import ExecutorStreams

log = logging.getLogger(__name__)

#: End of the program by these is left to their default action, after things are put in order.
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
#: Seconds that messages already sent get to leave the process at its end.
_FLUSH_S = 2.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How the agent ended: with an error for the operator, by a signal, or well."""

    error: str = ""
    signal: int | None = None


def main() -> int:
    """Run the program; return its exit status."""
    try:
        flags = parse_agent_flags(sys.argv[1:], os.environ)
    except FlagError as error:
        notes = getattr(error, "__notes__", [])
        help_at = f"\nSee `{os.path.basename(sys.argv[0])} --help`"
        print(error, *notes, help_at, sep="\n", file=sys.stderr)
        return 1
    if flags.help:
        print(usage(os.environ), end="")
        return 0
    if flags.version:
        print(f"mesos {MESOS_VERSION}")
        return 0
    os.environ.update(flags.variables)
    try:
        logs = glog.start(
            "mesos-agent",
            level=flags.logging_level,
            log_dir=flags.log_dir,
            quiet=flags.quiet,
        )
    except FlagError as error:
        print(error, file=sys.stderr)
        return 1
    for warning in flags.warnings:
        log.warning("%s", warning)
    for name, origin in sorted(flags.origins.items()):
        log.info("Flag --%s is set in %s", name, origin)
    manager = ServiceManager.take(os.environ)
    open_files = raise_open_files()
    try:
        ending = asyncio.run(_run(flags, logs, open_files, manager))
    except MesosCompatError as error:
        ending = Ending(str(error))
    if ending.error:
        for line in f"EXIT with status 1: {ending.error}".splitlines():
            log.error("%s", line)
    logs.stop()
    if ending.error and flags.quiet:
        print(ending.error, file=sys.stderr)
    if ending.signal is not None:
        signal.signal(ending.signal, signal.SIG_DFL)
        os.kill(os.getpid(), ending.signal)
    return 1 if ending.error else 0


async def _run(
    flags: AgentFlags, logs: Logging, open_files: tuple[int, int], manager: ServiceManager
) -> Ending:
    """Put the parts together, run until something ends it, and take them apart again.

    ``open_files`` are the limits that containers start with.
    """
    ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(partial(_broken, ended))
    tls = Tls.of(os.environ)
    bound = bind(listen_options(flags, os.environ))
    async with AsyncExitStack() as stack:
        try:
            work_dir, runtime_dir = _lock_directories(flags, stack)
            agent = await _Agent.create(
                flags, logs, bound, tls, work_dir, runtime_dir, open_files, stack, ended
            )
        except BaseException:
            bound.socket.close()
            raise
        spare_collector()
        _install_signals(agent.loop, ended, flags.drain_on_sigterm)
        if manager.interested:
            agent.scope.spawn(manager.follow(agent.loop.state, RealClock()), "tell systemd")
        try:
            await agent.start()
            return await ended
        finally:
            manager.stopping()


def _broken(
    ended: asyncio.Future[Ending], loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """Take what nobody caught: our bug ends the agent with its story, anything else is told."""
    error = context.get("exception")
    if not isinstance(error, InvariantError):
        loop.default_exception_handler(context)
        return
    log.critical("%s: %s", context.get("message"), error)
    if not ended.done():
        ended.set_exception(error)


def _lock_directories(flags: AgentFlags, stack: AsyncExitStack) -> tuple[str, str]:
    """Make work and runtime directory ours alone; return their real paths."""
    if "filesystem/linux" in flags.isolation and flags.launcher == "linux":
        # The mount that a killed agent left is in use until our own lock is let go of.
        stack.callback(unshare_directory, flags.work_dir)
    for name, path in (("work_dir", flags.work_dir), ("runtime_dir", flags.runtime_dir)):
        stack.callback(DirectoryLock(name, path).release)
    return os.path.realpath(flags.work_dir), os.path.realpath(flags.runtime_dir)


class _Agent:
    """All parts of one agent, joined."""

    def __init__(
        self,
        loop: AgentLoop,
        serve: Callable[[], Awaitable[None]],
        runner: Runner,
        publish_address: Callable[[], None],
        recover: Callable[[], Recovery],
        scope: Scope,
        begin_asking: Callable[[], None],
        gids: VolumeGids | None,
    ) -> None:
        self.loop = loop
        self._gids = gids
        self._begin_asking = begin_asking
        self.scope = scope
        self._recover = recover
        self._publish_address = publish_address
        self._serve = serve
        self._runner = runner

    @classmethod
    async def create(
        cls,
        flags: AgentFlags,
        logs: Logging,
        bound: Bound,
        tls: Tls | None,
        work_dir: str,
        runtime_dir: str,
        open_files: tuple[int, int],
        stack: AsyncExitStack,
        ended: asyncio.Future[Ending],
    ) -> _Agent:
        """Make the parts in upstream's order of refusals; what has to be closed is in ``stack``,
        in the order in which it has to be closed. Raises FlagError.
        """
        clock, metrics = RealClock(), Metrics()
        parameters = module_parameters(flags.modules, flags.modules_dir)
        hooks = create_hooks(flags.hooks or "", parameters)
        files = _log_files(flags, logs)
        scope = Scope("agent")
        gc = GarbageCollector(
            scope, clock, flags.gc_delay, metrics, lambda path: _detach(files, path)
        )
        doors = Doors(
            parameters,
            hooks,
            create_secret_resolver(flags.secret_resolver, parameters),
            gc if flags.gc_non_executor_container_sandboxes else None,
            PullTable(),
            volume_gids(flags, work_dir, metrics),
        )
        spawner = make_spawner(open_files, tls is not None)
        containerizer = await open_containerizer(
            flags, work_dir, runtime_dir, spawner, metrics, doors, stack
        )
        detector = _detector(flags, parameters, scope, clock)
        gate = open_gate(flags.authorizer, flags.acls, parameters, scope)
        begin_asking = _oversubscription(flags, parameters)
        unix = domain_socket(flags, runtime_dir, os.environ)
        if unix is not None:
            stack.callback(unix.socket.close)
        key = load_key(flags.jwt_secret_key)
        known = realms(flags, key, parameters, clock.time)
        config = replace(
            agent_config(flags, bound.address, work_dir, os.environ),
            authentication=authentication_config(flags, parameters),
            domain_socket=None if unix is None else unix.path,
            authorizes_tasks=gate is not None,
            executor_tokens=None if key is None else ExecutorTokens(key),
            tls=tls is not None,
        )
        if hooks:
            config = replace(config, info=hooks.agent_info(config.info), decorators=hooks)
        state = AgentState(config, os.urandom(16), clock.time())
        gauges.register(metrics, state, clock, flags.values["fetcher_cache_size"])

        def exit_with(error: str) -> None:
            if not ended.done():
                ended.set_result(Ending(error))

        def failed(error: InvariantError) -> None:
            if not ended.done():
                ended.set_exception(error)

        _end_on_broken_invariants(failed)
        executors = ExecutorStreams(clock)
        gc.watch(DiskWatch(work_dir, flags.gc_disk_headroom, flags.disk_watch_interval), metrics)
        images = image_gc_config(flags)
        mesos = "mesos" in flags.containerizers.split(",")
        if images is not None and flags.image_providers and mesos:
            watch_images(scope, clock, image_watch(flags, images), containerizer)
        made = assemble(
            Parts(
                state=state,
                containerizer=containerizer,
                executors=executors,
                detector=detector,
                gc=gc,
                files=files,
                flags=flags.display,
                metrics=metrics,
                scope=scope,
                clock=clock,
                exit=exit_with,
                failed=failed,
                removed=hooks.remove_executor,
                gate=gate,
                volume_removed=no_volume if doors.gids is None else doors.gids.deallocate,
                tls=tls,
            )
        )
        loop, links, runner = made.loop, made.links, made.runner
        asking = Oversubscription(state, containerizer, scope, clock, loop.submit)
        app = create_app(
            loop,
            executors,
            scope,
            logs=logs,
            clock=clock,
            pulls=doors.pulls.documents,
            realms=known,
            disabled=_disabled(flags),
            gate=gate,
        )
        server = Server(bound, made.inbox, app, tls=tls)
        serve = partial(_serve, server, unix, app)
        stack.push_async_callback(scope.close)
        stack.push_async_callback(links.close, _FLUSH_S)
        stack.push_async_callback(server.close, 0.5)
        stack.callback(executors.close_all)
        stack.callback(runner.close)
        stack.callback(loop.stop)
        recover = partial(
            recovery.read,
            work_dir,
            config.info,
            policy=flags.reconfiguration_policy,
            strict=flags.strict,
            stop=ended.done,
        )
        begin = partial(begin_asking, asking)
        only_tls = tls is not None and not tls.options.support_downgrade
        tell = partial(publish, runtime_dir, str(bound.address), only_tls=only_tls)
        return cls(loop, serve, runner, tell, recover, scope, begin, doors.gids)

    async def start(self) -> None:
        """Listen, take over what an earlier process left, and begin. Raises RecoveryError."""
        state = self.loop.state
        await self._serve()
        self._publish_address()
        log.info("Agent started on %s", state.config.pid)
        log.info("Agent work directory: %s", state.config.work_dir)
        log.info("Agent hostname: %s", state.config.info.hostname)
        self.loop.start(self._runner.run)
        try:
            found = await asyncio.to_thread(self._recover)
        except RemovalStopped:
            return  # we are to end; the next process goes on with it
        if self._gids is not None:
            try:
                await self._gids.recover(rebooted=found.found.rebooted, volumes=found.volumes)
            except CheckpointError as error:
                raise RecoveryError(f"Failed to perform recovery: {error}") from error
        await self.loop.containerizer.recover(found.containers)
        self.loop.submit(
            events.Recovered(
                found.found, found.agent_ids, found.boot_id, found.changed, found.strays
            )
        )
        self._begin_asking()


async def _serve(server: Server, unix: DomainSocket | None, app: Handler) -> None:
    """Answer on all sockets from now on."""
    await server.start()
    if unix is not None:
        await server.start_unix(unix.socket, only_for_executors(app))
        log.info("Executors reach the agent by '%s'", unix.path)


def _oversubscription(
    flags: AgentFlags, parameters: Mapping[str, Parameters]
) -> Callable[[Oversubscription], None]:
    """Load the plug-ins; return what begins to ask them. Raises FlagError."""
    estimator = controller = None
    if flags.resource_estimator is not None:
        estimator = load_estimator(flags.resource_estimator, parameters)
    if flags.qos_controller is not None:
        controller = load_controller(flags.qos_controller, parameters)

    def begin(oversubscription: Oversubscription) -> None:
        if estimator is not None:
            oversubscription.watch_estimator(estimator, flags.oversubscribed_resources_interval)
        if controller is not None:
            oversubscription.watch_controller(controller, flags.qos_correction_interval_min)

    return begin


def _detector(
    flags: AgentFlags, parameters: Mapping[str, Parameters], scope: Scope, clock: Clock
) -> Detector:
    if flags.master_detector is not None:
        return load_detector(flags.master_detector, parameters)
    return detect(flags.master_location, scope, clock, flags.zk_session_timeout)


def _install_signals(loop: AgentLoop, ended: asyncio.Future[Ending], drain_s: float | None) -> None:
    """End, go on or leave by signals; SIGTERM drains first if ``drain_s`` is given, but once."""
    running = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        log.warning(
            "Received %s, ending; containers of checkpointing frameworks go on", number.name
        )
        if not ended.done():
            ended.set_result(Ending(signal=number))

    for number in _ENDING:
        running.add_signal_handler(number, end, number)
    if drain_s is not None:
        grace_s = drain_s

        def drain() -> None:
            log.warning("Received SIGTERM, draining; the next one ends the agent at once")
            running.add_signal_handler(signal.SIGTERM, end, signal.SIGTERM)
            loop.submit(events.LeaveRequested(grace_s))

        running.add_signal_handler(signal.SIGTERM, drain)
    user = _user()
    running.add_signal_handler(
        signal.SIGUSR1, lambda: loop.submit(events.UnregisterRequested(user))
    )


def _end_on_broken_invariants(failed: Callable[[InvariantError], None]) -> None:
    """Tasks hand our own bugs to the event loop: they end the program."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        loop.default_exception_handler(context)
        if isinstance(error, InvariantError):
            failed(error)

    asyncio.get_running_loop().set_exception_handler(handle)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _disabled(flags: AgentFlags) -> Iterable[str]:
    """The endpoints that are switched off."""
    rules = from_json("firewall_rules", flags.firewall_rules, Firewall)
    return () if rules is None else rules.disabled_endpoints.paths


def _log_files(flags: AgentFlags, logs: Logging) -> dict[str, str]:
    """The virtual path of the agent's own log, if it has a file."""
    path = flags.external_log_file or logs.files.get(flags.logging_level)
    return {} if path is None else {"/slave/log": os.path.abspath(path)}


def _detach(files: dict[str, str], removed: str) -> None:
    """Forget virtual paths of what was removed."""
    below = removed + "/"
    for virtual, real in list(files.items()):
        if real == removed or real.startswith(below):
            del files[virtual]


if __name__ == "__main__":
    sys.exit(main())
