# SPDX-License-Identifier: Apache-2.0
import os
import platform
from pathlib import Path

import pytest

from mesos_compat.realmaster import run
from mesos_compat.realmaster.errors import HostUnusable
from tests.realmaster.elf import Shape, build


def test_another_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(HostUnusable, match=r"Linux on x86_64.*aarch64"):
        run.check_host()


def test_another_libc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def confstr(name: str | int) -> str | None:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(os, "confstr", confstr)
    with pytest.raises(HostUnusable, match="GNU libc"):
        run.check_host()


def test_every_missing_library_is_named_with_its_package(tmp_path: Path) -> None:
    library = tmp_path / "lib.so"
    missing = ["libevent-9.9.so.7", "libnone.so.1"]
    library.write_bytes(build(Shape(needed=["libc.so.6", *missing], versions={"libc.so.6": [2]})))
    with pytest.raises(HostUnusable) as caught:
        run.load(str(library))
    text = str(caught.value)
    assert "libc.so.6" not in text
    assert all(name in text for name in missing)


def test_the_message_names_debian_packages() -> None:
    text = run.missing_text(["libsasl2.so.2", "libevent_openssl-2.1.so.7", "libodd.so"])
    assert "  libsasl2.so.2: libsasl2-2" in text
    assert "  libevent_openssl-2.1.so.7: libevent-openssl-2.1-7" in text
    assert "  libodd.so: unknown package" in text


def test_authentication_without_plug_in_is_warned_of(tmp_path: Path) -> None:
    assert "libsasl2-modules" in (run.sasl_warning([str(tmp_path)]) or "")
    (tmp_path / "libcrammd5.so").touch()
    assert run.sasl_warning([str(tmp_path / "none"), str(tmp_path)]) is None
