# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest

from mesos_compat.base.errors import FlagError
from mesos_compat.simulate.options import Options, fill, load, make_options
from mesos_compat.simulate.script import Delay, Script


def test_templates() -> None:
    assert fill("a:{index};b:r{index/20};c:{index%7};{ip}", 45, "127.0.0.9") == (
        "a:45;b:r2;c:3;127.0.0.9"
    )
    assert fill("{index} {other} {index.__class__}", 1, "") == "1 {other} {index.__class__}"
    with pytest.raises(FlagError, match="divides by zero"):
        fill("{index%0}", 1, "")


def test_a_file_describes_a_simulation(tmp_path: Path) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(
        """
        agents = 12
        seed = 7
        start_rate = 3
        script = "RUNNING:1s"
        fail = 0.25
        [[rule]]
        name = "web-*"
        kill = "never"
        [faults]
        per_minute = 2
        kinds = ["cut", "crash"]
        away = "1s..2s"
        """
    )
    made = make_options(load(str(path)), ("--quiet",))
    assert (made.agents, made.seed, made.start_rate) == (12, "7", 3.0)
    assert made.agent_flags == ("--quiet",)
    assert made.rules.default.script == Script.parse("RUNNING:1s")
    assert made.rules.rules[0].behaviour.kill is None
    assert made.rules.rules[0].behaviour.fail == 0.25
    assert made.faults.kinds == ("cut", "crash")
    assert made.faults.away == Delay(1, 2)


@pytest.mark.parametrize(
    "values",
    [
        {"agents": 0},
        {"agents": "7"},
        {"agents": True},
        {"agent": 1},
        {"rules": 1},
        {"agent_flags": ["--x"]},
        {"script": "NO"},
        {"script": 1},
        {"fail": 2},
        {"rule": {"name": "x"}},
        {"rule": [{"nam": "x"}]},
        {"faults": {"kinds": ["fire"]}},
        {"faults": {"per_minute": -1}},
        {"faults": {"often": 1}},
        {"faults": 3},
        {"resources": "cpus:{index/0}"},
        {"start_rate": 0},
    ],
)
def test_what_is_no_option_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(FlagError):
        make_options(values)


def test_nothing_given() -> None:
    assert make_options({}) == Options()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FlagError, match=r"no\.toml"):
        load(str(tmp_path / "no.toml"))
    (tmp_path / "bad.toml").write_text("=")
    with pytest.raises(FlagError, match="no TOML"):
        load(str(tmp_path / "bad.toml"))
