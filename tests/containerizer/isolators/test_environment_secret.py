# SPDX-License-Identifier: Apache-2.0
"""Variables that are wrong, and secrets that become values."""

from __future__ import annotations

import asyncio

import pytest

from containerizer.isolators.environment_secret import EnvironmentSecretIsolator
from containerizer.merge import complete, merged
from containerizer.secrets import ForeignSecretResolver
from mesos_compat.base.errors import ContainerError, IsolatorError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

C = ContainerId("c")


class Vault:
    """Resolves references by name; one at a time would wait for ever."""

    def __init__(self, expected: int, **values: bytes) -> None:
        self.values = values
        self.waiting = asyncio.Barrier(expected)

    async def resolve(self, secret: pb.Secret) -> bytes:
        async with asyncio.timeout(60):
            await self.waiting.wait()
        try:
            return self.values[secret.reference.name]
        except KeyError:
            raise ContainerError(f"no secret {secret.reference.name}") from None


def config(**secrets: pb.Secret) -> slave.ContainerConfig:
    made = slave.ContainerConfig(directory="/sandbox")
    made.command_info.value = "true"
    made.command_info.environment.variables.add(name="A", value="1")
    for name, secret in secrets.items():
        variable = made.command_info.environment.variables.add(name=name)
        variable.type = pb.Environment.Variable.SECRET
        variable.secret.CopyFrom(secret)
    return made


def value(data: bytes) -> pb.Secret:
    return pb.Secret(type=pb.Secret.VALUE, value=pb.Secret.Value(data=data))


def reference(name: str) -> pb.Secret:
    return pb.Secret(type=pb.Secret.REFERENCE, reference=pb.Secret.Reference(name=name))


async def prepared(
    made: slave.ContainerConfig, isolator: EnvironmentSecretIsolator | None = None
) -> dict[str, str]:
    info = await (isolator or EnvironmentSecretIsolator()).prepare(C, made)
    assert info is not None
    assert info.HasField("environment")
    assert info.task_environment == info.environment
    return {variable.name: variable.value for variable in info.environment.variables}


async def test_values_are_resolved_by_default() -> None:
    assert await prepared(config()) == {}
    assert await prepared(config(S=value(b"hush"), T=value(b""))) == {"S": "hush", "T": ""}
    untyped = pb.Secret(value=pb.Secret.Value(data=b"x"))
    assert await prepared(config(S=untyped)) == {"S": "x"}
    with pytest.raises(IsolatorError) as caught:
        await prepared(config(S=reference("r")))
    assert str(caught.value) == "Collect failed: Default secret resolver cannot resolve references"
    with pytest.raises(IsolatorError, match=r"^Collect failed: Secret has no value$"):
        await prepared(config(S=pb.Secret()))


async def test_references_are_resolved_at_once() -> None:
    isolator = EnvironmentSecretIsolator(Vault(2, one=b"1", two=b"2"))
    made = config(S=reference("one"), T=reference("two"))
    assert await prepared(made, isolator) == {"S": "1", "T": "2"}
    with pytest.raises(IsolatorError, match=r"^Collect failed: no secret three$"):
        await prepared(config(S=reference("one"), T=reference("three")), isolator)


@pytest.mark.parametrize("data", [b"a\0b", b"\xff"])
async def test_values_that_no_environment_can_hold(data: bytes) -> None:
    isolator = EnvironmentSecretIsolator(Vault(1, bad=data))
    with pytest.raises(IsolatorError, match=r"^The secret of environment variable 'S' "):
        await prepared(config(S=reference("bad")), isolator)


async def test_a_value_of_the_same_name_wins() -> None:
    made = config(S=value(b"hush"), B=value(b"b"))
    made.command_info.environment.variables.add(name="S", value="plain")
    info = await EnvironmentSecretIsolator().prepare(C, made)
    assert info is not None
    final = complete(merged([info]), made, {"B": "agent"}, "/mnt")
    last = {variable.name: variable.value for variable in final.environment.variables}
    assert (last["S"], last["B"], last["A"]) == ("plain", "b", "1")


INVALID = "Environment variable 'V' of type 'SECRET' specifies a"
BOTH = pb.Secret(value=pb.Secret.Value(data=b"x"), reference=pb.Secret.Reference(name="r"))


def typed(secret: pb.Secret, kind: pb.Secret.Type) -> pb.Secret:
    made = pb.Secret()
    made.CopyFrom(secret)
    made.type = kind
    return made


@pytest.mark.parametrize(
    ("kind", "text", "secret", "refusal"),
    [
        ("VALUE", None, None, "Environment variable 'V' of type 'VALUE' must have a value set"),
        (
            "VALUE",
            "x",
            value(b"x"),
            "Environment variable 'V' of type 'VALUE' must not have a secret set",
        ),
        ("SECRET", None, None, "Environment variable 'V' of type 'SECRET' must have a secret set"),
        (
            "SECRET",
            "x",
            value(b"x"),
            "Environment variable 'V' of type 'SECRET' must not have a value set",
        ),
        ("UNKNOWN", "x", None, "Environment variable of type 'UNKNOWN' is not allowed"),
        (
            "SECRET",
            None,
            value(b"a\0"),
            f"{INVALID} secret containing null bytes, which is not allowed in the environment",
        ),
        (
            "SECRET",
            None,
            typed(value(b""), pb.Secret.REFERENCE),
            f"{INVALID}n invalid secret: Secret of type REFERENCE must have the 'reference' field"
            " set",
        ),
        (
            "SECRET",
            None,
            typed(BOTH, pb.Secret.REFERENCE),
            f"{INVALID}n invalid secret: Secret 'r' of type REFERENCE must not have the 'value'"
            " field set",
        ),
        (
            "SECRET",
            None,
            typed(reference("r"), pb.Secret.VALUE),
            f"{INVALID}n invalid secret: Secret of type VALUE must have the 'value' field set",
        ),
        (
            "SECRET",
            None,
            typed(BOTH, pb.Secret.VALUE),
            f"{INVALID}n invalid secret: Secret of type VALUE must not have the 'reference' field"
            " set",
        ),
    ],
)
async def test_invalid_variables(
    kind: str, text: str | None, secret: pb.Secret | None, refusal: str
) -> None:
    made = slave.ContainerConfig()
    variable = made.command_info.environment.variables.add(name="V", value=text, type=kind)
    if secret is not None:
        variable.secret.CopyFrom(secret)
    with pytest.raises(IsolatorError) as caught:
        await EnvironmentSecretIsolator().prepare(C, made)
    assert str(caught.value) == f"Invalid environment specified: {refusal}"


class StrangeResolver:
    """Answers with whatever it is told to."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def resolve(self, secret: pb.Secret) -> bytes:
        secret.Clear()
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.get_running_loop().create_future()
        return self.answer  # type: ignore[return-value]  # that is the point


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (ContainerError("not for you"), "not for you"),
        (ValueError("hush"), "Secret resolver 'v' broke: ValueError"),
        ("text", "Secret resolver 'v' broke: it returned str"),
        (None, "Secret resolver 'v' did not answer within 0.01 s"),
    ],
)
async def test_foreign_resolvers_may_do_anything(
    answer: object, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    resolver = ForeignSecretResolver("v", StrangeResolver(answer), limit_s=0.01)
    asked = reference("r")
    with pytest.raises(ContainerError) as caught:
        await resolver.resolve(asked)
    assert str(caught.value) == text
    assert asked == reference("r")
    assert "hush" not in caplog.text
