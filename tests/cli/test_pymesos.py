# SPDX-License-Identifier: Apache-2.0
import base64
import hashlib
import io
import tarfile
import zipfile

import pytest

from mesos_compat.cli.pymesos import pure_wheel
from mesos_compat.realmaster.errors import FileUnusable

NAMES = [
    *(f"http_parser/{name}.py" for name in ("__init__", "_socketio", "http", "pyparser")),
    "http_parser/reader.py",
    "http_parser/util.py",
    "LICENSE",
    "NOTICE",
]


def sdist(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in [*names, "http_parser/parser.c", "setup.py"]:
            member = tarfile.TarInfo(f"http-parser-0.9.0/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


def test_the_wheel_holds_the_plain_python_files_and_a_true_record() -> None:
    with zipfile.ZipFile(io.BytesIO(pure_wheel(sdist(NAMES)))) as wheel:
        names = wheel.namelist()
        assert {name for name in names if name.startswith("http_parser/")} == set(NAMES[:6])
        assert wheel.read("http_parser/http.py") == b"http_parser/http.py"
        info = "http_parser-0.9.0.dist-info"
        assert b"Name: http-parser\nVersion: 0.9.0\n" in wheel.read(f"{info}/METADATA")
        rows = [row.split(",") for row in wheel.read(f"{info}/RECORD").decode().splitlines()]
        assert [row[0] for row in rows] == names
        for name, digest, size in rows[:-1]:
            data = wheel.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
            assert digest == f"sha256={expected.decode()}"
            assert int(size) == len(data)


@pytest.mark.parametrize("content", [b"", b"no archive", sdist(NAMES[1:]), sdist(NAMES)[:200]])
def test_another_archive_is_refused(content: bytes) -> None:
    with pytest.raises(FileUnusable):
        pure_wheel(content)
