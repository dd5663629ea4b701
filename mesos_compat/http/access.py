# SPDX-License-Identifier: Apache-2.0
"""Where HTTP handlers ask whether their client may have what it wants.

Without an authorizer everything is allowed, to anybody whom authentication let in.

Source: spec ``operator-api`` 2, 5.9, 8.

Deviation: files of executors and frameworks that have ended are those of the users they had;
upstream asks about them as if they were nobody's. Other methods than GET on ``/files/debug`` are
answered with 405 as on its like, not with 500.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from mesos_compat.agent import paths
from mesos_compat.agent.machine.state import AgentState, Executor, Framework
from mesos_compat.authorization.api import Action, Approver, AuthorizationObject, Principal
from mesos_compat.authorization.gate import Gate
from mesos_compat.base.errors import ApiError, AuthorizationError
from mesos_compat.base.log import Complaints
from mesos_compat.http import files, reply
from mesos_compat.http.view import EVERYTHING, View
from mesos_compat.model.ids import ContainerId, ExecutorId, FrameworkId
from mesos_compat.pb.mesos import mesos_pb2 as pb

log = logging.getLogger(__name__)

#: What is about everything, or nothing in particular.
ALL: Final = AuthorizationObject()

_LOG: Final = "/slave/log"


class Access:
    """Asks for one agent."""

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate
        self._complaints = Complaints(log)

    @property
    def limited(self) -> bool:
        """Whether anything is forbidden to anybody."""
        return self._gate is not None

    async def require(
        self, subject: Principal | None, action: Action, what: AuthorizationObject = ALL
    ) -> None:
        """Return if the client may do that. Raises ApiError 403, or 500 if nobody knows."""
        if not await self._allowed(subject, action, what):
            self._tell(subject, action, what.value)
            raise ApiError(403, reply.default_body(403))

    async def view(self, subject: Principal | None, actions: Iterable[Action]) -> View:
        """Return what the client sees, as far as ``actions`` are about it. Raises ApiError 500."""
        if self._gate is None:
            return EVERYTHING
        approvers: dict[Action, Approver] = {}
        try:
            for action in actions:
                approvers[action] = await self._gate.approver(subject, action)
        except AuthorizationError as error:
            raise _undecided(error) from error
        return View(approvers)

    async def require_file(
        self,
        subject: Principal | None,
        state: AgentState,
        attached: Mapping[str, str],
        path: str,
    ) -> None:
        """Return if the client may read ``path``, or nothing is there.

        Raises ApiError 403 without text, or 500.
        """
        place = files.attachment(attached, path) if self.limited else None
        if place is None:
            return
        action, what = Action.ACCESS_SANDBOX, _sandbox(state, place)
        if place == _LOG:
            action, what = Action.ACCESS_MESOS_LOG, ALL
        if not await self._allowed(subject, action, what):
            self._tell(subject, action, place)
            raise ApiError(403)

    def _tell(self, subject: Principal | None, action: Action, what: str | None) -> None:
        self._complaints.warn(
            "%s is not authorized for %s%s",
            "Somebody" if subject is None else f"'{subject}'",
            Action.Name(action),
            "" if what is None else f" of '{what}'",
        )

    async def _allowed(
        self, subject: Principal | None, action: Action, what: AuthorizationObject
    ) -> bool:
        if self._gate is None:
            return True
        try:
            return await self._gate.authorized(subject, action, what)
        except AuthorizationError as error:
            raise _undecided(error) from error


def container_object(
    state: AgentState, container_id: ContainerId, command: pb.CommandInfo | None = None
) -> AuthorizationObject:
    """Return what a call on a container, or the launch of ``command`` in it, is about."""
    executor = state.executor_by_container(container_id)
    framework = None if executor is None else state.frameworks[executor.framework_id]
    return AuthorizationObject(
        framework_info=None if framework is None else framework.info,
        executor_info=None if executor is None else executor.info,
        command_info=command,
        container_id=container_id.message(),
    )


def _sandbox(state: AgentState, place: str) -> AuthorizationObject:
    owner = paths.sandbox_owner(state.config.work_dir, place)
    if owner is None:
        return ALL
    framework_id, executor_id, container_id = owner
    framework = _framework(state, framework_id)
    if framework is None:
        return ALL
    executor = _executor(framework, executor_id, container_id)
    return AuthorizationObject(
        framework_info=framework.info, executor_info=None if executor is None else executor.info
    )


def _framework(state: AgentState, framework_id: FrameworkId) -> Framework | None:
    known = state.frameworks.get(framework_id)
    if known is not None:
        return known
    ended = (each for each in reversed(state.completed_frameworks))
    return next((each for each in ended if each.framework_id == framework_id), None)


def _executor(
    framework: Framework, executor_id: ExecutorId, container_id: ContainerId | None
) -> Executor | None:
    """Return a run of an executor, the newest one if none in particular is meant."""
    current = framework.executors.get(executor_id)
    runs = [] if current is None else [current]
    for run in (*runs, *reversed(framework.completed_executors)):
        if run.executor_id == executor_id and container_id in (None, run.container_id):
            return run
    return None


def _undecided(error: AuthorizationError) -> ApiError:
    return ApiError(500, str(error))
