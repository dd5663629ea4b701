# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from mesos_compat.authorization.acls import (
    AUTHORIZABLE_PATHS,
    AccessRule,
    Acls,
    Entity,
    EntityKind,
    matches,
    matches_role,
    parse_acls,
)
from mesos_compat.base.errors import FlagError
from mesos_compat.model import jsonpb
from mesos_compat.pb.mesos.authorizer import acls_pb2 as pb

ANY, NONE = Entity(EntityKind.ANY), Entity(EntityKind.NONE)


def some(*values: str) -> Entity:
    return Entity(EntityKind.SOME, frozenset(values))


@pytest.mark.parametrize(
    ("asked", "entity", "verdict"),
    [
        ("a", some("a", "b"), True),
        ("c", some("a", "b"), None),
        ("a", some(), None),
        ("a", NONE, False),
        ("a", ANY, True),
        (None, some("a"), None),
        (None, NONE, False),
        (None, ANY, True),
    ],
)
def test_the_table_of_matches(asked: str | None, entity: Entity, verdict: bool | None) -> None:
    assert matches(entity, asked) is verdict
    assert matches_role(entity, asked) is verdict


@pytest.mark.parametrize(
    ("role", "verdict"),
    [("a/b", True), ("a/b/c", True), ("a", None), ("ab/c", None), ("a/", None), ("x", True)],
)
def test_roles_below_a_role(role: str, verdict: bool | None) -> None:
    assert matches_role(some("a/%", "x"), role) is verdict


def acls(*rules: AccessRule, permissive: bool = True) -> Acls:
    return Acls(permissive, {"run_tasks": rules})


@pytest.mark.parametrize(
    ("subjects", "objects", "allowed"),
    [(ANY, ANY, True), (ANY, NONE, False), (NONE, ANY, False), (some("p"), some("u"), True)],
)
def test_both_sides_have_to_allow(subjects: Entity, objects: Entity, allowed: bool) -> None:
    assert acls(AccessRule(subjects, objects)).allows("run_tasks", "p", "u") is allowed


def test_the_first_rule_that_matches_decides() -> None:
    first_denies = acls(AccessRule(some("p"), NONE), AccessRule(some("p"), ANY))
    first_allows = acls(AccessRule(some("p"), ANY), AccessRule(some("p"), NONE))
    assert not first_denies.allows("run_tasks", "p", "u")
    assert first_allows.allows("run_tasks", "p", "u")
    other_first = acls(AccessRule(some("q"), NONE), AccessRule(ANY, some("u")))
    assert other_first.allows("run_tasks", "p", "u")


def test_a_rule_needs_both_sides_to_match() -> None:
    rules = AccessRule(some("p"), some("u")), AccessRule(NONE, some("v"))
    assert acls(*rules, permissive=False).allows("run_tasks", "p", "u")
    assert not acls(*rules).allows("run_tasks", "p", "v")
    assert acls(*rules).allows("run_tasks", "p", "w")


@pytest.mark.parametrize("permissive", [True, False])
def test_without_a_match_permissive_decides(permissive: bool) -> None:
    rules = acls(AccessRule(some("p"), ANY), permissive=permissive)
    assert rules.allows("run_tasks", "q", "u") is permissive
    assert rules.allows("view_flags", "p", None) is permissive


def test_a_client_without_a_name_is_not_among_those_named() -> None:
    rules = acls(AccessRule(some("p"), NONE), AccessRule(ANY, ANY), permissive=False)
    assert rules.allows("run_tasks", None, "u")
    assert not acls(AccessRule(some("p"), ANY), permissive=False).allows("run_tasks", None, "u")


EXAMPLE: dict[str, Any] = {
    "permissive": False,
    "view_frameworks": [{"principals": {"values": ["ops"]}, "users": {"type": "ANY"}}],
    "get_endpoints": [
        {"principals": {"type": "ANY"}, "paths": {"values": ["/metrics/snapshot"]}},
    ],
    "nothing we know": [1],
}


def test_json_and_message_mean_the_same() -> None:
    made = parse_acls(EXAMPLE)
    assert made == Acls(
        False,
        {
            "view_frameworks": (AccessRule(some("ops"), ANY),),
            "get_endpoints": (AccessRule(ANY, some("/metrics/snapshot")),),
        },
    )
    assert parse_acls(jsonpb.from_value(pb.ACLs, EXAMPLE)) == made
    assert parse_acls(pb.ACLs()) == parse_acls({}) == Acls(True, {})


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"view_flags": [{"flags": {}}]}, "Missing required fields: view_flags"),
        ({"view_flags": [{"principals": {"values": ["a"]}}]}, "Missing required fields"),
        ({"view_flags": 1}, "view_flags"),
        ([], "Expecting a JSON object"),
        (
            {"get_endpoints": [{"principals": {"type": "ANY"}, "paths": {"values": ["/flags"]}}]},
            "Path: '/flags' is not an authorizable path",
        ),
    ],
)
def test_unusable(value: Any, error: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse_acls(value)
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("name", "key", "kind"),
    [
        ("view_flags", "flags", "ViewFlags"),
        ("access_mesos_logs", "logs", "AccessMesosLog"),
        ("set_log_level", "level", "SetLogLevel"),
        ("launch_standalone_containers", "users", "LaunchStandaloneContainer"),
        ("wait_standalone_containers", "users", "WaitStandaloneContainer"),
        ("kill_standalone_containers", "users", "KillStandaloneContainer"),
        ("remove_standalone_containers", "users", "RemoveStandaloneContainer"),
        ("view_standalone_containers", "users", "ViewStandaloneContainer"),
        (
            "modify_resource_provider_configs",
            "resource_providers",
            "ModifyResourceProviderConfig",
        ),
        ("mark_resource_providers_gone", "resource_providers", "MarkResourceProvidersGone"),
        ("view_resource_providers", "resource_providers", "ViewResourceProvider"),
        ("prune_images", "images", "PruneImages"),
    ],
)
def test_what_has_no_names_is_allowed_whole_or_not(name: str, key: str, kind: str) -> None:
    def of(entity: dict[str, Any]) -> dict[str, Any]:
        return {name: [{"principals": {"values": ["p"]}, key: entity}]}

    with pytest.raises(FlagError, match=f"^ACL.{kind} type must be either NONE or ANY$"):
        parse_acls(of({"values": ["x"]}))
    with pytest.raises(FlagError, match=kind):
        parse_acls(of({}))
    for value in ("ANY", "NONE"):
        assert name in parse_acls(of({"type": value})).lists


def test_all_six_paths_can_be_authorized() -> None:
    assert len(AUTHORIZABLE_PATHS) == 6
    entity: Any = {"values": sorted(AUTHORIZABLE_PATHS)}
    made = parse_acls({"get_endpoints": [{"principals": {"type": "ANY"}, "paths": entity}]})
    assert made.lists["get_endpoints"][0].objects.values == AUTHORIZABLE_PATHS
