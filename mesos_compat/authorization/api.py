# SPDX-License-Identifier: Apache-2.0
"""What an authorizer is: whoever decides whether somebody may do something to an object.

Authorizers are plug-ins: entry points of the group ``mesos_compat.authorizers``, each a function
from ``base.plugins.Parameters`` to an object with the two verbs of ``Authorizer``. The built-in one
is ``local``. Nobody asks one directly: ``gate.Gate`` does, which survives whatever they do.

Source: spec ``operator-api`` 8; upstream ``include/mesos/authorizer/authorizer.hpp``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from mesos_compat.model.principal import Principal
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.authorizer.authorizer_pb2 import Action

__all__ = ["Action", "Approver", "AuthorizationObject", "Authorizer", "Principal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationObject:
    """What is acted on; which parts are there depends on the action. Nobody may change them.

    Without any part it stands for all objects of its kind.
    """

    #: A path, for GET_ENDPOINT_WITH_PATH; a role, for VIEW_ROLE.
    value: str | None = None
    framework_info: pb.FrameworkInfo | None = None
    executor_info: pb.ExecutorInfo | None = None
    task_info: pb.TaskInfo | None = None
    #: What a nested container is to run.
    command_info: pb.CommandInfo | None = None
    container_id: pb.ContainerID | None = None
    #: In place of ``value``, for VIEW_ROLE; in post-refinement format.
    resource: pb.Resource | None = None


#: Says at once whether an object is approved; one subject and one action are behind it.
Approver: TypeAlias = Callable[[AuthorizationObject], bool]


class Authorizer(Protocol):
    """Decides. ``subject`` is ``None`` for clients that need not say who they are.

    Both verbs may answer at once or return something to await. Whatever they raise means that the
    question could not be decided, which is never a yes.
    """

    def authorized(
        self, subject: Principal | None, action: Action, what: AuthorizationObject
    ) -> bool | Awaitable[bool]:
        """Say whether ``subject`` may do that."""

    def approver(self, subject: Principal | None, action: Action) -> Approver | Awaitable[Approver]:
        """Return what filters lists of objects for ``subject``; used for one request."""
