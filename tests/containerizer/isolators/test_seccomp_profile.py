# SPDX-License-Identifier: Apache-2.0
"""Seccomp profiles: what is read, what is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import containerizer
from containerizer.init.spec import LaunchSpec
from containerizer.isolators import seccomp_profile
from containerizer.linux import caps, seccomp
from containerizer.linux.seccomp import Comparison, Profile, Rule, SeccompError
from mesos_compat.model import jsonpb

EXAMPLES = Path(containerizer.__file__).parent.parent / "docs" / "examples" / "seccomp"
NATIVE = seccomp.native_architecture()
ADMIN = caps.mask(["SYS_ADMIN"])


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **more: object) -> dict[str, object]:
    empty: dict[str, object] = {"args": [], "includes": {}, "excludes": {}}
    return {"names": list(names), "action": action, **empty, **more}


def profile(*rules: object, **more: object) -> dict[str, object]:
    made: dict[str, object] = {"defaultAction": "SCMP_ACT_ERRNO", "archMap": []}
    return {**made, "syscalls": list(rules), **more}


def parse(document: object) -> Profile:
    return seccomp_profile.parse(json.dumps(document))


def comparison(**more: object) -> dict[str, object]:
    return {"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_EQ", **more}


def test_all_of_a_profile() -> None:
    document = profile(
        rule("read", "write"),
        rule(
            "clone",
            action="SCMP_ACT_TRAP",
            args=[comparison(op="SCMP_CMP_MASKED_EQ", value=2**64 - 1, valueTwo=7)],
            includes={"caps": ["CAP_SYS_ADMIN"]},
            excludes={"caps": ["CAP_KILL"]},
        ),
        archMap=[
            {
                "architecture": f"SCMP_{NATIVE}",
                "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_RISCV64"],
            },
            {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None},
        ],
    )
    made = parse(document)
    assert made == Profile(
        "ACT_ERRNO",
        architectures=("ARCH_X86", NATIVE),
        rules=(
            Rule(("read", "write"), "ACT_ALLOW"),
            Rule(
                ("clone",),
                "ACT_TRAP",
                (Comparison(0, "CMP_MASKED_EQ", 2**64 - 1, 7),),
                includes=ADMIN,
                excludes=caps.mask(["KILL"]),
            ),
        ),
    )
    # What the init of another agent reads is the same.
    text = jsonpb.print_message(seccomp_profile.message(made))
    info = {"command": {"value": "true"}, "seccomp_profile": json.loads(text)}
    assert LaunchSpec.of(info).seccomp_profile == made


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.name)
def test_examples(path: Path) -> None:
    made = seccomp_profile.parse(path.read_bytes())
    # Names are looked up one by one by Debian's oldest libseccomp that we run with.
    assert len(made.rules) == len(json.loads(path.read_text())["syscalls"])
    assert seccomp.translate(made, 0)


def test_what_profiles_of_today_have() -> None:
    made = parse(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 1,
            "architectures": [f"SCMP_{NATIVE}", "SCMP_ARCH_X32"],
            "syscalls": [
                {"names": ["read", "no_such_call_yet"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["no_such_call_yet"], "action": "SCMP_ACT_ALLOW"},
                {
                    "names": ["clone3"],
                    "action": "SCMP_ACT_ALLOW",
                    "includes": {"caps": ["CAP_SYS_ADMIN"]},
                },
                {
                    "names": ["clone3"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 38,
                    "excludes": {"caps": ["CAP_SYS_ADMIN"]},
                },
                {
                    "names": ["socket"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}],
                },
                {
                    "names": ["ptrace"],
                    "action": "SCMP_ACT_ALLOW",
                    "includes": {"minKernel": "4.8"},
                },
                {
                    "names": ["bpf"],
                    "action": "SCMP_ACT_ALLOW",
                    "includes": {"minKernel": "1000.0"},
                },
            ],
        }
    )
    assert made.architectures == (NATIVE, "ARCH_X32")
    assert [(one.names, one.errno) for one in made.rules] == [
        (("read",), 1),
        (("clone3",), 1),
        (("clone3",), 38),
        (("socket",), 1),
        (("ptrace",), 1),
    ]
    assert [one.holds(ADMIN) for one in made.rules[1:3]] == [True, False]
    assert [one.holds(0) for one in made.rules[1:3]] == [False, True]
    assert seccomp.translate(made, 0) != seccomp.translate(made, ADMIN)


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        ({"includes": {"arches": ["amd64", "arm64"]}}, True),
        ({"includes": {"arches": ["s390x"]}}, False),
        ({"includes": {"arches": ["riscv64"]}}, False),
        ({"excludes": {"arches": ["amd64", "arm64"]}}, False),
        ({"excludes": {"arches": ["s390x", "ppc64le"]}}, True),
    ],
)
def test_rules_of_architectures(conditions: dict[str, object], kept: bool) -> None:
    if NATIVE not in ("ARCH_X86_64", "ARCH_AARCH64"):
        pytest.skip("an architecture that the test has no names for")
    assert bool(parse(profile({**rule("read"), **conditions})).rules) == kept


MISSING = "Cannot determine '%s' %s: Not found"


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ([], "not a JSON object"),
        ({}, MISSING % ("defaultAction", "for the Seccomp configuration")),
        (
            {"defaultAction": "SCMP_ACT_KILL"},
            MISSING % ("archMap", "for the Seccomp configuration"),
        ),
        (
            {"defaultAction": "SCMP_ACT_KILL", "archMap": []},
            MISSING % ("syscalls", "for the Seccomp configuration"),
        ),
        (profile(defaultAction=1), "Cannot determine 'defaultAction'"),
        (profile(defaultAction="SCMP_ACT_LOG"), "Unknown syscall action: 'SCMP_ACT_LOG'"),
        (profile(defaultAction="ACT_KILL"), "Unexpected syscall action: 'ACT_KILL'"),
        (profile(defaultErrnoRet=4096), "'defaultErrnoRet' is out of range: 4096"),
        (profile(defaultErrnoRet="1"), "'defaultErrnoRet' is not a whole number"),
        (profile(archMap={}), "Cannot determine 'archMap'"),
        (profile(archMap=[1]), "'archMap' has something that is not an object"),
        (profile(archMap=[{}]), "Cannot determine 'architecture'"),
        (profile(archMap=[{"architecture": "x"}]), "Unknown architecture: 'x'"),
        (
            profile(archMap=[{"architecture": f"SCMP_{NATIVE}"}]),
            MISSING % ("subArchitectures", "field for 'archMap' item"),
        ),
        (
            profile(archMap=[{"architecture": f"SCMP_{NATIVE}", "subArchitectures": ["amd64"]}]),
            "Unknown architecture: 'amd64'",
        ),
        (profile(1), "'syscalls' has something that is not an object"),
        (profile(syscalls={}), "Cannot determine 'syscalls'"),
        (profile({"names": ["read"]}), MISSING % ("action", "field for 'syscalls' item")),
        (
            profile({"action": "SCMP_ACT_ALLOW"}),
            MISSING % ("names", "field for 'syscalls' item"),
        ),
        (profile(rule()), "names list is empty"),
        (profile(rule("read", names=[1])), "'names' has something that is not a string"),
        (profile(rule("read", action="SCMP_ACT_NOTIFY")), "Unknown syscall action"),
        (profile(rule("read", action="x")), "Unexpected syscall action: 'x'"),
        (profile(rule("no_such", action="SCMP_ACT_KILL")), "Unrecognized syscall 'no_such'"),
        (
            profile(rule("no_such"), defaultAction="SCMP_ACT_ALLOW"),
            "Unrecognized syscall 'no_such'",
        ),
        (profile(rule("read", errnoRet=-1)), "'errnoRet' is out of range: -1"),
        (profile(rule("read", errnoRet=True)), "'errnoRet' is not a whole number"),
        (profile(rule("read", includes=[])), "Cannot determine 'includes'"),
        (profile(rule("read", includes={"caps": "CAP_KILL"})), "'caps' is not an array"),
        (profile(rule("read", includes={"caps": ["KILL"]})), "Unexpected capability: 'KILL'"),
        (profile(rule("read", excludes={"caps": ["CAP_X"]})), "Unknown capability: 'CAP_X'"),
        (profile(rule("read", includes={"arches": ["x86_64"]})), "Unknown architecture: 'x86_64'"),
        (profile(rule("read", includes={"minKernel": "x"})), "'minKernel' is not a version"),
        (profile(rule("read", args={})), "Cannot determine 'args'"),
        (profile(rule("read", args=[1])), "'args' has something that is not an object"),
        (profile(rule("read", args=[{}])), MISSING % ("op", "field for 'args' item")),
        (
            profile(rule("read", args=[{"op": "SCMP_CMP_EQ"}])),
            MISSING % ("index", "field for 'args' item"),
        ),
        (profile(rule("read", args=[comparison(op="EQ")])), "argument operator: 'EQ'"),
        (profile(rule("read", args=[comparison(index=6)])), "'index' is out of range: 6"),
        (profile(rule("read", args=[comparison(value=2**64)])), "'value' is out of range"),
        (profile(rule("read", args=[comparison(value=-1)])), "'value' is out of range"),
        (profile(rule("read", args=[comparison(value=1.5)])), "'value' is not a whole number"),
        (profile(rule("read", args=[comparison(valueTwo="1")])), "'valueTwo' is not a whole"),
        (
            profile(
                rule("read", args=[comparison()]),
                rule("read", args=[comparison()], action="SCMP_ACT_KILL"),
            ),
            "Failed to add rule for syscall 'read' with action 'ACT_KILL': File exists",
        ),
        (
            profile(rule("read", action="SCMP_ACT_ERRNO")),
            "Failed to add rule for syscall 'read' with action 'ACT_ERRNO': Permission denied",
        ),
        (
            profile(rule("read", args=[comparison(), comparison(value=2)])),
            "Failed to add rule for syscall 'read' with action 'ACT_ALLOW': Invalid argument",
        ),
    ],
)
def test_what_is_no_profile(document: object, error: str) -> None:
    with pytest.raises(SeccompError) as caught:
        parse(document)
    assert error in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff", '{"defaultAction": "\\ud800"}'])
def test_what_is_no_json(text: bytes | str) -> None:
    with pytest.raises(SeccompError):
        seccomp_profile.parse(text)


_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "defaultAction": st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"]) | _JSON,
            "archMap": st.just([]) | _JSON,
            "syscalls": st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "names": st.just(["read"]) | _JSON,
                        "action": st.just("SCMP_ACT_KILL") | _JSON,
                        "args": _JSON,
                        "includes": _JSON,
                        "excludes": _JSON,
                        "errnoRet": _JSON,
                    },
                ),
                max_size=2,
            )
            | _JSON,
        },
    )
)
def test_whatever_is_written_it_is_a_profile_or_an_error(document: dict[str, object]) -> None:
    with contextlib.suppress(SeccompError):
        assert parse(document).default_action in seccomp.ACTIONS


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "LIBRARY", "libnosuch.so.2")
    seccomp._library.cache_clear()
    try:
        with pytest.raises(SeccompError, match="Debian package libseccomp2"):
            seccomp.native_architecture()
    finally:
        seccomp._library.cache_clear()
