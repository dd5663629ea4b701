# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containerizer.machine import DUTIES, Container, ContainerTable, State
from mesos_compat.base.errors import ContainerError, InvariantError
from mesos_compat.model.ids import ContainerId

A = ContainerId("a")
B = ContainerId("b", A)
ALLOWED = [
    (State.PROVISIONING, State.PREPARING),
    (State.PREPARING, State.ISOLATING),
    (State.ISOLATING, State.FETCHING),
    (State.FETCHING, State.RUNNING),
]


def container(container_id: ContainerId, state: State = State.RUNNING) -> Container:
    return Container(container_id, state, since=0.0)


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_every_pair_of_states(before: State, after: State) -> None:
    table = ContainerTable()
    one = container(A, before)
    table.add(one)
    destroying = after is State.DESTROYING and before is not State.DESTROYING
    if (before, after) in ALLOWED or destroying:
        assert table.enter(one, after, now=2.5) == 2.5
        assert (one.state, one.since) == (after, 2.5)
    else:
        with pytest.raises(InvariantError):
            table.enter(one, after, now=1.0)


def test_each_living_state_has_duties() -> None:
    assert set(DUTIES) == set(State) - {State.DESTROYING}
    assert not DUTIES[State.PROVISIONING].isolators


def test_parents_know_their_children() -> None:
    table = ContainerTable()
    outer, inner = container(A), container(B)
    with pytest.raises(InvariantError):
        table.add(inner)
    with pytest.raises(ContainerError, match=r"^Parent container a does not exist$"):
        table.parent_of_new(B)
    assert table.parent_of_new(A) is None
    table.add(outer)
    assert table.parent_of_new(B) is outer
    table.add(inner)
    with pytest.raises(InvariantError):
        table.add(container(B))
    assert outer.children == {B}
    table.check()
    table.enter(outer, State.DESTROYING, 1.0)
    with pytest.raises(ContainerError, match=r"^Parent container a is in 'DESTROYING' state$"):
        table.parent_of_new(ContainerId("c", A))
    with pytest.raises(InvariantError):
        table.remove(outer)
    table.enter(inner, State.DESTROYING, 1.0)
    table.remove(inner)
    table.remove(outer)
    assert len(table) == 0


def test_only_destroyed_containers_are_forgotten() -> None:
    table = ContainerTable()
    one = container(A)
    table.add(one)
    with pytest.raises(InvariantError):
        table.remove(one)


def test_standalone_counts_for_the_whole_tree() -> None:
    table = ContainerTable()
    outer = container(A)
    table.add(outer)
    assert not table.is_standalone(B)
    outer.standalone = True
    assert table.is_standalone(B)
    assert not table.is_standalone(ContainerId("x"))


def test_check_finds_contradictions() -> None:
    table = ContainerTable()
    outer, inner = container(A), container(B)
    table.add(outer)
    table.add(inner)
    outer.children.clear()
    with pytest.raises(InvariantError):
        table.check()
    outer.children.update({B, ContainerId("stray", A)})
    with pytest.raises(InvariantError):
        table.check()
    outer.children.remove(ContainerId("stray", A))
    table.check()
    inner.pid = 7
    with pytest.raises(InvariantError):
        table.check()


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_any_history_keeps_the_invariants(history: list[tuple[int, bool]]) -> None:
    ids = [A, B, ContainerId("c", B), ContainerId("d", A), ContainerId("e"), ContainerId("f", B)]
    table = ContainerTable()
    for index, add in history:
        known = table.get(ids[index])
        if add and known is None:
            try:
                table.parent_of_new(ids[index])
            except ContainerError:
                continue
            table.add(container(ids[index]))
        elif known is not None and not add:
            if known.state is not State.DESTROYING:
                table.enter(known, State.DESTROYING, 0.0)
            elif not known.children:
                table.remove(known)
        table.check()
