# SPDX-License-Identifier: Apache-2.0
"""The leading master among those that contend in ZooKeeper.

``kazoo`` speaks the protocol, in threads of its own; what it says is handed to the event loop.
``KazooSession`` is one session, ``ZooKeeperDetector`` follows the contenders through all of them.

Deviation: the time after which a lost connection counts as a lost session is
``--zk_session_timeout``; upstream takes what the server made of it. Names that cannot be resolved
are tried for ever; upstream gives up after ten minutes.

Source: spec ``agent-master`` 3.1, 3.2.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from mesos_compat.base.clock import Clock
from mesos_compat.base.errors import FlagError, MesosCompatError, WireError
from mesos_compat.base.scope import Scope
from mesos_compat.master import info
from mesos_compat.master.detected import DetectedMaster, DetectionError, parse_location
from mesos_compat.pb.mesos import mesos_pb2 as pb

log = logging.getLogger(__name__)
#: What kazoo has to say is about every attempt to connect; the story is told by ours.
_client_log = logging.getLogger(f"{__name__}.client")
_client_log.setLevel(logging.CRITICAL)

SCHEME: Final = "zk://"

#: Seconds before something that failed is tried again: the first time, and at most.
RETRY_S: Final = 2.0
MAX_RETRY_S: Final = 60.0
#: Seconds that a session gets to say good-bye to its server.
_STOP_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class ZooKeeperUrl:
    """Where masters contend. No text of this object shows the credentials."""

    servers: str
    path: str
    #: ``user:password`` for the scheme ``digest``.
    credentials: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{SCHEME}{self.servers}{self.path}"

    @classmethod
    def parse(cls, text: str) -> ZooKeeperUrl:
        """Read ``zk://[user:password@]host:port[,host:port…]/path``. Raises FlagError."""
        rest, slash, path = text.strip().removeprefix(SCHEME).partition("/")
        path = slash + path.rstrip("/")
        if path in ("", "/"):
            raise FlagError("Expecting a (chroot) path for ZooKeeper ('/' is not supported)")
        credentials, at, servers = rest.rpartition("@")
        if at and ":" not in credentials:
            raise FlagError("Expecting credentials for ZooKeeper as user:password")
        if not all(servers.split(",")) or servers.split() != [servers]:
            raise FlagError(f"Failed to parse the ZooKeeper servers '{servers}'")
        if "//" in path or any(part in (".", "..") for part in path.split("/")):
            raise FlagError(f"Failed to parse the ZooKeeper path '{path}'")
        return cls(servers, path, credentials if at else None)


class Interrupted(Exception):
    """The connection is away; an answer is not to be had now."""


class ZooKeeperSession(Protocol):
    """One session. Answers raise Interrupted, or DetectionError for good."""

    #: Set whenever something may be new: state, contenders. Cleared by who looks.
    changed: asyncio.Event

    def connected(self) -> bool:
        """Whether the server can be asked."""

    def lost(self) -> bool:
        """Whether the session is over."""

    def start(self) -> None:
        """Connect, and go on trying."""

    async def prepare(self) -> None:
        """Make the base path where it is missing."""

    async def children(self) -> list[str]:
        """Return the names below the base path; ``changed`` is set when they are others."""

    async def data(self, name: str) -> bytes | None:
        """Return the data of a node; ``None`` if it is gone."""

    async def stop(self) -> None:
        """End the session."""


class _Alarm:
    """Says that a time is over, and wakes who waits for news of a session."""

    def __init__(self, session: ZooKeeperSession) -> None:
        self.over = False
        self._session = session

    def ring(self) -> None:
        self.over = True
        self._session.changed.set()


class ZooKeeperDetector:
    """Follows the contenders below a path. ``open_session`` makes a session that is not started."""

    def __init__(
        self,
        url: ZooKeeperUrl,
        session_timeout_s: float,
        scope: Scope,
        clock: Clock,
        open_session: Callable[[ZooKeeperUrl, float], ZooKeeperSession] | None = None,
    ) -> None:
        self._url = url
        self._timeout_s = session_timeout_s
        self._scope = scope
        self._clock = clock
        self._open = open_session if open_session is not None else KazooSession
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._current: DetectedMaster | None = None
        self._error: DetectionError | None = None
        #: Name of the node of the leader that is known.
        self._leading = ""

    async def next(self, previous: DetectedMaster | None) -> DetectedMaster | None:
        """Return the leader, or ``None`` without one, once it is not ``previous``."""
        if self._task is None:
            self._task = self._scope.spawn(self._run(), f"detect master in {self._url}")
        while self._error is None and self._current == previous:
            self._changed.clear()
            await self._changed.wait()
        if self._error is not None:
            raise self._error
        return self._current

    def stop(self) -> None:
        """Follow no longer; nobody may wait."""
        if self._task is not None:
            self._task.cancel(f"{self._url} is of no interest any more")

    def _publish(self, leader: DetectedMaster | None) -> None:
        self._current = leader
        self._changed.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._follow()
                self._leading = ""
                self._publish(None)
        except DetectionError as error:
            self._error = error
            self._changed.set()

    async def _follow(self) -> None:
        """Live through one session; return when it is over."""
        session = self._open(self._url, self._timeout_s)
        session.start()
        delay_s = RETRY_S
        try:
            while await self._connected(session):
                try:
                    await session.prepare()
                    while session.connected():
                        await self._look(session)
                        delay_s = RETRY_S
                        await session.changed.wait()
                except Interrupted as error:
                    if session.connected():
                        log.warning("ZooKeeper: %s; trying again in %g s", error, delay_s)
                        await self._pause(session, delay_s)
                        delay_s = min(delay_s * 2, MAX_RETRY_S)
        finally:
            await session.stop()

    async def _connected(self, session: ZooKeeperSession) -> bool:
        """Wait for a connection; ``False`` if the session was lost meanwhile."""
        if session.connected():
            return True
        expired = _Alarm(session)
        timer = self._clock.call_later(self._timeout_s, expired.ring)
        try:
            while not session.connected():
                if session.lost() or expired.over:
                    log.warning(
                        "The session with ZooKeeper %s is lost%s",
                        self._url,
                        f": no connection for {self._timeout_s:g} s" if expired.over else "",
                    )
                    if session.lost():
                        # Its server is there and wants none of it: no hurry.
                        await self._clock.sleep(1.0)
                    return False
                await session.changed.wait()
                if not session.connected():
                    session.changed.clear()
        finally:
            timer.cancel()
        log.info("Connected to ZooKeeper %s", self._url)
        return True

    async def _pause(self, session: ZooKeeperSession, delay_s: float) -> None:
        """Wait, but not longer than the connection lasts."""
        end = _Alarm(session)
        timer = self._clock.call_later(delay_s, end.ring)
        try:
            while session.connected() and not end.over:
                session.changed.clear()
                await session.changed.wait()
        finally:
            timer.cancel()

    async def _look(self, session: ZooKeeperSession) -> None:
        """Find the leader of now."""
        while True:
            session.changed.clear()
            found = info.leader(await session.children())
            if found is None:
                self._leading = ""
                self._publish(None)
                return
            if found.name == self._leading:
                return
            data = await session.data(found.name)
            if data is not None:
                break
        try:
            leader = await _detected(info.decode(found.label, data))
        except MesosCompatError as error:
            raise DetectionError(f"{self._url}/{found.name}: {error}") from error
        self._leading = found.name
        self._publish(leader)


async def _detected(master: pb.MasterInfo) -> DetectedMaster:
    """Raises WireError, FlagError."""
    if "@" not in master.pid:
        raise WireError(f"Failed to parse '{master.pid}'")
    upid, name = await asyncio.to_thread(parse_location, master.pid)
    return DetectedMaster(
        upid=upid,
        hostname=master.hostname or name or upid.ip,
        id=master.id,
        version=master.version,
        capabilities=frozenset(one.type for one in master.capabilities),
        name=name,
    )


class KazooSession:
    """A session by kazoo, whose threads call back here. Raises FlagError without kazoo."""

    def __init__(self, url: ZooKeeperUrl, timeout_s: float) -> None:
        self._kazoo = _import_kazoo()
        self._url = url
        self._loop = asyncio.get_running_loop()
        self.changed = asyncio.Event()
        self._state = ""
        self._ever = False
        self._open: set[asyncio.Future[Any]] = set()
        handler = self._kazoo.handlers.threading.SequentialThreadingHandler()
        retry = self._kazoo.retry.KazooRetry(
            max_tries=-1, delay=0.1, max_delay=1.0, sleep_func=handler.sleep_func
        )
        auth = [("digest", url.credentials)] if url.credentials is not None else None
        self._client = self._kazoo.client.KazooClient(
            url.servers,
            timeout=timeout_s,
            handler=handler,
            auth_data=auth,
            connection_retry=retry,
            logger=_client_log,
        )

    def connected(self) -> bool:
        """Whether the server can be asked."""
        return bool(self._state == self._kazoo.client.KazooState.CONNECTED)

    def lost(self) -> bool:
        """Whether the session is over."""
        return self._ever and self._state == self._kazoo.client.KazooState.LOST

    def start(self) -> None:
        """Connect, and go on trying."""
        self._client.add_listener(lambda state: self._tell(self._state_is, state))
        self._client.start_async()

    async def prepare(self) -> None:
        """Make the base path where it is missing."""
        path = ""
        for part in self._url.path.split("/")[1:]:
            path = f"{path}/{part}"
            if await self._ask("look for", self._client.exists_async(path)) is None:
                await self._ask("create", self._client.create_async(path, b"", acl=self._acl()))

    async def children(self) -> list[str]:
        """Return the names below the base path; ``changed`` is set when they are others."""

        def watched(event: object) -> None:
            self._tell(self.changed.set)

        asked = self._client.get_children_async(self._url.path, watch=watched)
        names = await self._ask("list", asked)
        if names is None:
            raise Interrupted(f"{self._url.path} was removed")
        return [str(name) for name in names]

    async def data(self, name: str) -> bytes | None:
        """Return the data of a node; ``None`` if it is gone."""
        found = await self._ask("read", self._client.get_async(f"{self._url.path}/{name}"))
        return None if found is None else bytes(found[0])

    async def stop(self) -> None:
        """End the session; what does not answer is left behind."""
        done = asyncio.Event()

        def work() -> None:
            try:
                self._client.stop()
                self._client.close()
            except Exception as error:
                log.debug("Ending a session with ZooKeeper: %s", error)
            self._tell(done.set)

        # Not in the pool of the event loop, which the end of the program would wait for.
        threading.Thread(target=work, name="zookeeper-stop", daemon=True).start()
        try:
            async with asyncio.timeout(_STOP_S):
                await done.wait()
        except TimeoutError:
            log.debug("A session with ZooKeeper does not end in time")

    def _acl(self) -> list[Any]:
        security = self._kazoo.security
        if self._url.credentials is None:
            return list(security.OPEN_ACL_UNSAFE)
        return [*security.CREATOR_ALL_ACL, *security.READ_ACL_UNSAFE]

    def _tell(self, function: Callable[..., object], *args: object) -> None:
        """Call ``function`` in the event loop; called from threads."""
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            pass  # the program ends

    def _state_is(self, state: str) -> None:
        self._state = state
        self._ever = True
        self.changed.set()
        if not self.connected():
            for future in list(self._open):
                if not future.done():
                    future.set_exception(Interrupted("the connection is lost"))

    async def _ask(self, verb: str, result: Any) -> Any:
        """Wait for an answer of kazoo; ``None`` if the node is not there, or is there already."""
        if not self.connected():
            raise Interrupted("the connection is lost")
        answer: asyncio.Future[Any] = self._loop.create_future()

        def settle() -> None:
            if not answer.done():
                if result.exception is not None:
                    answer.set_exception(result.exception)
                else:
                    answer.set_result(result.value)

        self._open.add(answer)
        result.rawlink(lambda _: self._tell(settle))
        errors = self._kazoo.exceptions
        try:
            return await answer
        except (errors.NoNodeError, errors.NodeExistsError):
            return None
        except (errors.NoAuthError, errors.AuthFailedError, errors.InvalidACLError) as error:
            raise DetectionError(
                f"ZooKeeper {self._url} does not allow to {verb} it ({type(error).__name__}):"
                " are user and password in --master right?"
            ) from error
        except errors.KazooException as error:
            raise Interrupted(
                f"failed to {verb} {self._url.path}: {type(error).__name__}"
            ) from error
        finally:
            self._open.discard(answer)


def _import_kazoo() -> Any:
    try:
        import kazoo.client
        import kazoo.exceptions
        import kazoo.handlers.threading
        import kazoo.retry
        import kazoo.security
    except ImportError as error:
        raise FlagError(
            "Masters in ZooKeeper need the Python package kazoo:"
            " pip install 'mesos-compat[zookeeper]'"
        ) from error
    return kazoo


def check_client() -> None:
    """Raise FlagError if kazoo is missing."""
    _import_kazoo()
