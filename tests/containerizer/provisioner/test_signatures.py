# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from containerizer.provisioner.signatures import MAX_BYTES, dearmoured, trusted_keys, verify
from mesos_compat.base.errors import ProvisionError
from tests.suites.openpgp import Signer, needs_gpg

pytestmark = needs_gpg


@pytest.fixture(scope="module")
def signers() -> Iterator[tuple[Signer, Signer]]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        both = Signer(Path(folder, "a"), "alice"), Signer(Path(folder, "b"), "bob")
        yield both
        for each in both:
            each.close()


async def checked(tmp_path: Path, data: bytes, signature: bytes, keys: list[bytes]) -> str:
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=False)
    (tmp_path / "image").write_bytes(data)
    (tmp_path / "image.asc").write_bytes(signature)
    image = str(tmp_path / "image")
    return await verify(image, f"{image}.asc", keys, str(scratch))


def signed(tmp_path: Path, signer: Signer, data: bytes) -> bytes:
    (tmp_path / "signed").write_bytes(data)
    return signer.sign(tmp_path / "signed")


@pytest.mark.parametrize("armour", [True, False])
async def test_good(tmp_path: Path, signers: tuple[Signer, Signer], armour: bool) -> None:
    alice, bob = signers
    signature = signed(tmp_path, alice, b"data")
    keys = [bob.key(armour=armour), alice.key(armour=armour)]
    fingerprint = await checked(tmp_path, b"data", signature, keys)
    assert len(fingerprint) == 40


async def test_bad(tmp_path: Path, signers: tuple[Signer, Signer]) -> None:
    alice, bob = signers
    signature = signed(tmp_path, alice, b"data")
    for number, (data, text, keys) in enumerate(
        [
            (b"other data", signature, [alice.key()]),
            (b"data", signature, [bob.key()]),
            (b"data", b"no signature", [alice.key()]),
            (b"data", b"", [alice.key()]),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(ProvisionError, match="its signature is not good: "):
            await checked(folder, data, text, keys)
    (tmp_path / "none").mkdir()
    with pytest.raises(ProvisionError, match="no trusted key"):
        await checked(tmp_path / "none", b"data", signature, [])


def test_damaged_keys(signers: tuple[Signer, Signer]) -> None:
    key = signers[0].key()
    assert dearmoured(key) == signers[0].key(armour=False)
    assert dearmoured(key + key) == 2 * signers[0].key(armour=False)
    for broken in (key[:100], key.replace(b"END PGP", b"END XXX"), key[:200] + b"!" + key[200:]):
        with pytest.raises(ProvisionError, match="A key is damaged"):
            dearmoured(broken)


@pytest.mark.parametrize("filling", [b"\n", b" ", b"a\n", b"=\n", b"-----BEGIN PGP "])
def test_large_keys_without_an_end(filling: bytes) -> None:
    """Nothing is looked at again and again: that would take the rest of the day."""
    begin = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"
    with pytest.raises(ProvisionError, match="there is no block"):
        dearmoured(begin + filling * (MAX_BYTES // len(filling)) + b"!")


def test_headers_and_checksum_are_left_out() -> None:
    begin, end = (f"-----{each} PGP PUBLIC KEY BLOCK-----" for each in ("BEGIN", "END"))
    for middle in (
        "\n\nYWJj\nZA==\n=abcd\n",
        "\r\nVersion: 1\r\n\r\nYWJjZA==\r\n",
        "\n \nYWJjZA==\n",
    ):
        assert dearmoured(f"x\n{begin}{middle}{end}\n".encode()) == b"abcd"


def test_directories(tmp_path: Path) -> None:
    places = [
        "any",
        "root.d/root",
        "prefix.d/example.com/host",
        "prefix.d/example.com,a/comma",
        "prefix.d/example.com/a/b/slash",
        "prefix.d/example.com,a,x/other",
        "prefix.d/example/part",
    ]
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(place.rpartition("/")[2])
    (tmp_path / "large").write_bytes(b"x" * ((1 << 20) + 1))
    (tmp_path / ".hidden").write_text("x")

    def found(name: str) -> list[bytes]:
        return trusted_keys(str(tmp_path), name)

    assert found("example.com/a/b") == [b"any", b"root", b"host", b"comma", b"slash"]
    assert found("other.org") == [b"any", b"root"]
    assert found("example.com/../example.com,a") == [b"any", b"root", b"host"]
    assert found("/") == [b"any", b"root"]
