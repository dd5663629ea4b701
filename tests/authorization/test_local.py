# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mesos_compat.authorization.acls import parse_acls
from mesos_compat.authorization.api import Action, AuthorizationObject, Principal
from mesos_compat.authorization.local import LocalAuthorizer, create
from mesos_compat.base.errors import AuthorizationError, FlagError
from mesos_compat.base.plugins import Group
from mesos_compat.pb.mesos import mesos_pb2 as pb

FRAMEWORK = pb.FrameworkInfo(user="fred", name="f")
OPS = Principal("ops")


def executor(user: str | None) -> pb.ExecutorInfo:
    made = pb.ExecutorInfo(executor_id=pb.ExecutorID(value="e"))
    if user is not None:
        made.command.user = user
    return made


def task(user: str | None = None, of_executor: str | None = None) -> pb.TaskInfo:
    made = pb.TaskInfo()
    if user is not None:
        made.command.user = user
    if of_executor is not None:
        made.executor.command.user = of_executor
    return made


def container(*path: str) -> pb.ContainerID:
    made = pb.ContainerID(value=path[0])
    for value in path[1:]:
        outer, made = made, pb.ContainerID(value=value)
        made.parent.CopyFrom(outer)
    return made


def rules(**lists: Any) -> LocalAuthorizer:
    """Nobody may do anything, but ``ops`` to the object of each list."""
    keys = {"get_endpoints": "paths", "view_roles": "roles"}
    acls: dict[str, Any] = {"permissive": False}
    for name, values in lists.items():
        entity = {"values": values} if isinstance(values, list) else {"type": values}
        key = keys.get(name, "users")
        acls[name] = [{"principals": {"values": ["ops"]}, key: entity}]
    return LocalAuthorizer(parse_acls(acls))


OF_FRAMEWORK: Mapping[str, Any] = {"framework_info": FRAMEWORK}
OF_EXECUTOR: Mapping[str, Any] = {"framework_info": FRAMEWORK, "executor_info": executor("erin")}
OF_PLAIN_EXECUTOR: Mapping[str, Any] = {
    "framework_info": FRAMEWORK,
    "executor_info": executor(None),
}
USERS: list[tuple[Action, str, Mapping[str, Any], str | None]] = [
    (Action.VIEW_FRAMEWORK, "view_frameworks", OF_FRAMEWORK, "fred"),
    (Action.VIEW_EXECUTOR, "view_executors", OF_EXECUTOR, "erin"),
    (Action.VIEW_EXECUTOR, "view_executors", OF_PLAIN_EXECUTOR, "fred"),
    (Action.VIEW_TASK, "view_tasks", {**OF_FRAMEWORK, "task_info": task("tom")}, "tom"),
    (Action.VIEW_TASK, "view_tasks", {**OF_FRAMEWORK, "task_info": task(None, "erin")}, "erin"),
    (Action.VIEW_TASK, "view_tasks", {**OF_FRAMEWORK, "task_info": task()}, "fred"),
    (Action.RUN_TASK, "run_tasks", {**OF_FRAMEWORK, "task_info": task("tom", "erin")}, "tom"),
    (Action.RUN_TASK, "run_tasks", {**OF_FRAMEWORK, "task_info": task(None, "erin")}, "erin"),
    (Action.RUN_TASK, "run_tasks", {**OF_FRAMEWORK, "task_info": task()}, "fred"),
    (Action.VIEW_CONTAINER, "view_containers", OF_EXECUTOR, "erin"),
    (Action.VIEW_CONTAINER, "view_containers", OF_PLAIN_EXECUTOR, "fred"),
    (Action.ACCESS_SANDBOX, "access_sandboxes", OF_EXECUTOR, "erin"),
    (Action.ACCESS_SANDBOX, "access_sandboxes", OF_FRAMEWORK, "fred"),
    (Action.ACCESS_SANDBOX, "access_sandboxes", {}, None),
    (Action.ATTACH_CONTAINER_INPUT, "attach_containers_input", OF_EXECUTOR, "erin"),
    (Action.ATTACH_CONTAINER_OUTPUT, "attach_containers_output", OF_PLAIN_EXECUTOR, "fred"),
    *(
        (action, name, parts, user)
        for action, name in (
            (Action.WAIT_NESTED_CONTAINER, "wait_nested_containers"),
            (Action.KILL_NESTED_CONTAINER, "kill_nested_containers"),
            (Action.REMOVE_NESTED_CONTAINER, "remove_nested_containers"),
        )
        for parts, user in (
            ({**OF_EXECUTOR, "container_id": container("c", "d")}, "erin"),
            ({**OF_PLAIN_EXECUTOR, "container_id": container("c", "d")}, "fred"),
            ({"container_id": container("c", "leaf")}, "leaf"),
        )
    ),
]


@pytest.mark.parametrize(("action", "name", "parts", "user"), USERS)
def test_the_user_that_is_compared(
    action: Action, name: str, parts: Mapping[str, Any], user: str | None
) -> None:
    what = AuthorizationObject(**parts)
    others = ["fred", "erin", "tom", "leaf"]
    if user is not None:
        others.remove(user)
        assert rules(**{name: [user]}).authorized(OPS, action, what)
    assert not rules(**{name: others}).authorized(OPS, action, what)
    assert rules(**{name: "ANY"}).authorized(OPS, action, what)
    assert not rules(**{name: "NONE"}).authorized(OPS, action, what)
    assert not rules(**{name: "ANY"}).authorized(Principal("else"), action, what)
    assert not rules(**{name: "ANY"}).authorized(None, action, what)
    assert not rules().authorized(OPS, action, what)


@pytest.mark.parametrize(
    ("action", "name", "key"),
    [
        (Action.VIEW_FLAGS, "view_flags", "flags"),
        (Action.ACCESS_MESOS_LOG, "access_mesos_logs", "logs"),
        (Action.SET_LOG_LEVEL, "set_log_level", "level"),
        (Action.VIEW_STANDALONE_CONTAINER, "view_standalone_containers", "users"),
        (Action.LAUNCH_STANDALONE_CONTAINER, "launch_standalone_containers", "users"),
        (Action.WAIT_STANDALONE_CONTAINER, "wait_standalone_containers", "users"),
        (Action.KILL_STANDALONE_CONTAINER, "kill_standalone_containers", "users"),
        (Action.REMOVE_STANDALONE_CONTAINER, "remove_standalone_containers", "users"),
        (Action.VIEW_RESOURCE_PROVIDER, "view_resource_providers", "resource_providers"),
        (
            Action.MODIFY_RESOURCE_PROVIDER_CONFIG,
            "modify_resource_provider_configs",
            "resource_providers",
        ),
        (
            Action.MARK_RESOURCE_PROVIDER_GONE,
            "mark_resource_providers_gone",
            "resource_providers",
        ),
        (Action.PRUNE_IMAGES, "prune_images", "images"),
    ],
)
def test_what_is_allowed_whole(action: Action, name: str, key: str) -> None:
    what = AuthorizationObject(container_id=container("c"))

    def allowed(kind: str) -> bool:
        rule: Any = {"principals": {"values": ["ops"]}, key: {"type": kind}}
        return LocalAuthorizer(parse_acls({"permissive": False, name: [rule]})).authorized(
            OPS, action, what
        )

    assert allowed("ANY")
    assert not allowed("NONE")


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Action.LAUNCH_NESTED_CONTAINER, "containers"),
        (Action.LAUNCH_NESTED_CONTAINER_SESSION, "container_sessions"),
    ],
)
def test_a_launch_needs_both_lists(action: Action, kind: str) -> None:
    under, as_user = f"launch_nested_{kind}_under_parent_with_user", f"launch_nested_{kind}_as_user"
    asked = AuthorizationObject(**OF_EXECUTOR, command_info=pb.CommandInfo(user="tom"))
    assert rules(**{under: ["erin"], as_user: ["tom"]}).authorized(OPS, action, asked)
    assert not rules(**{under: ["erin"], as_user: ["erin"]}).authorized(OPS, action, asked)
    assert not rules(**{under: ["tom"], as_user: ["tom"]}).authorized(OPS, action, asked)
    assert not rules(**{under: ["erin"]}).authorized(OPS, action, asked)
    no_user = AuthorizationObject(command_info=pb.CommandInfo())
    assert not rules(**{under: ["erin"], as_user: ["tom"]}).authorized(OPS, action, no_user)
    assert rules(**{under: "ANY", as_user: "ANY"}).authorized(OPS, action, no_user)


def test_endpoints_are_compared_by_path() -> None:
    made = rules(get_endpoints=["/containers"])
    action = Action.GET_ENDPOINT_WITH_PATH
    assert made.authorized(OPS, action, AuthorizationObject(value="/containers"))
    assert not made.authorized(OPS, action, AuthorizationObject(value="/files/debug"))


def test_roles_and_resources() -> None:
    made = rules(view_roles=["a/%", "x"])

    def seen(what: AuthorizationObject) -> bool:
        return made.authorized(OPS, Action.VIEW_ROLE, what)

    assert seen(AuthorizationObject(value="a/b"))
    assert not seen(AuthorizationObject(value="a"))
    resource = pb.Resource(name="cpus")
    assert seen(AuthorizationObject(resource=resource))
    resource.reservations.add(role="x")
    assert seen(AuthorizationObject(resource=resource))
    resource.allocation_info.role = "secret"
    assert not seen(AuthorizationObject(resource=resource))
    resource.allocation_info.role = "a/b"
    assert seen(AuthorizationObject(resource=resource))
    resource.reservations.add(role="secret")
    assert not seen(AuthorizationObject(resource=resource))


WITHIN = (
    Action.LAUNCH_NESTED_CONTAINER,
    Action.WAIT_NESTED_CONTAINER,
    Action.KILL_NESTED_CONTAINER,
    Action.REMOVE_NESTED_CONTAINER,
    Action.LAUNCH_NESTED_CONTAINER_SESSION,
    Action.ATTACH_CONTAINER_OUTPUT,
)
BESIDE = (
    Action.LAUNCH_STANDALONE_CONTAINER,
    Action.WAIT_STANDALONE_CONTAINER,
    Action.KILL_STANDALONE_CONTAINER,
    Action.REMOVE_STANDALONE_CONTAINER,
    Action.VIEW_STANDALONE_CONTAINER,
)
PERMISSIVE = LocalAuthorizer(parse_acls({}))


@pytest.mark.parametrize("action", Action.values())
def test_holders_of_tokens(action: Action) -> None:
    token = Principal(None, {"cid": "root", "cid_prefix": "rp-"})
    nested = AuthorizationObject(**OF_EXECUTOR, container_id=container("root", "a", "b"))
    other = AuthorizationObject(**OF_EXECUTOR, container_id=container("else", "root"))
    beside = AuthorizationObject(container_id=container("rp-x"))
    nothing = AuthorizationObject()
    assert PERMISSIVE.authorized(token, action, nested) == (action in WITHIN)
    assert not PERMISSIVE.authorized(token, action, other)
    assert PERMISSIVE.authorized(token, action, beside) == (action in BESIDE)
    for claims in ({}, {"fid": "root"}):
        without = Principal(None, claims)
        for what in (nested, other, beside, nothing):
            assert not PERMISSIVE.authorized(without, action, what)


def test_a_name_beside_claims_is_in_the_acls() -> None:
    made = rules(kill_nested_containers=["erin"])
    both = Principal("ops", {"cid": "else"})
    what = AuthorizationObject(**OF_EXECUTOR, container_id=container("root", "a"))
    assert made.authorized(both, Action.KILL_NESTED_CONTAINER, what)


def test_foreign_actions_are_not_decided() -> None:
    with pytest.raises(AuthorizationError, match="RESERVE_RESOURCES"):
        PERMISSIVE.approver(OPS, Action.RESERVE_RESOURCES)
    with pytest.raises(AuthorizationError, match="UNKNOWN"):
        PERMISSIVE.approver(OPS, Action.UNKNOWN)


def test_made_like_any_plug_in() -> None:
    assert Group("mesos_compat.authorizers").load("local") is create
    acls = {"view_flags": [{"principals": {"type": "ANY"}, "flags": {"type": "NONE"}}]}
    made = create((("acls", json.dumps(acls)),))
    assert not made.authorized(OPS, Action.VIEW_FLAGS, AuthorizationObject())
    for parameters in ((), (("acl", "{}"),), (("acls", "{"),), (("acls", "[]"),)):
        with pytest.raises(FlagError):
            create(parameters)
