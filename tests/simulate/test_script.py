# SPDX-License-Identifier: Apache-2.0
from random import Random

import pytest

from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.simulate.script import (
    EXIT,
    Behaviour,
    Delay,
    Rules,
    Script,
    ScriptError,
    TaskRule,
    parse_kill,
)


def test_a_script_is_states_with_the_time_before_each() -> None:
    made = Script.parse("TASK_STARTING:0, running:10ms,TASK_FINISHED:1.5s..2mins")
    assert [(step.state, step.delay) for step in made.steps] == [
        (pb.TASK_STARTING, Delay(0, 0)),
        (pb.TASK_RUNNING, Delay(0.01, 0.01)),
        (pb.TASK_FINISHED, Delay(1.5, 120.0)),
    ]
    assert Script.parse("TASK_RUNNING,EXIT:1h").steps[1].state == EXIT


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "0 states"),
        ("RUNNING:1", "no unit"),
        ("RUNNING:-1s", "no time"),
        ("RUNNING:1.2.3s", "Invalid duration"),
        ("RUNNING:1 fortnight", "no time"),
        ("RUNNING:5s..1s", "ends before"),
        ("TASK_STAGING:0", "none of the states"),
        ("TASK_UNREACHABLE:0", "none of the states"),
        ("FINISHED:0,RUNNING:0", "goes on after FINISHED"),
        ("EXIT:0,RUNNING:0", "goes on after EXIT"),
        (",".join(["RUNNING"] * 101), "101 states"),
    ],
)
def test_what_is_no_script_says_why(text: str, why: str) -> None:
    with pytest.raises(ScriptError, match=why):
        Script.parse(text)


def test_the_same_draw_plays_the_same() -> None:
    made = Behaviour(Script.parse("RUNNING:1s..9s,FINISHED:1s..9s"), fail=0.5)
    assert made.play(Random("a")) == made.play(Random("a"))
    played = [made.play(Random(number)) for number in range(400)]
    failed = sum(states[-1][0] == pb.TASK_FAILED for states in played)
    assert 100 < failed < 300
    assert all(1 <= delay <= 9 for states in played for _, delay in states)


def test_a_task_that_never_ends_does_not_fail_either() -> None:
    made = Behaviour(Script.parse("RUNNING:0"), fail=1.0)
    assert made.play(Random(1)) == [(pb.TASK_RUNNING, 0.0)]


def test_rules_and_what_a_task_says() -> None:
    base = Behaviour(Script.parse("FINISHED"))
    web = Behaviour(Script.parse("RUNNING"), kill=None)
    rules = Rules(base, (TaskRule(web, name="web-*"), TaskRule(base, command="sleep *")))
    assert rules.behaviour("web-1", "x", {}) is web
    assert rules.behaviour("batch", "sleep 5", {}) is base
    said = rules.behaviour("web-1", "simulate RUNNING:1s,FAILED:2s", {"simulate.kill": "2s"})
    assert said == Behaviour(Script.parse("RUNNING:1s,FAILED:2s"), kill=Delay(2, 2))
    assert rules.behaviour("b", "", {"simulate.fail": "0.5"}).fail == 0.5
    labels = {"simulate.script": "LOST"}
    assert rules.behaviour("b", "simulate RUNNING", labels).script == Script.parse("LOST")
    for labels in ({"simulate.script": "?"}, {"simulate.fail": "2"}, {"simulate.kill": "now"}):
        with pytest.raises(ScriptError):
            rules.behaviour("b", "", labels)


def test_kill() -> None:
    assert parse_kill("never") is None
    assert parse_kill("1s") == Delay(1, 1)
