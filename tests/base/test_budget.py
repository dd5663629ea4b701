# SPDX-License-Identifier: Apache-2.0
"""A bound on what all peers hold together."""

from mesos_compat.base.budget import Budget, Holding


def holdings(budget: Budget, count: int) -> tuple[list[Holding], list[int]]:
    """Return holdings, and a list of the numbers of those that were dropped."""
    dropped: list[int] = []

    def dropper(number: int) -> Holding:
        return budget.open(lambda: dropped.append(number))

    return [dropper(number) for number in range(count)], dropped


def test_who_asks_for_most_gets_nothing() -> None:
    budget = Budget(100)
    (one, two), dropped = holdings(budget, 2)
    assert one.resize(60)
    assert not two.resize(60)
    assert (one.size, two.size, budget.used) == (60, 0, 60)
    assert two.resize(40)
    assert dropped == []


def test_who_holds_most_makes_room_for_who_needs_less() -> None:
    budget = Budget(100)
    (one, two, three), dropped = holdings(budget, 3)
    assert one.resize(50)
    assert two.resize(45)
    assert three.resize(10)
    assert dropped == [0]
    assert (one.size, budget.used) == (0, 55)


def test_what_is_given_back_is_free_again() -> None:
    budget = Budget(100)
    (one, two), dropped = holdings(budget, 2)
    assert one.resize(100)
    assert one.resize(0)
    assert two.resize(100)
    assert (dropped, budget.used) == ([], 100)


def test_more_than_all_is_refused() -> None:
    budget = Budget(100)
    (one,), dropped = holdings(budget, 1)
    assert not one.resize(101)
    assert (dropped, budget.used) == ([], 0)
