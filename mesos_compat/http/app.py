# SPDX-License-Identifier: Apache-2.0
"""Everything that the agent answers over HTTP: routes, order of checks, one place for errors.

The composition root gives the handler made here to the libprocess server, which keeps actor
messages for itself.

Source: spec ``operator-api`` 1, 2, 5, 7 and 8.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiohttp import web

import mesos_compat
from mesos_compat.agent.machine.state import AgentPhase
from mesos_compat.agent.port import AgentPort
from mesos_compat.authorization.api import Action, AuthorizationObject
from mesos_compat.authorization.gate import Gate
from mesos_compat.base.clock import Clock, RealClock
from mesos_compat.base.errors import ApiError, InvariantError
from mesos_compat.base.log import Complaints, Logging
from mesos_compat.base.scope import Scope
from mesos_compat.http import files, introspection, monitor, reply
from mesos_compat.http.access import Access
from mesos_compat.http.authentication import EXECUTOR, READ_ONLY, READ_WRITE, Realms
from mesos_compat.http.firewall import Firewall
from mesos_compat.http.principal import Principal, principal_of
from mesos_compat.http.reply import PlainStream, Reply
from mesos_compat.http.routes import Router, parse_target
from mesos_compat.http.state_cache import StateCache
from mesos_compat.http.state_view import Build
from mesos_compat.http.task_volumes import with_task_volumes
from mesos_compat.http.verbosity import Verbosity
from mesos_compat.model.jsonpb import JsonValue
from mesos_compat.v1.agent_calls import AgentCalls
from mesos_compat.v1.executor_api import ExecutorApi, ExecutorStreams

log = logging.getLogger(__name__)

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: Seconds between two answers of ``/monitor/statistics``.
STATISTICS_INTERVAL_S: Final = 0.5
#: Lines about requests in ten seconds; the others are counted.
_ACCESSES: Final = 200
#: What is filtered in ``/state``.
_IN_STATE: Final = (
    Action.VIEW_FRAMEWORK,
    Action.VIEW_EXECUTOR,
    Action.VIEW_TASK,
    Action.VIEW_FLAGS,
    Action.VIEW_ROLE,
)
#: Bytes of a download that are read at once.
_DOWNLOAD_PIECE_BYTES: Final = 256 * 1024
#: Seconds that a client may take to read one such piece.
_DOWNLOAD_TIMEOUT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Routed:
    """A request that found its route."""

    raw: web.BaseRequest
    #: With the actor in front.
    path: str
    query: Mapping[str, str]
    #: Whoever sends it, as far as authentication found out.
    principal: Principal | None


@dataclass(frozen=True, slots=True)
class _Route:
    """What serves a path, and who may ask."""

    serve: Callable[[Routed], Awaitable[Reply | web.StreamResponse]]
    #: ``None``: anybody may, without authentication.
    realm: str | None
    #: As GET_ENDPOINT_WITH_PATH knows it; ``None`` if that is not about it.
    endpoint: str | None = None
    #: Whether other methods than GET are refused as soon as there is an authorizer.
    only_get: bool = False


def create_app(
    port: AgentPort,
    executor_streams: ExecutorStreams,
    scope: Scope,
    *,
    logs: Logging | None = None,
    clock: Clock | None = None,
    pulls: Callable[[], list[JsonValue]] = list,
    realms: Realms | None = None,
    gate: Gate | None = None,
    disabled: Iterable[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> Handler:
    """Make the agent's HTTP handler, which does in ``scope`` what no request waits for.

    ``logs`` is the program's running logging, ``pulls`` tells how far images are. Without
    ``realms`` nobody is authenticated, without ``gate`` everything is allowed. ``disabled`` are
    paths that are switched off. The server has to cancel handlers whose client is gone.

    The machine's own metrics (``system/…``) are registered with those of the port.

    Raises FlagError if a variable of ``environ`` is unusable.
    """
    clock = clock if clock is not None else RealClock()
    verbosity = Verbosity(logs if logs is not None else Logging("INFO", 0, {}), clock)
    interval_s = introspection.metrics_interval_s(environ)
    introspection.register_metrics(port.metrics)
    known = realms if realms is not None else Realms({})
    access = Access(gate)
    return App(
        port, executor_streams, scope, verbosity, clock, interval_s, pulls, known, access, disabled
    ).handle


def build_of(version: str) -> Build:
    """Say what was built when: for a Python program, when its package was installed."""
    installed = int(os.stat(mesos_compat.__file__).st_mtime)
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(installed))
    return Build(version, date, float(installed), "")


class App:
    """The endpoints, by route."""

    def __init__(
        self,
        port: AgentPort,
        streams: ExecutorStreams,
        scope: Scope,
        verbosity: Verbosity,
        clock: Clock,
        metrics_interval_s: float,
        pulls: Callable[[], list[JsonValue]],
        realms: Realms,
        access: Access,
        disabled: Iterable[str],
    ) -> None:
        self._port = port
        self._access = access
        self._realms = realms
        self._pulls = pulls
        self._verbosity = verbosity
        self._build = build_of(port.state.config.version)
        self._calls = AgentCalls(port, self._build, verbosity, scope, access)
        self._executors = ExecutorApi(port, streams)
        self._statistics_pace = monitor.Pace(STATISTICS_INTERVAL_S, clock)
        self._metrics_pace = monitor.Pace(metrics_interval_s, clock)
        self._documents = StateCache()
        self._accesses = Complaints(log, burst=_ACCESSES, now=clock.now)
        self._routes = self._table()
        self._router = Router(self._routes, open_roots=("/help",))
        self._firewall = Firewall(disabled, self._router)

    def _table(self) -> dict[str, _Route]:
        agent = "/slave(1)"
        routes: dict[str, _Route] = {
            f"{agent}/api/v1": _Route(self._api, READ_WRITE),
            f"{agent}/api/v1/executor": _Route(self._executor, EXECUTOR),
            f"{agent}/state": _Route(self._state, READ_ONLY),
            f"{agent}/flags": _Route(self._flags, READ_ONLY, only_get=True),
            f"{agent}/health": _Route(self._health, None),
            f"{agent}/monitor/statistics": _Route(
                self._statistics, READ_ONLY, "/monitor/statistics", only_get=True
            ),
            f"{agent}/containers": _Route(
                self._containers, READ_ONLY, "/containers", only_get=True
            ),
            f"{agent}/containerizer/debug": _Route(
                self._containerizer_debug, READ_ONLY, "/containerizer/debug", only_get=True
            ),
            "/files/browse": _Route(self._browse, READ_ONLY),
            "/files/read": _Route(self._read, READ_ONLY),
            "/files/download": _Route(self._download, READ_ONLY),
            "/files/debug": _Route(self._files_debug, READ_ONLY, "/files/debug", only_get=True),
            "/metrics/snapshot": _Route(self._snapshot, READ_ONLY, "/metrics/snapshot"),
            "/logging/toggle": _Route(self._toggle, READ_WRITE, "/logging/toggle"),
            "/profiler/start": _Route(self._profiler, READ_WRITE),
            "/profiler/stop": _Route(self._profiler, READ_WRITE),
            "/system/stats.json": _Route(self._system, None),
            "/version": _Route(self._version, None),
            "/help": _Route(self._help, None),
            "/__processes__": _Route(self._processes, None),
        }
        # names before 0.25 that scripts still use
        for path in ("state", "monitor/statistics"):
            routes[f"{agent}/{path}.json"] = routes[f"{agent}/{path}"]
        for name in ("browse", "read", "download", "debug"):
            routes[f"/files/{name}.json"] = routes[f"/files/{name}"]
        return routes

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, whatever it is."""
        try:
            answer = await self._answer(request)
        except ApiError as error:
            answer = reply.failure(error)
        except (ConnectionError, InvariantError):
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, request.raw_path)
            if request.writer.output_size > 0:
                # the client would take a second answer for a part of the first
                raise ConnectionAbortedError(str(error)) from error
            answer = reply.text(str(error), 500)
        if isinstance(answer, web.StreamResponse):
            return answer
        return await reply.response(answer, request)

    async def _answer(self, raw: web.BaseRequest) -> Reply | web.StreamResponse:
        target = parse_target(raw.raw_path)
        if "/.." in target.path:
            return reply.error(404)
        path = self._router.full_path(target.path)
        route = self._router.find(path)
        self._firewall.check(path, route)
        if route is None:
            return reply.error(404)
        if _is_logged(path) and self._accesses.admit():
            _log_access(raw, path)
        found = self._routes[route]
        if found.realm is not None:
            refused = await self._realms.refusal(found.realm, raw)
            if refused is not None:
                return refused
        request = Routed(raw, path, target.query, principal_of(raw))
        if self._access.limited and found.only_get and raw.method != "GET":
            return reply.method_not_allowed(raw.method, ["GET"])
        if found.endpoint is not None:
            what = AuthorizationObject(value=found.endpoint)
            await self._access.require(request.principal, Action.GET_ENDPOINT_WITH_PATH, what)
        return await found.serve(request)

    # The agent.

    async def _api(self, request: Routed) -> Reply | web.StreamResponse:
        return await self._calls.handle(request.raw)

    async def _executor(self, request: Routed) -> Reply | web.StreamResponse:
        return await self._executors.handle(request.raw)

    async def _state(self, request: Routed) -> Reply:
        if self._port.state.phase is AgentPhase.RECOVERING:
            raise ApiError(503, "Agent has not finished recovery")
        view = await self._access.view(request.principal, _IN_STATE)
        document = self._documents.render(self._port.state, self._build, self._port.flags, view)
        return reply.encoded(document, request.query)

    async def _flags(self, request: Routed) -> Reply:
        await self._access.require(request.principal, Action.VIEW_FLAGS)
        return reply.json({"flags": dict(self._port.flags)}, request.query, sort_keys=True)

    async def _health(self, _: Routed) -> Reply:
        return Reply()

    async def _statistics(self, request: Routed) -> Reply:
        await self._statistics_pace.turn()
        subjects = monitor.executor_containers(self._port.state)
        found = await monitor.statistics(self._port.containerizer, subjects)
        return reply.json(list(found), request.query, sort_keys=True)

    async def _containers(self, request: Routed) -> Reply:
        view = await self._access.view(request.principal, [Action.VIEW_CONTAINER])
        shown = monitor.executor_containers(self._port.state, view)
        subjects = monitor.chosen(shown, request.query)
        found = await monitor.observe(self._port.containerizer, subjects)
        made: list[JsonValue] = [monitor.container_value(observed) for observed in found]
        return reply.json(made, request.query, sort_keys=True)

    async def _containerizer_debug(self, request: Routed) -> Reply:
        pending: list[JsonValue] = [
            {
                "args": {} if container_id is None else {"containerId": str(container_id)},
                "operation": operation,
            }
            for operation, container_id in self._port.containerizer.pending()
        ]
        value: dict[str, JsonValue] = {"pending": pending}
        pulls = self._pulls()
        if pulls:
            value["image_pulls"] = pulls
        return reply.json(value, request.query)

    # Files.

    async def _browse(self, request: Routed) -> Reply:
        path = files.wanted_path(request.query)
        attached = await self._attached(request, path)
        return await asyncio.to_thread(_browsed, attached, path, request.query)

    async def _read(self, request: Routed) -> Reply:
        path = files.wanted_path(request.query)
        offset = files.wanted_number(request.query, "offset")
        length = files.wanted_number(request.query, "length")
        attached = await self._attached(request, path)
        piece = await asyncio.to_thread(files.read, attached, path, offset, length)
        return reply.json(files.read_value(piece, offset), request.query)

    async def _download(self, request: Routed) -> web.StreamResponse:
        path = files.wanted_path(request.query)
        try:
            attached = await self._attached(request, path)
            found = await asyncio.to_thread(files.download, attached, path)
        except ApiError as error:
            raise ApiError(error.status, error.body or reply.default_body(error.status)) from None
        try:
            return await _send_file(request.raw, found)
        finally:
            os.close(found.fd)

    async def _attached(self, request: Routed, path: str) -> Mapping[str, str]:
        """Return what ``path`` may lead to, if the client may read it."""
        port = self._port
        await self._access.require_file(request.principal, port.state, port.files, path)
        return with_task_volumes(port.state, port.files, path)

    async def _files_debug(self, request: Routed) -> Reply:
        return reply.json(dict(self._port.files), request.query, sort_keys=True)

    # The program and its machine.

    async def _snapshot(self, request: Routed) -> Reply:
        introspection.check_timeout(request.query)
        await self._metrics_pace.turn()
        return reply.json(dict(self._port.metrics.snapshot()), request.query)

    async def _toggle(self, request: Routed) -> Reply:
        return introspection.toggle(request.query, self._verbosity)

    async def _profiler(self, _: Routed) -> Reply:
        return reply.text(introspection.PERFTOOLS_DISABLED, 400)

    async def _system(self, request: Routed) -> Reply:
        return reply.json(introspection.system(), request.query, sort_keys=True)

    async def _version(self, request: Routed) -> Reply:
        return reply.json(self._build.value(), request.query, sort_keys=True)

    async def _help(self, request: Routed) -> Reply:
        agent = request.raw.headers.get("User-Agent", "")
        return introspection.help_page(request.path, request.query, agent, self._routes)

    async def _processes(self, request: Routed) -> Reply:
        return reply.json(introspection.processes(self._router.actors), request.query)


def _browsed(attached: Mapping[str, str], path: str, query: Mapping[str, str]) -> Reply:
    """List a directory, which may be large: for a thread."""
    entries = files.browse(attached, path)
    return reply.json([entry.value() for entry in entries], query, sort_keys=True)


def _is_logged(path: str) -> bool:
    return path != "/slave(1)/health" and path.startswith(("/slave(1)/", "/files/"))


def _log_access(raw: web.BaseRequest, path: str) -> None:
    if log.isEnabledFor(logging.INFO):
        agent = raw.headers.get("User-Agent")
        forwarded = raw.headers.get("X-Forwarded-For")
        log.info(
            "HTTP %s for %s from %s%s%s",
            raw.method,
            path,
            _peer(raw),
            f" with User-Agent={agent!r}" if agent is not None else "",
            f" with X-Forwarded-For={forwarded!r}" if forwarded is not None else "",
        )


def _peer(raw: web.BaseRequest) -> str:
    peer = None if raw.transport is None else raw.transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "a local client"


async def _send_file(raw: web.BaseRequest, found: files.Download) -> web.StreamResponse:
    """Send a whole file as it was when it was opened."""
    response = PlainStream(
        headers={
            "Content-Length": str(found.size),
            "Content-Disposition": f"attachment; filename={found.file_name}",
            "Content-Type": found.content_type,
        }
    )
    await response.prepare(raw)
    left = 0 if raw.method == "HEAD" else found.size
    while left > 0:
        piece = await asyncio.to_thread(os.read, found.fd, min(left, _DOWNLOAD_PIECE_BYTES))
        if not piece:
            # truncated meanwhile: the length is already promised, only the end tells
            if raw.transport is not None:
                raw.transport.abort()
            break
        try:
            async with asyncio.timeout(_DOWNLOAD_TIMEOUT_S):
                await response.write(piece)
        except TimeoutError:
            if raw.transport is not None:
                raw.transport.abort()
            break
        left -= len(piece)
    return response
