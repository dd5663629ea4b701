# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from mesos_compat.executor.kill import Kin, draw, family

OWN = Kin(pid=10, parent=1, group=10, session=10)


def _people(*kin: Kin) -> dict[int, Kin]:
    return {k.pid: k for k in (OWN, Kin(1, 0, 1, 1), *kin)}


def test_descendants_groups_and_sessions_belong_to_the_task() -> None:
    everybody = _people(
        Kin(20, 10, 20, 20),
        Kin(21, 20, 21, 20),
        Kin(22, 1, 21, 20),  # orphan in the group of 21
        Kin(23, 1, 99, 20),  # orphan in the session
        Kin(24, 22, 24, 24),  # child of an orphan, own session
        Kin(30, 1, 30, 30),  # a stranger
    )
    assert sorted(family(20, OWN, everybody)) == [20, 21, 22, 23, 24]


def test_the_executor_and_its_company_never_do() -> None:
    everybody = _people(
        Kin(20, 10, 20, 20),
        Kin(21, 20, 10, 10),  # went into the executor's group
        Kin(11, 1, 10, 10),
    )
    assert sorted(family(20, OWN, everybody)) == [20, 21]


def test_a_task_that_shares_the_executors_terminal() -> None:
    everybody = _people(Kin(20, 10, 10, 10), Kin(21, 20, 10, 10), Kin(11, 10, 10, 10))
    assert sorted(family(20, OWN, everybody)) == [20, 21]


def test_members_are_found_when_the_root_is_gone() -> None:
    everybody = _people(Kin(21, 1, 20, 20), Kin(22, 21, 22, 22))
    assert sorted(family(20, OWN, everybody)) == [21, 22]


def test_the_drawing_is_upstreams() -> None:
    members = _people(
        Kin(20, 10, 20, 20),
        Kin(21, 20, 20, 20),
        Kin(22, 21, 20, 20),
        Kin(23, 20, 20, 20),
        Kin(40, 1, 20, 20),
    )
    del members[1], members[10]
    commands = {pid: f"c{pid} " for pid in members}
    assert draw(20, members, commands) == (
        "[ \n-+- 20 c20 \n |-+- 21 c21 \n | \\--- 22 c22 \n \\--- 23 c23  \n--- 40 c40 \n]"
    )
    assert draw(20, {}, {}) == "[ \n--- 20 \n]"
