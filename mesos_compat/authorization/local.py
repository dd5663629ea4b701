# SPDX-License-Identifier: Apache-2.0
"""The built-in authorizer: decides by ``--acls``. Pure.

Holders of tokens, who have claims and no name, are not in any ACL: they may do what is about the
containers that their claims name, and nothing else.

Source: spec ``operator-api`` 8.2 to 8.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from mesos_compat.authorization.acls import Acls, matches_role, parse_acls
from mesos_compat.authorization.api import Action, Approver, AuthorizationObject, Principal
from mesos_compat.base.errors import AuthorizationError, FlagError, WireError
from mesos_compat.base.plugins import Parameters
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos import mesos_pb2 as pb

#: The parameter with the ACLs.
ACLS: Final = "acls"

#: Says what of an object is compared with the rules; ``None``: whatever.
_Part: TypeAlias = Callable[[AuthorizationObject], str | None]


def create(parameters: Parameters) -> LocalAuthorizer:
    """Make the authorizer of the ACLs in parameter ``acls``, as JSON. Raises FlagError."""
    given = dict(parameters)
    if given.keys() != {ACLS}:
        raise FlagError(f"Expecting the parameter '{ACLS}' and no other")
    try:
        value = jsonpb.loads(given[ACLS])
    except WireError as error:
        raise FlagError(f"Failed to parse '{ACLS}': {error}") from error
    return LocalAuthorizer(parse_acls(value))


class LocalAuthorizer:
    """Decides at once and by nothing else than the rules."""

    def __init__(self, acls: Acls) -> None:
        self._acls = acls

    def authorized(
        self, subject: Principal | None, action: Action, what: AuthorizationObject
    ) -> bool:
        """Say whether ``subject`` may do that. Raises AuthorizationError."""
        return self.approver(subject, action)(what)

    def approver(self, subject: Principal | None, action: Action) -> Approver:
        """Return what decides about objects. Raises AuthorizationError for foreign actions."""
        if subject is not None and subject.value is None:
            return _approver_of_claims(subject.claims, action)
        name = None if subject is None else subject.value
        if action == Action.VIEW_ROLE:
            return lambda what: self._may_view(name, what)
        compared = _COMPARED.get(action)
        if compared is None:
            raise AuthorizationError(f"Nobody is asked here whether {_name(action)} is allowed")
        decided: dict[tuple[str, str | None], bool] = {}

        def allows(acl: str, asked: str | None) -> bool:
            key = acl, asked
            if key not in decided:
                decided[key] = self._acls.allows(acl, name, asked)
            return decided[key]

        return lambda what: all(allows(acl, part(what)) for acl, part in compared)

    def _may_view(self, subject: str | None, what: AuthorizationObject) -> bool:
        return all(
            self._acls.allows("view_roles", subject, role, matches_role) for role in _roles(what)
        )


def _approver_of_claims(claims: Mapping[str, str], action: Action) -> Approver:
    if action in _WITHIN:
        cid = claims.get("cid")
        return lambda what: cid is not None and cid == _root(what.container_id)
    if action in _BESIDE:
        prefix = claims.get("cid_prefix")
        return lambda what: (
            prefix is not None
            and what.container_id is not None
            and what.container_id.value.startswith(prefix)
        )
    return lambda what: False


def _root(container_id: pb.ContainerID | None) -> str | None:
    if container_id is None:
        return None
    while container_id.HasField("parent"):
        container_id = container_id.parent
    return container_id.value


def _roles(what: AuthorizationObject) -> Iterable[str | None]:
    """All roles that have to pass."""
    if what.resource is None:
        return [what.value]
    found = [reservation.role for reservation in what.resource.reservations]
    if what.resource.HasField("allocation_info"):
        found.append(what.resource.allocation_info.role)
    return found


# What is compared.


def _anything(what: AuthorizationObject) -> str | None:
    return None


def _value(what: AuthorizationObject) -> str | None:
    return what.value


def _of_framework(what: AuthorizationObject) -> str | None:
    return None if what.framework_info is None else what.framework_info.user


def _of_executor(what: AuthorizationObject) -> str | None:
    info = what.executor_info
    if info is not None and info.command.HasField("user"):
        return info.command.user
    return _of_framework(what)


def _of_task(what: AuthorizationObject) -> str | None:
    info = what.task_info
    if info is not None and info.command.HasField("user"):
        return info.command.user
    if info is not None and info.executor.command.HasField("user"):
        return info.executor.command.user
    return _of_framework(what)


def _of_container(what: AuthorizationObject) -> str | None:
    user = _of_executor(what)
    if user is None and what.container_id is not None:
        return what.container_id.value
    return user


def _of_command(what: AuthorizationObject) -> str | None:
    command = what.command_info
    return command.user if command is not None and command.HasField("user") else None


def _launch(kind: str) -> tuple[tuple[str, _Part], ...]:
    return (
        (f"launch_nested_{kind}_under_parent_with_user", _of_executor),
        (f"launch_nested_{kind}_as_user", _of_command),
    )


#: Lists to be asked about an action, all of which have to allow it, and what each is asked about.
_COMPARED: Final[Mapping[int, tuple[tuple[str, _Part], ...]]] = {
    Action.GET_ENDPOINT_WITH_PATH: (("get_endpoints", _value),),
    Action.VIEW_FLAGS: (("view_flags", _anything),),
    Action.VIEW_FRAMEWORK: (("view_frameworks", _of_framework),),
    Action.VIEW_EXECUTOR: (("view_executors", _of_executor),),
    Action.VIEW_TASK: (("view_tasks", _of_task),),
    Action.VIEW_CONTAINER: (("view_containers", _of_executor),),
    Action.VIEW_STANDALONE_CONTAINER: (("view_standalone_containers", _anything),),
    Action.VIEW_RESOURCE_PROVIDER: (("view_resource_providers", _anything),),
    Action.ACCESS_SANDBOX: (("access_sandboxes", _of_executor),),
    Action.ACCESS_MESOS_LOG: (("access_mesos_logs", _anything),),
    Action.SET_LOG_LEVEL: (("set_log_level", _anything),),
    Action.LAUNCH_NESTED_CONTAINER: _launch("containers"),
    Action.LAUNCH_NESTED_CONTAINER_SESSION: _launch("container_sessions"),
    Action.WAIT_NESTED_CONTAINER: (("wait_nested_containers", _of_container),),
    Action.KILL_NESTED_CONTAINER: (("kill_nested_containers", _of_container),),
    Action.REMOVE_NESTED_CONTAINER: (("remove_nested_containers", _of_container),),
    Action.ATTACH_CONTAINER_INPUT: (("attach_containers_input", _of_executor),),
    Action.ATTACH_CONTAINER_OUTPUT: (("attach_containers_output", _of_executor),),
    Action.LAUNCH_STANDALONE_CONTAINER: (("launch_standalone_containers", _anything),),
    Action.WAIT_STANDALONE_CONTAINER: (("wait_standalone_containers", _anything),),
    Action.KILL_STANDALONE_CONTAINER: (("kill_standalone_containers", _anything),),
    Action.REMOVE_STANDALONE_CONTAINER: (("remove_standalone_containers", _anything),),
    Action.MODIFY_RESOURCE_PROVIDER_CONFIG: (("modify_resource_provider_configs", _anything),),
    Action.MARK_RESOURCE_PROVIDER_GONE: (("mark_resource_providers_gone", _anything),),
    Action.PRUNE_IMAGES: (("prune_images", _anything),),
    Action.RUN_TASK: (("run_tasks", _of_task),),
}

#: What holders of a token may do below the container that claim ``cid`` names.
_WITHIN: Final = frozenset(
    {
        Action.LAUNCH_NESTED_CONTAINER,
        Action.WAIT_NESTED_CONTAINER,
        Action.KILL_NESTED_CONTAINER,
        Action.REMOVE_NESTED_CONTAINER,
        Action.LAUNCH_NESTED_CONTAINER_SESSION,
        Action.ATTACH_CONTAINER_OUTPUT,
    }
)
#: And with containers whose names begin as claim ``cid_prefix`` says.
_BESIDE: Final = frozenset(
    {
        Action.LAUNCH_STANDALONE_CONTAINER,
        Action.WAIT_STANDALONE_CONTAINER,
        Action.KILL_STANDALONE_CONTAINER,
        Action.REMOVE_STANDALONE_CONTAINER,
        Action.VIEW_STANDALONE_CONTAINER,
    }
)


def _name(action: int) -> str:
    known = Action.DESCRIPTOR.values_by_number.get(action)
    return str(action) if known is None else known.name
