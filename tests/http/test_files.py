# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesos_compat.base.errors import ApiError
from mesos_compat.http import files

VIRTUAL = "/frameworks/F/executors/E/runs/latest"


@pytest.fixture
def attached(tmp_path: Path) -> dict[str, str]:
    sandbox = tmp_path / "abc"
    sandbox.mkdir()
    (sandbox / "bin").write_bytes(b'a\x00b\xff"/\\\n\t\xc3\xa9')
    (sandbox / "d").mkdir()
    (sandbox / "d" / "inner.txt").write_text("x")
    os.symlink("/etc/passwd", sandbox / "pw")
    os.symlink("..", sandbox / "up")
    os.symlink("nowhere", sandbox / "dangling")
    os.symlink(f"{sandbox}/d", sandbox / "link")
    os.symlink("loop", sandbox / "loop")
    os.mkfifo(sandbox / "fifo")
    other = tmp_path / "abcd"
    other.mkdir()
    (other / "secret").write_text("s")
    os.symlink("../abcd", sandbox / "sibling")
    log = tmp_path / "log.INFO"
    log.write_text("I1")
    return {VIRTUAL: str(sandbox), str(sandbox): str(sandbox), "/slave/log": str(log)}


def failed(caught: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return caught.value.status, caught.value.body


def test_browse_lists_sorted_and_leaves_out_dangling_links(attached: dict[str, str]) -> None:
    entries = files.browse(attached, VIRTUAL)
    names = [entry.path.removeprefix(VIRTUAL + "/") for entry in entries]
    assert names == ["bin", "d", "fifo", "link", "pw", "sibling", "up"]
    value = entries[0].value()
    assert list(value) == ["gid", "mode", "mtime", "nlink", "path", "size", "uid"]
    assert value["path"] == f"{VIRTUAL}/bin"
    assert value["size"] == 11
    mtime = value["mtime"]
    assert isinstance(mtime, float)
    assert mtime == int(mtime)


@pytest.mark.parametrize(
    "path",
    [
        f"{VIRTUAL}/d",
        f"{VIRTUAL}/d/",
        f"{VIRTUAL}//d//",
        f"/{VIRTUAL}/d",
        f"file://{VIRTUAL}/d",
        f"{VIRTUAL}/./d",
        f"{VIRTUAL}/link",
        f"{VIRTUAL}/d/../d",
    ],
)
def test_browse_normalises(attached: dict[str, str], path: str) -> None:
    assert [os.path.basename(entry.path) for entry in files.browse(attached, path)] == ["inner.txt"]


def test_browse_of_a_file_is_empty(attached: dict[str, str]) -> None:
    assert files.browse(attached, f"{VIRTUAL}/bin") == []
    assert files.browse(attached, f"{VIRTUAL}/fifo") == []
    assert files.browse(attached, "/slave/log") == []


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/",
        "",
        f"{VIRTUAL}/nope",
        f"{VIRTUAL}/dangling",
        f"{VIRTUAL}/bin/x",
        "/slave/log/x",
        "/slave",
        f"{VIRTUAL}/../abc-not-there/bin",
        f"{VIRTUAL}/\0",
        "/frameworks/F/executors/E/runs",
    ],
)
def test_what_is_not_there_is_404_without_text(attached: dict[str, str], path: str) -> None:
    for call in (files.browse, files.download):
        with pytest.raises(ApiError) as caught:
            call(attached, path)
        assert failed(caught) == (404, "")


@pytest.mark.parametrize("name", ["pw", "up", "sibling", "sibling/secret", "up/abcd/secret"])
def test_nothing_outside_is_served(attached: dict[str, str], name: str) -> None:
    expected = (400, f"'{attached[VIRTUAL]}/{name}' is inaccessible.\n")
    with pytest.raises(ApiError) as caught:
        files.browse(attached, f"{VIRTUAL}/{name}")
    assert failed(caught) == expected
    with pytest.raises(ApiError) as caught:
        files.read(attached, f"{VIRTUAL}/{name}", 0, -1)
    assert failed(caught) == expected
    with pytest.raises(ApiError) as caught:
        files.download(attached, f"{VIRTUAL}/{name}")
    assert failed(caught) == expected


def test_dots_do_not_leave_the_sandbox(attached: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        files.read(attached, f"{VIRTUAL}/../abcd/secret", 0, -1)
    assert caught.value.status == 400


def test_a_path_of_many_components(attached: dict[str, str]) -> None:
    """In time that grows like its length: else this would take an hour."""
    path = VIRTUAL + "/a" * 500_000
    assert files.attachment(attached, path) == VIRTUAL
    with pytest.raises(ApiError) as caught:
        files.browse(attached, path)
    assert caught.value.status == 400


def test_a_loop_of_links_is_an_error(attached: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        files.read(attached, f"{VIRTUAL}/loop", 0, -1)
    path = f"{attached[VIRTUAL]}/loop"
    why = "Too many levels of symbolic links"
    assert failed(caught) == (400, f"Failed to determine canonical path of '{path}': {why}.\n")


def test_a_link_swapped_in_between_check_and_open_is_refused(
    attached: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = attached[VIRTUAL]
    place = files._place(attached, f"{VIRTUAL}/d/inner.txt")
    os.unlink(f"{sandbox}/d/inner.txt")
    os.symlink("/etc/passwd", f"{sandbox}/d/inner.txt")
    with pytest.raises(ApiError) as caught:
        files._open_beneath(place, os.O_RDONLY)
    assert caught.value.status == 400
    os.rename(f"{sandbox}/d", f"{sandbox}/e")
    os.symlink("/etc", f"{sandbox}/d")
    with pytest.raises(OSError, match=r"(Not a directory|symbolic)"):
        files._open_beneath(place, os.O_RDONLY)
    monkeypatch.setattr(files, "_place", lambda *_: place)
    with pytest.raises(ApiError) as caught:
        files.read(attached, f"{VIRTUAL}/d/inner.txt", 0, -1)
    assert caught.value.status == 400


def test_a_fifo_does_not_hang(attached: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        files.read(attached, f"{VIRTUAL}/fifo", 0, -1)
    assert caught.value.status == 400
    with pytest.raises(ApiError):
        files.download(attached, f"{VIRTUAL}/fifo")


@pytest.mark.parametrize(
    ("offset", "length", "data"),
    [
        (-1, -1, b""),
        (-1, 5, b""),
        (0, -1, b'a\x00b\xff"/\\\n\t\xc3\xa9'),
        (2, 3, b'b\xff"'),
        (100, -1, b""),
        (11, -1, b""),
        (0, 0, b""),
        (2**63 - 1, -1, b""),
    ],
)
def test_read(attached: dict[str, str], offset: int, length: int, data: bytes) -> None:
    piece = files.read(attached, f"{VIRTUAL}/bin", offset, length)
    assert piece == files.Piece(data, 11)


def test_read_returns_at_most_sixteen_pages(attached: dict[str, str]) -> None:
    path = Path(attached[VIRTUAL]) / "big"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    piece = files.read(attached, f"{VIRTUAL}/big", 0, 1 << 50)
    assert len(piece.data) == 65536
    assert piece.size == 1 << 40


def test_directories_are_not_read(attached: dict[str, str]) -> None:
    with pytest.raises(ApiError) as caught:
        files.read(attached, f"{VIRTUAL}/d", -1, -1)
    assert failed(caught) == (400, "Cannot read a directory.\n")
    with pytest.raises(ApiError) as caught:
        files.download(attached, f"{VIRTUAL}/d")
    assert failed(caught) == (400, "Cannot download a directory.\n")


def test_download_gives_an_open_file(attached: dict[str, str]) -> None:
    found = files.download(attached, f"{VIRTUAL}/d/inner.txt")
    try:
        assert (found.size, found.file_name, found.content_type) == (1, "inner.txt", "text/plain")
        assert os.read(found.fd, 10) == b"x"
    finally:
        os.close(found.fd)


def test_file_names_cannot_inject_headers(attached: dict[str, str]) -> None:
    name = 'n"q;\r\nX: y é.txt'
    (Path(attached[VIRTUAL]) / name).write_text("")
    found = files.download(attached, f"{VIRTUAL}/{name}")
    os.close(found.fd)
    assert found.file_name == "n_q___X__y__.txt"


def test_names_that_are_no_utf8(attached: dict[str, str]) -> None:
    name = os.fsdecode(b"\xff.txt")
    Path(attached[VIRTUAL], "d", name).write_text("hello")
    assert files.read(attached, f"{VIRTUAL}/d/{name}", 0, -1).data == b"hello"
    assert len(files.browse(attached, f"{VIRTUAL}/d")) == 2


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html"),
        ("a.HTML", "application/octet-stream"),
        ("a.json", "application/octet-stream"),
        ("stdout", "application/octet-stream"),
        ("a.tar.gz", "application/octet-stream"),
        ("a.jpe", "image/jpeg"),
    ],
)
def test_content_types(name: str, kind: str) -> None:
    assert files.content_type(name) == kind


def test_modes() -> None:
    assert files.format_mode(stat.S_IFDIR | 0o4755) == "drwxr-xr-x"
    assert files.format_mode(stat.S_IFREG | 0o640) == "-rw-r-----"
    assert files.format_mode(stat.S_IFIFO | 0o7) == "p------rwx"


@pytest.mark.parametrize("value", ["abc", "", "1.5", "99999999999999999999", "9" * 19, "٣"])
def test_offsets_that_are_no_numbers(value: str) -> None:
    with pytest.raises(ApiError) as caught:
        files.wanted_number({"offset": value}, "offset")
    expected = f"Failed to parse offset: Failed to convert '{value}' to number.\n"
    assert failed(caught) == (400, expected)


def test_negative_numbers() -> None:
    assert files.wanted_number({"offset": "-1"}, "offset") == -1
    assert files.wanted_number({}, "offset") == -1
    with pytest.raises(ApiError) as caught:
        files.wanted_number({"length": "-2"}, "length")
    assert failed(caught) == (400, "Negative length provided: -2.\n")


_PART = st.sampled_from(["..", ".", "", "d", "up", "pw", "link", "sibling", "abcd", "secret", "x"])


@given(st.lists(_PART, max_size=6))
@settings(max_examples=60)
def test_no_path_leaves_the_sandbox(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    base = tmp_path_factory.getbasetemp() / "confined"
    sandbox = base / "abc"
    if not sandbox.exists():
        (sandbox / "d").mkdir(parents=True)
        (base / "abcd").mkdir()
        (base / "abcd" / "secret").write_text("s")
        os.symlink("..", sandbox / "up")
        os.symlink("/etc/passwd", sandbox / "pw")
        os.symlink("d", sandbox / "link")
        os.symlink("../abcd", sandbox / "sibling")
    path = "/".join(["/v", *parts])
    try:
        place = files._place({"/v": str(sandbox)}, path)
    except ApiError as error:
        assert error.status in (400, 404)  # noqa: PT017
        return
    assert os.path.commonpath([os.path.realpath(place.real), str(sandbox)]) == str(sandbox)


def test_a_link_out_of_the_sandbox_tells_nothing_of_its_target(attached: dict[str, str]) -> None:
    shown = {os.path.basename(entry.path): entry for entry in files.browse(attached, VIRTUAL)}
    assert stat.S_ISLNK(shown["pw"].info.st_mode)
    assert shown["pw"].info.st_size == len("/etc/passwd")
    assert stat.S_ISLNK(shown["sibling"].info.st_mode)
    assert stat.S_ISDIR(shown["link"].info.st_mode), "inside, links are followed"


@pytest.mark.root
def test_a_device_is_never_opened(attached: dict[str, str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.mknod(f"{attached[VIRTUAL]}/device", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    with pytest.raises(ApiError) as caught:
        files.read(attached, f"{VIRTUAL}/device", 0, 10)
    assert caught.value.status == 400
    with pytest.raises(ApiError) as caught:
        files.download(attached, f"{VIRTUAL}/device")
    assert caught.value.status == 400


def test_links_that_multiply_end_soon(attached: dict[str, str]) -> None:
    sandbox = attached[VIRTUAL]
    os.symlink(".", f"{sandbox}/l0")
    for number in range(1, 60):
        os.symlink("/".join([f"l{number - 1}"] * 50), f"{sandbox}/l{number}")
    # Followed, they would take longer than the limit of a test.
    with pytest.raises(ApiError) as caught:
        files.browse(attached, f"{VIRTUAL}/l59")
    assert caught.value.status == 400


def test_a_directory_is_listed_up_to_a_limit(
    attached: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_ENTRIES", 3)
    assert len(files.browse(attached, VIRTUAL)) <= 3
