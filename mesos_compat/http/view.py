# SPDX-License-Identifier: Apache-2.0
"""What of the agent one client may see. Pure.

A view is made for one request: its approvers are asked for beforehand, so that lists can be
filtered while they are written.

Source: spec ``operator-api`` 8.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mesos_compat.agent.machine.state import Executor, Framework
from mesos_compat.authorization.api import Action, Approver, AuthorizationObject
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb

_ALL: Final = AuthorizationObject()


class View:
    """Says what is to be shown; ``None`` as the approvers shows everything.

    What it has no approver for it hides.
    """

    def __init__(self, approvers: Mapping[Action, Approver] | None) -> None:
        self._approvers = approvers

    @property
    def everything(self) -> bool:
        """Whether nothing is hidden from anybody."""
        return self._approvers is None

    def framework(self, item: Framework) -> bool:
        """Whether a framework is shown."""
        return self.everything or self._approves(
            Action.VIEW_FRAMEWORK, AuthorizationObject(framework_info=item.info)
        )

    def executor(self, framework: Framework, item: Executor) -> bool:
        """Whether an executor of a framework that is shown is."""
        return self.everything or self._approves(
            Action.VIEW_EXECUTOR, _of_executor(framework, item)
        )

    def task(self, framework: Framework, info: pb.TaskInfo) -> bool:
        """Whether a task of an executor that is shown is."""
        return self.everything or self._approves(
            Action.VIEW_TASK, AuthorizationObject(framework_info=framework.info, task_info=info)
        )

    def container(self, framework: Framework, item: Executor) -> bool:
        """Whether the container of an executor is shown, and all that is nested in it."""
        return self.everything or self._approves(
            Action.VIEW_CONTAINER, _of_executor(framework, item)
        )

    def standalone(self, container_id: ContainerId) -> bool:
        """Whether a top-level container without executor is shown, with what is nested in it."""
        return self.everything or self._approves(
            Action.VIEW_STANDALONE_CONTAINER,
            AuthorizationObject(container_id=container_id.root.message()),
        )

    def role(self, name: str) -> bool:
        """Whether what is reserved for a role is shown."""
        return self.everything or self._approves(Action.VIEW_ROLE, AuthorizationObject(value=name))

    def resource(self, resource: pb.Resource) -> bool:
        """Whether something about a resource is shown."""
        return self.everything or self._approves(
            Action.VIEW_ROLE, AuthorizationObject(resource=resource)
        )

    @property
    def flags(self) -> bool:
        """Whether flags are shown."""
        return self.everything or self._approves(Action.VIEW_FLAGS, _ALL)

    def _approves(self, action: Action, what: AuthorizationObject) -> bool:
        approver = None if self._approvers is None else self._approvers.get(action)
        return approver is not None and approver(what)


#: For clients from which nothing is hidden.
EVERYTHING: Final = View(None)


def _of_executor(framework: Framework, item: Executor) -> AuthorizationObject:
    return AuthorizationObject(framework_info=framework.info, executor_info=item.info)
