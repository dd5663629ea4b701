# SPDX-License-Identifier: Apache-2.0
import hashlib
import io
import json
import os
from pathlib import Path

import pytest

from mesos_compat.realmaster.errors import FileUnusable, IndexUnusable
from mesos_compat.realmaster.index import (
    PUBLISHED,
    IndexSettings,
    ListedFile,
    download,
    find_egg,
    parse_config_list,
    parse_default_index,
    parse_html,
    parse_json,
    settings_from_pip,
    settings_from_values,
    version_key,
)

PAGE = "https://index.example/simple/mesos-scheduler/"
NAME = "mesos.scheduler-{}-py2.7-linux-x86_64.egg"


def test_json_answers_give_eggs_and_nothing_else() -> None:
    body = json.dumps(
        {
            "files": [
                {"filename": "x", "url": f"../../f/{NAME.format('1.11.0')}", "hashes": {}},
                {"url": "/f/mesos.scheduler-1.11.0.linux-x86_64.tar.gz", "hashes": {}},
                {"url": f"/f/{NAME.format('2.0.0')}", "hashes": {"sha256": "AB" * 32}},
                {"url": f"/f/{NAME.format('2.0.1')}", "hashes": {"md5": "00"}},
                {"url": f"/f/{NAME.format('2.0.2')}", "hashes": {"sha256": "../etc"}},
                {"url": 7},
                "nonsense",
            ]
        }
    ).encode()
    base = "https://index.example/f/"
    first, second = NAME.format("1.11.0"), NAME.format("2.0.0")
    files = parse_json(body, PAGE)
    assert files[0] == ListedFile(first, f"https://index.example/f/{first}", None)
    assert files[2] == ListedFile(second, base + second, "ab" * 32)
    assert [file.sha256 is not None for file in files] == [False, False, True, False, False]


@pytest.mark.parametrize("body", [b"[]", b"{}", b"<html>", b'{"files": 3}'])
def test_what_is_no_list_of_files_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(body, PAGE)


def test_html_pages_give_eggs_with_the_hash_of_their_links() -> None:
    body = (
        f'<a href="../../f/{NAME.format("2.0.0")}#sha256={"cd" * 32}">x</a>'
        f'<A HREF="/f/{NAME.format("2.0.1")}">no hash</A>'
        f'<a>none</a><a href="/f/{NAME.format("1.4.3")}#md5=00">known</a>'
    ).encode()
    files = parse_html(body, PAGE)
    assert [(file.filename, file.sha256) for file in files] == [
        (NAME.format("2.0.0"), "cd" * 32),
        (NAME.format("2.0.1"), None),
        (NAME.format("1.4.3"), None),
    ]
    assert files[0].url == f"https://index.example/f/{NAME.format('2.0.0')}"


def test_an_index_cannot_give_another_file_for_a_known_version(tmp_path: Path) -> None:
    settings = IndexSettings(index_urls=(_index(tmp_path, "1.9.0", b"hostile"),))
    assert find_egg("1.9.0", settings).sha256 == PUBLISHED["1.9.0"]


def test_an_unknown_version_without_hash_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / NAME.format("2.0.0")).write_bytes(b"x")
    with pytest.raises(IndexUnusable, match="does not list it with a hash"):
        find_egg("2.0.0", IndexSettings(index_urls=(), find_links=(str(tmp_path),)))


def test_pip_configuration_is_merged_in_pips_order() -> None:
    text = (
        "global.index-url='https://a/simple'\n"
        "global.timeout='5'\n"
        "install.timeout='7'\n"
        ":env:.index-url='https://u:p@b/simple'\n"
        ":env:.extra-index-url='https://c/simple\\nhttps://d/simple'\n"
        "list.format='columns'\n"
        "broken line\n"
        "global.cert=__import__('os')\n"
    )
    assert parse_config_list(text) == {
        "index-url": "https://u:p@b/simple",
        "extra-index-url": "https://c/simple\nhttps://d/simple",
        "timeout": "7",
    }
    settings = settings_from_values(parse_config_list(text), {"REQUESTS_CA_BUNDLE": "/ca.pem"})
    assert settings == IndexSettings(
        index_urls=("https://u:p@b/simple", "https://c/simple", "https://d/simple"),
        ca_bundle="/ca.pem",
        timeout_s=7,
    )


def test_no_index_leaves_only_links() -> None:
    settings = settings_from_values({"no-index": "true", "find-links": "/a /b"}, {})
    assert (settings.index_urls, settings.find_links) == ((), ("/a", "/b"))


def _index(folder: Path, version: str, content: bytes) -> str:
    project = folder / "mesos-scheduler"
    project.mkdir(parents=True)
    (project / NAME.format(version)).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    link = f'<a href="{NAME.format(version)}#sha256={digest}">x</a>'
    (project / "index.html").write_text(link)
    return folder.as_uri()


def test_the_first_place_that_has_the_version_serves(tmp_path: Path) -> None:
    url = _index(tmp_path / "b", "2.0.0", b"library")
    settings = IndexSettings(
        index_urls=((tmp_path / "missing").as_uri(), url), find_links=(str(tmp_path),)
    )
    egg = find_egg("2.0.0", settings)
    target = io.BytesIO(b"old and longer content")
    download(egg, target, settings)
    assert target.getvalue() == b"library"


def test_a_folder_of_links_serves_published_versions(tmp_path: Path) -> None:
    (tmp_path / NAME.format("1.9.0")).write_bytes(b"not the published egg")
    settings = IndexSettings(index_urls=(), find_links=(str(tmp_path),))
    egg = find_egg("1.9.0", settings)
    with pytest.raises(FileUnusable, match=f"expected {PUBLISHED['1.9.0']}"):
        download(egg, io.BytesIO(), settings)


def test_a_version_that_does_not_exist_is_answered_with_those_that_do(tmp_path: Path) -> None:
    settings = IndexSettings(index_urls=(_index(tmp_path, "1.10.0", b"x"),))
    with pytest.raises(IndexUnusable, match=r"no real master of version 9\.9\.9.*: 1\.10\.0"):
        find_egg("9.9.9", settings)


def test_every_place_tried_is_named_without_passwords() -> None:
    settings = IndexSettings(index_urls=("ftp://user:secret@index.example/simple",))
    with pytest.raises(IndexUnusable, match=r"index\.example.*scheme 'ftp'") as caught:
        find_egg("1.11.0", settings)
    assert "secret" not in str(caught.value)


def test_versions_sort_as_numbers() -> None:
    assert sorted(["1.10.0", "1.4.3", "1.9.0"], key=version_key) == ["1.4.3", "1.9.0", "1.10.0"]


def test_the_default_index_is_the_one_that_pip_names() -> None:
    text = "  -i, --index-url <url>  Base URL (default https://index.example/simple). This"
    assert parse_default_index(text) == {"index-url": "https://index.example/simple"}
    assert parse_default_index("  --no-index (default https://index.example/x)") == {}


def test_this_pip_names_an_index() -> None:
    settings = settings_from_pip({**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": ""})
    assert settings.index_urls[0].startswith("http")
