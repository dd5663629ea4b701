# SPDX-License-Identifier: Apache-2.0
import io
import threading
import zipfile
from pathlib import Path
from typing import BinaryIO

import pytest

from mesos_compat.realmaster.cache import cache_folder, cached_versions, library
from mesos_compat.realmaster.errors import FileUnusable, IndexUnusable, RealMasterError
from mesos_compat.realmaster.relink import relink
from tests.realmaster.elf import build
from tests.realmaster.test_relink import LIBMESOS


def egg(member: str = "mesos/scheduler/_scheduler.so") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, build(LIBMESOS))
    return buffer.getvalue()


class Fetch:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.calls = 0

    def __call__(self, target: BinaryIO) -> None:
        self.calls += 1
        target.write(self.content)


def test_the_library_is_made_once_and_relinked(tmp_path: Path) -> None:
    folder, fetch = str(tmp_path / "c"), Fetch(egg())
    path = library("1.11.0", folder, fetch)
    assert Path(path).read_bytes() == relink(build(LIBMESOS))
    assert library("1.11.0", folder, fetch) == path
    assert fetch.calls == 1
    assert cached_versions(folder) == ["1.11.0"]


def test_a_damaged_library_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, fetch = str(tmp_path / "c"), Fetch(egg())
    path = Path(library("1.11.0", folder, fetch))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    assert library("1.11.0", folder, fetch) == str(path)
    assert path.read_bytes() == relink(build(LIBMESOS))
    assert "is damaged" in capsys.readouterr().err


def test_many_at_once_download_once(tmp_path: Path) -> None:
    folder, fetch = str(tmp_path / "c"), Fetch(egg())
    start = threading.Barrier(8)
    paths: list[str] = []

    def look() -> None:
        start.wait()
        paths.append(library("1.11.0", folder, fetch))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 8
    assert len(set(paths)) == 1
    assert fetch.calls == 1


@pytest.mark.parametrize("content", [b"", b"<html>proxy login</html>", egg("other.so"), egg()[:99]])
def test_an_unusable_egg_leaves_nothing_behind(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(FileUnusable):
        library("1.11.0", str(tmp_path / "c"), Fetch(content))
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["1.11.0.lock"]


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir(mode=0o700)
    (folder / ".1.11.0-half").write_bytes(b"half")
    (folder / ".1.9.0-half").write_bytes(b"of another version, perhaps in use")
    library("1.11.0", str(folder), Fetch(egg()))
    assert [path.name for path in folder.glob(".*")] == [".1.9.0-half"]


def test_a_failed_download_is_passed_on(tmp_path: Path) -> None:
    def fetch(_: BinaryIO) -> None:
        raise IndexUnusable("no network")

    with pytest.raises(IndexUnusable, match="no network"):
        library("1.11.0", str(tmp_path / "c"), fetch)
    assert cached_versions(str(tmp_path / "c")) == []


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(RealMasterError, match="can be written by"):
        library("1.11.0", str(folder), Fetch(egg()))


def test_the_folder_follows_xdg_and_ignores_relative_values() -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/x"}) == "/x/mesos-compat/master"
    assert cache_folder({"XDG_CACHE_HOME": "x"}).endswith("/.cache/mesos-compat/master")
