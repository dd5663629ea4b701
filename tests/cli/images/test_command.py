# SPDX-License-Identifier: Apache-2.0
"""The commands on a store of this host, without an agent and without root."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from containerizer.linux import mount
from containerizer.provisioner.stores.lock import StoreLock
from mesos_compat.cli import main as program
from mesos_compat.cli.containers.options import FAILED
from tests.containerizer.provisioner.images import (
    Entry,
    docker25,
    files,
    layout,
    legacy,
    saved,
    tar,
    write,
)

BASE = tar([Entry("base", b"x" * 30000)])


class Console:
    """Runs commands on one store."""

    def __init__(self, folder: Path, captured: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.registry = folder / "registry"
        self.registry.mkdir()
        self._captured = captured
        self.err = ""

    def put(self, name: str, data: bytes) -> str:
        return write(str(self.registry / f"{name}.tar"), data)

    def run(self, command: str, *arguments: str, code: int = 0) -> str:
        """Run a command; return what it printed."""
        argv = ["image", command, f"--docker_store_dir={self.store}", *arguments]
        if command == "pull":
            argv.append(f"--docker_registry={self.registry}")
        if command in ("pull", "load"):
            argv.append("--backend=copy")
        assert program.main(argv) == code
        found = self._captured.readouterr()
        self.err = found.err
        return found.out

    def json(self, command: str, *arguments: str) -> Any:
        form = () if command == "inspect" else ("--json",)
        return json.loads(self.run(command, *arguments, *form))


@pytest.fixture
def console(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Console:
    return Console(tmp_path, capsys)


def test_from_pull_to_rm(console: Console) -> None:
    console.put("a", saved([BASE, tar([Entry("f", b"1" * 9000)])], None, Cmd=["x"]))
    console.put("b", saved([BASE, tar([Entry("f", b"2" * 9000)])], None))
    assert console.json("ls") == []
    assert console.run("pull", "a", "docker.io/library/b") == "a\nb\n"
    header, first, second = console.run("ls").splitlines()
    assert header.split() == ["IMAGE", "ID", "LAYERS", "SIZE"]
    assert first.split()[0] == "a"
    assert second.split()[2] == "2"
    assert console.run("ls", "-q") == "a\nb\n"
    found = console.json("inspect", "a")[0]
    assert found["config"]["config"] == {"Cmd": ["x"]}
    assert found["complete"]
    assert [list(layer["trees"]) for layer in found["layers"]] == [["rootfs"], ["rootfs"]]
    assert not any(layer["mounted"] for layer in found["layers"])
    before = console.json("df")
    assert (before["images"], before["layers"]) == (2, 3)
    assert before["unused_bytes"] == before["staging_bytes"] == before["garbage_bytes"] == 0
    assert "layers:" in console.run("df")
    freed = console.json("rm", "a")
    assert freed["images"] == ["b"]
    assert freed["freed_bytes"] > 0
    after = console.json("df")
    assert (after["images"], after["layers"]) == (1, 2)
    assert console.run("prune").endswith("freed\n")
    assert console.json("df")["layers"] == 0


def test_pull_swaps_what_changed(console: Console) -> None:
    console.put("a", saved([BASE, tar([Entry("f", b"1")])], None))
    console.run("pull", "a")
    [old] = console.json("ls")
    assert console.json("pull", "a") == [old]
    console.put("a", saved([BASE, tar([Entry("f", b"2")])], None))
    [new] = console.json("pull", "a")
    assert new["id"] != old["id"]
    assert new["layers"][0] == old["layers"][0]
    assert console.json("df")["unused_bytes"] > 0


def test_prune_keeps(console: Console) -> None:
    for name in ("a", "b"):
        console.put(name, saved([tar([Entry("f", name.encode())])], None))
        console.run("pull", name)
    assert console.json("prune", "--keep", "b")["images"] == ["b"]
    assert console.run("ls", "-q") == "b\n"


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (legacy([BASE], name="old", tag="1"), ["old:1"]),
        (docker25([BASE], "new:2"), ["new:2"]),
        (saved([BASE], ["x:1", "y:2"]), ["x:1", "y:2"]),
        (files(layout([BASE], ref_name="docker.io/library/oci:3")), ["docker.io/library/oci:3"]),
    ],
)
def test_load(console: Console, data: bytes, names: list[str]) -> None:
    archive = console.put("any", data)
    assert console.run("load", archive).split() == names
    assert console.run("ls", "-q").split() == names
    assert console.run("load", archive, "--name", names[0]).split() == names[:1]


def test_load_needs_a_name_where_there_is_none(console: Console) -> None:
    archive = console.put("any", saved([BASE], None))
    console.run("load", archive, code=FAILED)
    assert "holds no image with a name: give it one by --name" in console.err
    assert console.run("load", archive, "--name", "mine:1") == "mine:1\n"
    console.run("load", f"{archive}.none", code=FAILED)
    assert "No such file or directory" in console.err
    write(archive, b"garbage" * 1000)
    console.run("load", archive, code=FAILED)
    assert "not a tar archive" in console.err


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("pull", "none"), "Failed to find archive for image 'none'"),
        (("pull", "a@b@c"), "Multiple '@' symbols found"),
        (("rm", "none"), "There is no image 'none' in the store"),
        (("inspect", "none"), "There is no image 'none' in the store"),
        (("prune", "--keep", "none"), "There is no image 'none' in the store"),
        (("prune", "--agent", "127.0.0.1:1"), "No answer of the agent at 127.0.0.1:1"),
    ],
)
def test_failures_are_one_line(console: Console, command: tuple[str, ...], why: str) -> None:
    assert console.run(*command, code=FAILED) == ""
    assert console.err.startswith("mesos-compat: ")
    assert why in console.err
    assert console.err.count("\n") == 1


def test_a_store_that_an_agent_uses(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    console.put("a", saved([BASE], None))
    console.run("pull", "a")
    monkeypatch.setattr("containerizer.provisioner.stores.lock.PATIENCE_S", 0.0)
    agent = StoreLock(str(console.store), shared=False)
    for command in (("pull", "a"), ("rm", "a"), ("prune",)):
        console.run(*command, code=FAILED)
        assert f"The store '{console.store}' is used by process {os.getpid()}" in console.err
    assert console.run("ls", "-q") == "a\n"
    assert console.json("inspect", "a")[0]["complete"]
    assert console.json("df")["images"] == 1
    agent.close()
    console.run("rm", "a")


def test_layers_that_are_missing(console: Console) -> None:
    console.put("a", saved([BASE, tar([Entry("f", b"1")])], None))
    [image] = console.json("pull", "a")
    os.rename(console.store / "layers" / image["layers"][0], console.folder / "away")
    assert "incomplete" in console.run("ls")
    assert not console.json("inspect", "a")[0]["complete"]
    console.run("pull", "a")
    assert console.json("inspect", "a")[0]["complete"]


def test_progress_elsewhere_than_on_a_terminal(console: Console) -> None:
    console.put("a", saved([BASE], None))
    console.run("pull", "a")
    assert console.err == ""


@pytest.mark.root
@pytest.mark.parametrize("kind", ["overlay", "links", "bind"])
def test_mounted_layers_stay(console: Console, kind: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    console.put("a", saved([BASE, tar([Entry("f", b"1")])], None))
    [image] = console.json("pull", "a")
    trees = [str(console.store / "layers" / each / "rootfs") for each in image["layers"]]
    target = console.folder / "root"
    target.mkdir()
    mounted = 2
    if kind == "bind":
        mounted = 1
        mount.mount(trees[0], str(target), None, mount.MS_BIND)
    else:
        lower = [tree.replace(":", "\\:") for tree in trees]
        if kind == "links":
            lower = [str(console.folder / str(number)) for number in range(2)]
            for link, tree in zip(lower, trees, strict=True):
                os.symlink(tree, link)
        mount.mount("overlay", str(target), "overlay", 0, f"lowerdir={lower[1]}:{lower[0]}")
    try:
        assert console.json("df")["mounted_layers"] == mounted
        assert console.json("inspect", "a")[0]["layers"][0]["mounted"]
        console.run("rm", "a")
        assert console.json("df")["layers"] == mounted
        assert (target / "base").read_bytes() == b"x" * 30000
    finally:
        mount.umount(str(target), mount.MNT_DETACH)
    console.run("prune")
    assert console.json("df")["layers"] == 0
