# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base.errors import WireError
from mesos_compat.model.resources import (
    EMPTY,
    Resources,
    downgrade,
    downgrade_all,
    parse_resources,
    resource_error,
    role_error,
    upgrade,
    upgrade_all,
)
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.internal.messages import messages_pb2 as internal

Reservation = pb.Resource.ReservationInfo


def volume(volume_id: str = "v", mb: float = 64, shared: bool = False) -> pb.Resource:
    made = Resources.parse(f"disk:{mb}").messages()[0]
    made.reservations.add(type=Reservation.DYNAMIC, role="r", principal="p")
    made.disk.persistence.id = volume_id
    made.disk.volume.container_path = "data"
    made.disk.volume.mode = pb.Volume.RW
    if shared:
        made.shared.SetInParent()
    return made


@st.composite
def resources(draw: st.DrawFn) -> Resources:
    parts = draw(
        st.lists(
            st.one_of(
                st.builds(
                    lambda name, role, n: f"{name}({role}):{n / 1000}",
                    st.sampled_from(["cpus", "mem"]),
                    st.sampled_from(["*", "a"]),
                    st.integers(0, 20),
                ),
                st.builds(
                    lambda a, b: f"ports:[{min(a, b)}-{max(a, b)}]",
                    st.integers(0, 30),
                    st.integers(0, 30),
                ),
                st.sets(st.sampled_from("xyz"), min_size=1).map(
                    lambda s: "names:{" + ",".join(s) + "}"
                ),
            ),
            max_size=5,
        )
    )
    made = EMPTY
    for part in parts:
        made += Resources.parse(part)
    if draw(st.booleans()):
        made += Resources.of([volume(draw(st.sampled_from("vw")), shared=draw(st.booleans()))])
    return made


def test_tenths_add_up() -> None:
    assert Resources.parse("cpus:0.1") + Resources.parse("cpus:0.2") == Resources.parse("cpus:0.3")
    assert (Resources.parse("cpus:0.3") - Resources.parse("cpus:0.1")).cpus == 0.2


@given(resources(), resources())
def test_sums_commute_and_contain_their_parts(a: Resources, b: Resources) -> None:
    assert a + b == b + a
    assert hash(a + b) == hash(b + a)
    assert (a + b).contains(a)
    assert (a + b).contains(b)
    assert a + EMPTY == a - EMPTY == a
    assert a - a == EMPTY


@given(resources(), resources(), resources())
def test_sums_associate(a: Resources, b: Resources, c: Resources) -> None:
    assert (a + b) + c == a + (b + c)


@given(resources(), resources())
def test_what_is_contained_can_be_taken_and_given_back(a: Resources, b: Resources) -> None:
    if a.contains(b):
        assert (a - b) + b == a
    if a.contains(b) and b.contains(a):
        assert a == b


@given(resources())
def test_messages_and_both_formats_read_back(a: Resources) -> None:
    assert Resources.of(a.messages()) == a
    assert Resources.of(a.downgraded()) == a


@given(resources())
def test_allocation_comes_and_goes(a: Resources) -> None:
    there = a.allocated("a")
    assert there.unallocated() == a
    assert there.allocations() == ({"a": there} if a else {})
    if a:
        assert not there.contains(a)


@given(resources(), resources())
def test_find_takes_only_what_is_there(a: Resources, b: Resources) -> None:
    found = a.find(b.nonshared())
    if found is not None:
        assert a.contains(found)
        assert found.to_unreserved() == b.nonshared().to_unreserved()


def test_find_prefers_the_roles_reservation() -> None:
    offer = Resources.parse("cpus(a):1;cpus:4;mem:10")
    assert offer.find(Resources.parse("cpus(a):2")) == Resources.parse("cpus(a):1;cpus:1")
    assert offer.find(Resources.parse("cpus:5")) == Resources.parse("cpus(a):1;cpus:4")
    assert offer.find(Resources.parse("cpus:6")) is None
    assert offer.find(Resources.parse("gpus:1")) is None
    ports = Resources.parse("ports:[1-10]")
    assert ports.find(Resources.parse("ports:[3-4]")) == Resources.parse("ports:[3-4]")


def test_zero_is_nothing_but_mentioned() -> None:
    assert not Resources.parse("cpus:0")
    assert [r.name for r in parse_resources("cpus:0;ports:[]")] == ["cpus", "ports"]


def test_text_form() -> None:
    made = Resources.parse("cpus:4; mem(web):1024;;ports:[1-2,3-4,8-9] ;names:{b,a};cpus:0.5")
    assert str(made) == (
        "cpus:4.5; mem(reservations: [(STATIC,web)]):1024; ports:[1-4, 8-9]; names:{a, b}"
    )
    assert str(EMPTY) == "{}"
    assert made.cpus == 4.5
    assert made.mem_bytes == 1024 << 20
    assert made.ports == ((1, 4), (8, 9))
    assert made.set("names") == frozenset("ab")
    assert made.gpus is None
    assert made.reserved("web") == Resources.parse("mem(web):1024")


def test_default_role_is_a_static_reservation() -> None:
    made = Resources.parse("cpus:1;mem(b):1", "a/b")
    assert [r.reservations[0].role for r in made] == ["a/b", "b"]
    text = '[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]'
    assert Resources.parse(text, "a/b") == Resources.parse("cpus(a/b):1")


def test_json_form_carries_disk_sources() -> None:
    text = """[{"name":"disk","type":"SCALAR","scalar":{"value":5},"role":"*",
                "disk":{"source":{"type":"MOUNT","mount":{"root":"/mnt/a"}}}},
               {"name":"disk","type":"SCALAR","scalar":{"value":5},
                "disk":{"source":{"type":"MOUNT","mount":{"root":"/mnt/a"}}}}]"""
    made = Resources.parse(text)
    assert len(made) == 2
    assert str(made) == "disk[MOUNT:/mnt/a]:5; disk[MOUNT:/mnt/a]:5"
    part = Resources.parse(text.replace('"value":5', '"value":2'))
    assert not made.contains(part)
    assert made - part == made


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cpus", "Bad value for resources, missing or extra ':' in cpus"),
        ("a:b:1", "Bad value for resources, missing or extra ':' in a:b:1"),
        ("cpus:x", "Bad type for resource cpus"),
        ("cpus(a:1", "mismatched parentheses"),
        ("cpus)a(:1", "mismatched parentheses"),
        ("cpus:-1", "value < 0"),
        ("cpus:0.0001", "less than 0.001"),
        ("cpus:1e400", "Invalid scalar"),
        ("a:1;a:[1-2]", r"Resources with the same name \('a'\) but different types are not"),
        ("cpus(-a):1", "role"),
        (":1", "Empty resource name"),
        ("[1]", "JSON object"),
        ("[{", "syntax error"),
        ('[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"revocable":{}}]', "Revocable"),
        (
            '[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"a","reservation":{}}]',
            "Dynamic",
        ),
        (
            '[{"name":"disk","type":"SCALAR","scalar":{"value":1},"role":"a",'
            '"disk":{"persistence":{"id":"x"}}}]',
            "Persistent",
        ),
        ('[{"name":"cpus","type":"RANGES","scalar":{"value":1}}]', "Invalid ranges resource"),
        ('[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"disk":{}}]', "DiskInfo"),
        ('[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"shared":{}}]', "shared"),
        ('[{"name":"cpus","type":"TEXT"}]', "Unsupported type"),
    ],
)
def test_bad_flags_are_refused(text: str, why: str) -> None:
    with pytest.raises(WireError, match=why):
        Resources.parse(text)


def test_shared_volumes_are_counted() -> None:
    one = Resources.of([volume(shared=True)])
    two = one + one
    assert len(two) == 1
    assert len(two.messages()) == 2
    assert two.contains(two)
    assert not one.contains(two)
    assert two - one == one
    assert one - one == EMPTY


def test_volumes_never_merge() -> None:
    made = Resources.of([volume("a"), volume("a"), volume("b")])
    assert len(made) == 3
    assert not made.contains(Resources.of([volume("a", mb=1)]))
    assert made.checkpointed() == made.persistent_volumes() == made


def test_checkpointed_resources_replace_their_origin() -> None:
    total = Resources.parse("disk:100;cpus(s):2")
    refined = Resources.parse("cpus(s):1").messages()[0]
    refined.reservations.add(type=Reservation.DYNAMIC, role="s/x")
    made = total.with_checkpointed(Resources.of([volume(mb=60), refined]))
    assert made.unreserved().disk_bytes == 40 << 20
    assert made == (Resources.parse("disk:40;cpus(s):1") + Resources.of([volume(mb=60), refined]))
    with pytest.raises(WireError, match=r"Incompatible agent resources: .* does not contain"):
        total.with_checkpointed(Resources.of([volume(mb=101)]))


def test_formats_of_reservations() -> None:
    old = pb.Resource(name="cpus", type=pb.Value.SCALAR, role="a")
    old.reservation.principal = "p"
    new = pb.Resource()
    new.CopyFrom(old)
    upgrade(new)
    assert not new.HasField("role")
    assert [(r.type, r.role, r.principal) for r in new.reservations] == [
        (Reservation.DYNAMIC, "a", "p")
    ]
    assert downgrade(new)
    assert new == old


def test_conversion_reaches_every_depth_and_stops_at_a_refined_one() -> None:
    message = internal.ReregisterSlaveMessage()
    task = message.tasks.add()
    for role in ("a", "b", "c"):
        task.resources.add(name="cpus", type=pb.Value.SCALAR, role=role)
    upgrade_all(message)
    assert [r.reservations[0].role for r in task.resources] == ["a", "b", "c"]
    task.resources[1].reservations.add(type=Reservation.DYNAMIC, role="b/x")
    assert not downgrade_all(message)
    assert [r.role for r in task.resources] == ["a", "*", "*"]
    assert len(task.resources[2].reservations) == 1


def test_reservations_must_refine() -> None:
    made = Resources.parse("cpus(a):1").messages()[0]
    made.reservations.add(type=Reservation.DYNAMIC, role="ab")
    assert resource_error(made) == "Invalid refined reservation: 'ab' is not below 'a'"
    made.reservations[1].role = "a/b"
    assert resource_error(made) is None
    made.reservations[1].type = Reservation.STATIC
    assert resource_error(made) is not None


@pytest.mark.parametrize("role", ["", "/a", "a/", "a//b", ".", "a/..", "a/*", "-a", "a b", "a\x7f"])
def test_bad_roles(role: str) -> None:
    assert role_error(role) is not None


@pytest.mark.parametrize("role", ["*", "a", "a/b-c", "a.b", "ä"])
def test_good_roles(role: str) -> None:
    assert role_error(role) is None
