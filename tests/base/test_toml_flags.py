# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base import flags
from mesos_compat.base.errors import FlagError
from mesos_compat.base.flags import Flag, FlagSet
from mesos_compat.base.toml_flags import MAX_BYTES, read_toml

SET = FlagSet(
    "test",
    [
        Flag("config", flags.PATH, ""),
        Flag("work_dir", flags.PATH, ""),
        Flag("hostname", flags.STRING, ""),
        Flag("port", flags.UINT16, ""),
        Flag("ratio", flags.DOUBLE, ""),
        Flag("strict", flags.BOOL, ""),
        Flag("gc_delay", flags.DURATION, ""),
        Flag("size", flags.BYTES, ""),
        Flag("isolation", flags.NAMES, ""),
        Flag("plugins_dir", flags.PATHS, ""),
        Flag("gpus", flags.UINT_LIST, ""),
        Flag("attributes", flags.PAIRS, ""),
        Flag("resources", flags.PAIRS_OR_JSON, ""),
        Flag("acls", flags.JSON_OBJECT, ""),
        Flag("rules", flags.JSON_ARRAY, ""),
        Flag("subsystems", flags.NAMES, "", deprecated_aliases=("old_subsystems",)),
    ],
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flags.toml"


def read(path: Path, text: str) -> dict[str, str | None]:
    path.write_text(text, encoding="utf-8")
    found = read_toml(str(path), SET, ("gc", "net"), ("config",))
    assert {setting.origin for setting in found} <= {str(path)}
    return {setting.name: setting.value for setting in found}


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ('work_dir = "/w"', "work_dir", "/w"),
        ("port = 80", "port", "80"),
        ("ratio = 0.5", "ratio", "0.5"),
        ("ratio = 1", "ratio", "1"),
        ("strict = true", "strict", "true"),
        ("strict = false", "strict", "false"),
        ('gc_delay = "2days"', "gc_delay", "2days"),
        ('size = "2GB"', "size", "2GB"),
        ('isolation = ["a/b", "c"]', "isolation", "a/b,c"),
        ('isolation = "a/b,c"', "isolation", "a/b,c"),
        ("isolation = []", "isolation", ""),
        ('plugins_dir = ["/a", "/b"]', "plugins_dir", "/a:/b"),
        ("gpus = [0, 2]", "gpus", "0,2"),
        ('[attributes]\nrack = "r1"\nlevel = 2', "attributes", "rack:r1;level:2"),
        ('attributes = "rack:r1"', "attributes", "rack:r1"),
        (
            '[resources]\ncpus = 1.5\n"mem(a)" = 64\nports = "[1-9]"',
            "resources",
            "cpus:1.5;mem(a):64;ports:[1-9]",
        ),
        ('resources = [{name = "cpus"}]', "resources", '[{"name": "cpus"}]'),
        ('[acls]\npermissive = false\nx = [{y = "é"}]', "acls", '{"permissive": false, "x": '),
        ('acls = "file:///acls"', "acls", "file:///acls"),
        ("rules = [1]", "rules", "[1]"),
        ('old_subsystems = ["a"]', "old_subsystems", "a"),
        ('[gc]\ngc_delay = "1days"', "gc_delay", "1days"),
        ("[net]\nport = 1", "port", "1"),
    ],
)
def test_values(path: Path, text: str, name: str, value: str) -> None:
    found = read(path, text)
    assert found.keys() == {name}
    assert (found[name] or "").startswith(value)
    if name != "acls":
        assert found[name] == value
    loaded = SET.load([], layers=lambda values: [read_toml(str(path), SET, ("gc", "net"))])
    assert loaded.error is None or "/acls" in loaded.error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("prot = 1", "unknown flag 'prot'; did you mean 'port'?"),
        ("work-dir = 1", "unknown flag 'work-dir'; did you mean 'work_dir'?"),
        ("[gc]\nprot = 1", "unknown flag 'prot' in [gc]; did you mean 'port'?"),
        ("zzz = 1", "unknown flag 'zzz'"),
        ("[gcc]\nport = 1", "unknown section [gcc]; did you mean [gc]?"),
        ("[atributes]\nport = 1", "unknown section [atributes]; did you mean [attributes]?"),
        ("gc = 1", "unknown flag 'gc'"),
        ('config = "/x"', "'config' can not be set in a file"),
        ("port = 1\n[gc]\nport = 2", "'port' in [gc] stands there twice"),
        (
            'old_subsystems = ""\nsubsystems = ""',
            "'subsystems' stands there twice",
        ),
        ('port = "1"', "'port': expecting an integer, not a text"),
        ("port = true", "'port': expecting an integer, not true or false"),
        ('strict = "true"', "'strict': expecting true or false, not a text"),
        ("strict = 1", "'strict': expecting true or false, not an integer"),
        ("gc_delay = 5", "'gc_delay': expecting a text such as \"15secs\", not an integer"),
        ("size = 5", "'size': expecting a text such as \"2GB\", not an integer"),
        ("hostname = []", "'hostname': expecting a text, not an array"),
        ("hostname = 2020-01-01", "'hostname': expecting a text, not a date"),
        ("isolation = [1.5]", "'isolation': expecting texts in the array, not a number"),
        ('isolation = ["a,b"]', "'isolation': 'a,b' has a ',' in it: make it two elements"),
        ("attributes = []", "'attributes': expecting a table or a text, not an array"),
        ("attributes = {a = [1]}", "'attributes': expecting a text or a number for 'a', not an"),
        ('attributes = {a = "1;b:2"}', "'attributes': a semicolon or colon in 'a' would begin"),
        ("acls = {a = 2020-01-01}", "'acls': a date is nothing that JSON knows"),
        ("rules = [nan]", "'rules': Out of range float values are not JSON compliant"),
        ("port = ", "Invalid value"),
        ("port = 1\nport = 1", "Cannot overwrite a value"),
    ],
)
def test_what_is_wrong_is_said(path: Path, text: str, error: str) -> None:
    with pytest.raises(FlagError) as caught:
        read(path, text)
    assert str(caught.value).startswith(f"{path}: {error}")


def test_all_that_is_wrong_is_said_at_once(path: Path) -> None:
    with pytest.raises(FlagError) as caught:
        read(path, 'a = 1\nport = "x"\nstrict = true\n[b]\nc = 1')
    assert str(caught.value).count(f"{path}: ") == 3


def test_files_that_cannot_be_read(path: Path) -> None:
    with pytest.raises(FlagError, match=r"Failed to read --config .*: No such file"):
        read_toml(str(path), SET, ())
    path.write_bytes(b"\xff")
    with pytest.raises(FlagError, match="not UTF-8"):
        read_toml(str(path), SET, ())
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(FlagError, match="are no configuration"):
        read_toml(str(path), SET, ())
    path.write_text("rules = " + "[" * 100_000)
    with pytest.raises(FlagError, match=r"flags\.toml"):
        read_toml(str(path), SET, ())


@given(value=st.text(st.characters(codec="utf-8")))
def test_any_text_arrives_as_it_is(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    quoted = "".join(f"\\U{ord(letter):08X}" for letter in value)
    path = tmp_path_factory.getbasetemp() / "any.toml"
    assert read(path, f'hostname = "{quoted}"') == {"hostname": value}
