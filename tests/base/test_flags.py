# SPDX-License-Identifier: Apache-2.0
"""Flags: the command line, the environment, values, display and help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base import flags as f
from mesos_compat.base.errors import FlagError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    help: bool = f.flag(f.BOOL, "Print this.", default=False)
    strict: bool = f.flag(f.BOOL, "Be strict.", default=True)
    port: int = f.flag(f.UINT16, "A port.", default=5051)
    wait: float = f.flag(f.DURATION, "A time.", default=60.0)
    size: int = f.flag(f.BYTES, "A size.", default=2 << 30)
    master: str | None = f.optional(f.PATH_OR_VALUE, "A master.")
    credential: str | None = f.optional(f.PATH, "A file.")
    env: Mapping[str, str] | None = f.optional(f.JSON_STRINGS, "Variables.")
    gpus: tuple[int, ...] | None = f.optional(f.UINT_LIST, "GPUs.")
    names: tuple[str, ...] | None = f.optional(f.STRING_SET, "Names.")
    agent_subsystems: str | None = f.optional(f.STRING, "x.", deprecated=("slave_subsystems",))
    ratio: float = f.flag(
        f.DOUBLE, "0 to 1.", default=0.1, check=lambda v: None if v <= 1 else "too much"
    )
    host: str = f.required(f.STRING, "A host.")


SET = f.FlagSet.of(Sample, "sample", about="An example.")


def load(*argv: str, env: Mapping[str, str] | None = None) -> f.LoadedFlags:
    return SET.load([*argv, "--host=h"], env)


def value(name: str, *argv: str, env: Mapping[str, str] | None = None) -> Any:
    loaded = load(*argv, env=env)
    assert loaded.error is None
    return loaded.values[name]


def test_values_and_defaults_become_the_dataclass() -> None:
    loaded = load("--port=80", " --wait=10secs ", "--no-strict", "--Size=1MB", "--names=a,b")
    loaded.raise_error()
    sample = loaded.into(Sample)
    assert sample == Sample(
        host="h", port=80, wait=10.0, strict=False, size=1 << 20, names=("a", "b")
    )
    assert loaded.given == {"port", "wait", "strict", "size", "names", "host"}


def test_the_value_is_all_after_the_first_equals_sign() -> None:
    assert value("master", "--master=a=b= c") == "a=b= c"


def test_words_are_ignored_and_named_in_a_warning() -> None:
    loaded = load("word", "-x")
    assert loaded.error is None
    assert loaded.warnings == [f"Ignored argument '{w}': it is no flag" for w in ("word", "-x")]


def test_two_dashes_end_the_flags() -> None:
    loaded = SET.load(["--host=h", "--", "--nonsense"])
    assert loaded.error is None


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["--work-dir=x"], "Failed to load unknown flag 'work-dir'"),
        (["--no-nonsense"], "Failed to load unknown flag 'nonsense' via 'no-nonsense'"),
        (["--port=1", "--port=1"], "Flag 'port' is already loaded via name 'port'"),
        (["--strict", "--no-strict"], "Flag 'strict' is already loaded via name 'strict'"),
        (
            ["--agent_subsystems=a", "--slave_subsystems=a"],
            "Flag 'slave_subsystems' is already loaded via name 'agent_subsystems'",
        ),
        (["--no-port"], "Failed to load non-boolean flag 'port' via 'no-port'"),
        (["--port"], "Failed to load non-boolean flag 'port': Missing value"),
        (
            ["--no-strict=true"],
            "Failed to load boolean flag 'strict' via 'no-strict' with value 'true'",
        ),
        (
            ["--strict=yes"],
            "Failed to load flag 'strict': Failed to load value 'yes': "
            "Expecting a boolean (e.g., true or false)",
        ),
        (
            ["--port=0x10"],
            "Failed to load flag 'port': Failed to load value '0x10': "
            "Failed to convert into required type",
        ),
        (
            ["--wait=10"],
            "Failed to load flag 'wait': Failed to load value '10': Invalid duration '10'",
        ),
        (
            ["--master=file:///does/not/exist"],
            "Failed to load flag 'master': "
            "Error reading file '/does/not/exist': No such file or directory",
        ),
        (
            ["--names=a,a"],
            "Failed to load flag 'names': Failed to load value 'a,a': Duplicate token: 'a'",
        ),
        (["--ratio=2"], "too much"),
    ],
)
def test_errors_are_upstreams(argv: list[str], error: str) -> None:
    assert load(*argv).error == error


def test_a_missing_required_flag() -> None:
    loaded = SET.load([])
    with pytest.raises(FlagError, match="Flag 'host' is required, but it was not provided"):
        loaded.raise_error()


@pytest.mark.parametrize("text", ["--strict", "--strict=", "--strict=1", "--strict=true"])
def test_true(text: str) -> None:
    assert value("strict", text) is True


@pytest.mark.parametrize("text", ["--no-strict", "--no-strict=", "--strict=0", "--strict=false"])
def test_false(text: str) -> None:
    assert value("strict", text) is False


@pytest.mark.parametrize(
    ("text", "number"), [("80", 80), (" 80", 80), ("+80", 80), ("-1", 65535), ("007", 7)]
)
def test_numbers_as_streams_read_them(text: str, number: int) -> None:
    assert value("port", f"--port={text}") == number


@pytest.mark.parametrize("text", ["", "80 0", "65536", "1e3", "٣", "9" * 5000])
def test_other_numbers_are_refused(text: str) -> None:
    assert load(f"--port={text}").error is not None


class TestEnvironment:
    def test_known_names_in_any_case_are_taken(self) -> None:
        assert value("port", env={"MESOS_PORT": "80"}) == 80
        assert value("port", env={"MESOS_port": "80"}) == 80
        assert value("strict", env={"MESOS_NO_STRICT": "", "MESOS_no-strict": ""}) is False

    def test_others_are_ignored(self) -> None:
        assert load(env={"MESOS_SLAVE_ID": "x", "mesos_port": "y", "PORT": "z"}).error is None

    def test_the_command_line_wins_by_identical_name_only(self) -> None:
        assert value("port", "--port=1", env={"MESOS_PORT": "2"}) == 1
        loaded = load("--no-strict", env={"MESOS_STRICT": "true"})
        assert loaded.error == "Flag 'strict' is already loaded via name 'strict'"
        loaded = load("--agent_subsystems=a", env={"MESOS_SLAVE_SUBSYSTEMS": "a"})
        assert loaded.error is not None
        assert "is already loaded via name" in loaded.error


class TestFiles:
    def test_content_is_taken_untrimmed(self, tmp_path: Path) -> None:
        file = tmp_path / "f"
        file.write_text("80\n")
        assert load(f"--port=file://{file}").error is not None
        file.write_text("80")
        assert value("port", f"--port=file://{file}") == 80

    def test_a_secure_flag_shows_the_path(self, tmp_path: Path) -> None:
        file = tmp_path / "master"
        file.write_text("host:5050\n")
        loaded = load(f"--master=file://{file}")
        assert loaded.values["master"] == "host:5050\n"
        assert loaded.display()["master"] == str(file)

    def test_a_path_is_not_read(self) -> None:
        assert value("credential", "--credential=file:///x/y") == "/x/y"
        assert value("credential", "--credential=/x/y") == "/x/y"

    def test_json_may_be_a_bare_path(self, tmp_path: Path) -> None:
        file = tmp_path / "env"
        file.write_text('{"A": "b"}')
        loaded = load(f"--env={file}")
        assert loaded.values["env"] == {"A": "b"}
        assert "deprecated" in loaded.warnings[0]


def test_deprecated_aliases_warn_and_are_displayed() -> None:
    loaded = load("--slave_subsystems=cpu")
    assert loaded.warnings == ["Loaded deprecated flag 'slave_subsystems'"]
    assert loaded.display()["slave_subsystems"] == "cpu"
    assert "agent_subsystems" not in loaded.display()


@pytest.mark.parametrize("text", ["[]", '{"A": 1}', "{", '{"A": NaN}', "[" * 100_000])
def test_bad_variables_are_refused(text: str) -> None:
    assert load(f"--env={text}").error is not None


def test_lists() -> None:
    assert value("gpus", "--gpus=1,0x2,3") == (1, 2, 3)
    assert load("--gpus=1,,3").error is not None


def test_display() -> None:
    assert load("--env={ }", "--wait=90secs").display() == {
        "env": "{}",
        "help": "false",
        "host": "h",
        "port": "5051",
        "ratio": "0.1",
        "size": "2GB",
        "strict": "true",
        "wait": "90secs",
    }


def test_defaults_of_the_machine_are_shown_and_used() -> None:
    loaded = SET.load(["--host=h"], defaults={"master": "auto"})
    assert loaded.display()["master"] == "auto"
    assert loaded.into(Sample).master == "auto"


def test_help_names_every_flag() -> None:
    text = SET.help()
    assert text.startswith("Usage: sample [options]\n\nAn example.\n")
    for name in SET.flags:
        assert f"--{name}=" in text or f"--[no-]{name}\n" in text
    assert "(default: 2GB)" in text
    assert "(required)" in text
    assert "slave_subsystems (deprecated)" in text
    assert max(map(len, text.splitlines())) <= 80


def test_help_is_loaded_before_a_later_error() -> None:
    loaded = load("--help", "--port=x")
    assert loaded.error is not None
    assert loaded.values["help"] is True
    assert load("--env=x", "--help").values["help"] is False


def test_a_name_is_declared_once() -> None:
    one = f.Flag("a", f.STRING, "x")
    with pytest.raises(ValueError, match="declared twice"):
        f.FlagSet("p", [one, f.Flag("b", f.STRING, "x", aliases=("a",))])


@given(
    st.integers(0, 65535),
    st.booleans(),
    st.integers(0, 10**9).map(lambda n: float(n)),
    st.dictionaries(st.text(), st.text()),
)
def test_what_is_displayed_loads_again(
    port: int, strict: bool, wait: float, env: dict[str, str]
) -> None:
    sample = Sample(host="h", port=port, strict=strict, wait=wait, env=env)
    loaded = SET.load(
        [
            f"--port={f.UINT16.show(port)}",
            f"--strict={f.BOOL.show(strict)}",
            f"--wait={f.DURATION.show(wait)}",
            f"--env={f.JSON_STRINGS.show(env)}",
            "--host=h",
        ]
    )
    loaded.raise_error()
    again = SET.load([f"--{name}={text}" for name, text in loaded.display().items()])
    again.raise_error()
    assert again.into(Sample).env == sample.env
    assert abs(again.into(Sample).wait - sample.wait) < 1e-3
    assert again.into(Sample).port == port
    assert again.into(Sample).strict == strict


@given(st.lists(st.text(max_size=20).map(lambda text: f"--{text}"), max_size=4))
def test_no_command_line_raises(argv: list[str]) -> None:
    SET.load(argv, {})
