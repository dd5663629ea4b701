# SPDX-License-Identifier: Apache-2.0
"""Commands on containers of this host that belong to no agent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace

from containerizer.local.attached import Attachment
from containerizer.local.measure import sample
from containerizer.local.order import ContainerOrder, SessionOrder
from containerizer.local.registry import LocalContainer, Places, Registry
from containerizer.local.run import LocalRun, cgroups_root
from containerizer.local.session import LocalSession
from mesos_compat.base.errors import CheckpointError, ContainerError
from mesos_compat.base.scope import Scope
from mesos_compat.cli.containers.console import Console
from mesos_compat.cli.containers.foreground import Signals, exit_code
from mesos_compat.cli.containers.sandbox import SandboxLogs
from mesos_compat.cli.containers.target import SIGNALLED, Row, Usage
from mesos_compat.model import jsonpb

#: Whoever looks after a killed container has a minute to clean up.
_GONE_POLL_S = 0.02
_GONE_ROUNDS = 3000


def default_places(engine: str | None) -> Places:
    """Return where containers are: below ``engine``, or where this user has them by default."""
    if engine is not None:
        root = os.path.abspath(engine)
        return Places(os.path.join(root, "run"), os.path.join(root, "work"))
    if os.geteuid() == 0:
        return Places("/run/mesos-compat/engine", "/var/lib/mesos-compat/engine")
    home = os.path.expanduser("~")
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    run = os.environ.get("XDG_RUNTIME_DIR") or os.path.join(state, "mesos-compat", "run")
    return Places(
        os.path.join(run, "mesos-compat", "engine"), os.path.join(state, "mesos-compat", "engine")
    )


class LocalTarget:
    """Implements ContainerTarget on the folders of the local engine."""

    def __init__(self, places: Places) -> None:
        self._registry = Registry(places)

    async def rows(self) -> list[Row]:
        """Return all containers, the oldest first."""
        await self._sweep()
        return [_row(each) for each in self._registry.all()]

    async def inspect(self, reference: str) -> Mapping[str, object]:
        """Return all that is known of a container, fit for JSON."""
        found = self._registry.find(reference)
        record = found.record
        shown: dict[str, object] = {
            **asdict(record),
            "state": found.state,
            "pid": found.pid,
            "attended": self._registry.claimed(record.id),
            "cgroups_root": cgroups_root(record),
            "sandbox": self._registry.places.sandbox(record.id),
        }
        if found.wait_status is not None:
            shown["exit_code"] = exit_code(found.wait_status)
        rundir = self._registry.runtime(record.id)
        try:
            parts = {
                "config": rundir.read_config(record.container_id),
                "launch_info": rundir.read_launch_info(record.container_id),
            }
        except CheckpointError as error:
            raise ContainerError(str(error)) from error
        for name, message in parts.items():
            if message is not None:
                shown[name] = jsonpb.to_value(message)
        return shown

    async def kill(self, reference: str, number: int) -> None:
        """Send a signal to the container's init, which passes it on."""
        found = self._registry.find(reference)
        if found.pid is None:
            raise ContainerError(f"Container '{reference}' is not running ({found.state})")
        try:
            pidfd = os.pidfd_open(found.pid)
            try:
                # The pid may have gone to somebody else before the descriptor held on to it.
                if self._registry.find(found.record.id).pid == found.pid:
                    signal.pidfd_send_signal(pidfd, number)
            finally:
                os.close(pidfd)
        except ProcessLookupError:
            raise ContainerError(f"Container '{reference}' has just ended") from None
        except OSError as error:
            raise ContainerError(f"Unable to send signal to container: {error.strerror}") from error

    async def remove(self, reference: str, *, force: bool) -> None:
        """Destroy what is left of a container; one that runs only by ``force``."""
        found = self._registry.find(reference)
        if found.state in ("running", "starting") and not force:
            raise ContainerError(f"Container '{reference}' is running: kill it first, or use -f")
        if found.pid is not None and self._registry.claimed(found.record.id):
            # Whoever looks after it cleans up.
            await self.kill(reference, signal.SIGKILL)
            await self._gone(found.record.id)
            return
        await self._removed(found)

    async def logs(self, reference: str) -> SandboxLogs:
        """Return the output of a detached container."""
        found = self._registry.find(reference)
        if not found.record.detached:
            raise ContainerError(
                f"The output of container '{reference}' goes to the command that runs it"
            )
        container = found.record.id

        def running() -> bool:
            try:
                return self._registry.find(container).state in ("running", "starting")
            except ContainerError:
                return False

        return SandboxLogs(self._registry.places.sandbox(container), running)

    async def usages(self) -> list[Usage]:
        """Return what all running containers use."""
        made = []
        for found in self._registry.all():
            if found.pid is not None:
                measured = sample(cgroups_root(found.record), found.record.id, found.pid)
                made.append(Usage(_row(found), time.monotonic(), measured))
        return made

    async def run(self, order: ContainerOrder, console: Console) -> int:
        """Run a container and return its exit code, or 0 at once if it is detached."""
        await self._sweep()
        if order.detached:
            return await self._run_detached(order)
        async with Scope("run") as scope:
            signals = Signals(scope)
            with signals.handled():
                try:
                    return await self._run(order, console, signals)
                except asyncio.CancelledError:
                    return signals.code()
                finally:
                    await console.close()

    async def execute(self, reference: str, order: SessionOrder, console: Console) -> int:
        """Run a command in a container and return its exit code."""
        found = self._registry.find(reference)
        async with Scope("exec") as scope:
            signals = Signals(scope)
            with signals.handled():
                try:
                    session = await LocalSession.start(self._registry, found, order, console.open())
                    try:
                        signals.pass_to(session.kill)
                        console.begin()
                        status = await session.wait()
                    finally:
                        await session.end()
                except asyncio.CancelledError:
                    return signals.code()
                finally:
                    await console.close()
        return exit_code(status)

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def _run_detached(self, order: ContainerOrder) -> int:
        attachment = Attachment(working_directory=order.working_directory)
        run = await LocalRun.launch(self._registry, order, attachment)
        await run.leave()
        print(run.record.id)
        return 0

    async def _run(self, order: ContainerOrder, console: Console, signals: Signals) -> int:
        attachment = replace(console.open(), working_directory=order.working_directory)
        run = await LocalRun.launch(self._registry, order, attachment)
        try:
            signals.pass_to(run.kill)
            console.begin()
            ended = await run.wait()
        finally:
            await run.end()
        if ended.message:
            print(f"mesos-compat: {ended.message}", file=sys.stderr)
        return exit_code(ended.status) if ended.HasField("status") else SIGNALLED + signal.SIGKILL

    async def _sweep(self) -> None:
        """Remove what nobody wants to see any more: it ended, or its command died."""
        for found in self._registry.all():
            unwanted = found.record.remove or not found.record.detached
            ended = found.state == "lost" or (found.state == "exited" and unwanted)
            if ended and not self._registry.claimed(found.record.id):
                with contextlib.suppress(ContainerError):
                    await self._removed(found)

    async def _removed(self, found: LocalContainer) -> None:
        run = await LocalRun.taken_over(self._registry, found)
        await run.end()

    async def _gone(self, container: str) -> None:
        """Wait until whoever looks after a killed container has removed it."""
        directory = self._registry.places.directory(container)
        for _ in range(_GONE_ROUNDS):
            if not os.path.isdir(directory) or not self._registry.claimed(container):
                break
            await asyncio.sleep(_GONE_POLL_S)
        else:
            raise ContainerError(f"The command that looks after '{container}' does not end it")
        if os.path.isdir(directory):
            await self._removed(self._registry.find(container))


def _row(container: LocalContainer) -> Row:
    record = container.record
    state = container.state
    if container.wait_status is not None:
        state = f"exited ({exit_code(container.wait_status)})"
    return Row(
        id=record.id,
        name=record.name,
        image=record.image or "",
        command=" ".join(record.command),
        state=state,
        pid=container.pid,
        created_s=record.created_s,
    )
