# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from pathlib import Path

import pytest

from containerizer.provisioner.base import ImageInfo
from containerizer.provisioner.layout import ProvisionerLayout
from containerizer.provisioner.provisioner import ImageProvisioner
from mesos_compat.base.checkpoint import read_record
from mesos_compat.base.errors import BackendError, ProvisionError
from mesos_compat.base.metrics import Metrics
from mesos_compat.base.scope import Scope
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave

IMAGE = pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name="a"))
OTHER = pb.Image(type=pb.Image.DOCKER, docker=pb.Image.Docker(name="b"))

PARENT = ContainerId("parent")
CHILD = ContainerId("child", PARENT)


class FakeStore:
    """A store whose images are there when ``gate`` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[str] = []
        self.pruned: list[tuple[list[str], set[str]]] = []
        self.recovered = 0
        self.error: ProvisionError | None = None
        self.users = 0
        #: Backends for which no image can be stored.
        self.unfit: set[str] = set()

    async def recover(self) -> None:
        self.recovered += 1

    @contextlib.asynccontextmanager
    async def using(self) -> AsyncIterator[None]:
        self.users += 1
        yield
        self.users -= 1

    async def get(self, image: pb.Image, backend: str) -> ImageInfo:
        assert self.users
        self.asked.append(image.docker.name)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        if backend in self.unfit:
            raise BackendError("no tree")
        return ImageInfo(("/layers/base", f"/layers/{image.docker.name}"), config="/layers/cfg")

    async def prune(self, excluded: Sequence[pb.Image], active: Collection[str]) -> None:
        self.pruned.append(([image.docker.name for image in excluded], set(active)))

    def close(self) -> None:
        pass


class FakeBackend:
    """A backend whose root file systems are directories with one file."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: ProvisionError | None = None
        #: Names of layers that it cannot mount.
        self.unfit: set[str] = set()
        self.destroyed: list[str] = []

    async def provision(
        self, layers: Sequence[str], rootfs: str, backend_dir: str
    ) -> tuple[str, ...]:
        os.makedirs(rootfs)
        if self.unfit.intersection(map(os.path.basename, layers)):
            raise BackendError("no mount")
        await self.gate.wait()
        return (f"{backend_dir}/volume",)

    async def destroy(self, rootfs: str, backend_dir: str) -> bool:
        if self.error is not None:
            raise self.error
        self.destroyed.append(rootfs)
        return True


class Stage:
    """A provisioner with everything around it."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = str(tmp_path)
        self.store = FakeStore()
        self.backend = FakeBackend()
        self.metrics = Metrics()
        self.scope = Scope("test", on_error=lambda name, error: None)
        self.provisioner = self.make({"fake": self.backend})

    def make(self, backends: dict[str, FakeBackend]) -> ImageProvisioner:
        """Return a provisioner, as an agent has it after a start."""
        return ImageProvisioner(
            ProvisionerLayout(self.root),
            {pb.Image.DOCKER: self.store},
            backends,
            tuple(backends),
            self.scope,
            Metrics() if self.__dict__.get("provisioner") else self.metrics,
        )

    def files(self) -> list[str]:
        """Return all directories and files."""
        return sorted(
            os.path.relpath(os.path.join(top, name), self.root)
            for top, folders, names in os.walk(self.root)
            for name in [*folders, *names]
        )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.scope.close()


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110 - files give no event
            await asyncio.sleep(0)


async def test_provision_and_destroy(stage: Stage) -> None:
    info = await stage.provisioner.provision(PARENT, IMAGE)
    base = f"{stage.root}/containers/parent"
    assert os.path.dirname(info.rootfs) == f"{base}/backends/fake/rootfses"
    assert len(os.path.basename(info.rootfs)) == 36
    assert info.ephemeral_volumes == (f"{base}/backends/fake/volume",)
    record = slave.ContainerLayers.FromString(read_record(f"{base}/layers") or b"")
    assert list(record.paths) == ["/layers/base", "/layers/a"]
    assert record.config == "/layers/cfg"
    assert await stage.provisioner.destroy(PARENT) is True
    assert stage.backend.destroyed == [info.rootfs]
    assert stage.files() == ["containers"]
    assert await stage.provisioner.destroy(PARENT) is False


async def test_several_images_of_one_container(stage: Stage) -> None:
    await stage.provisioner.provision(PARENT, IMAGE)
    await stage.provisioner.provision(PARENT, OTHER)
    path = f"{stage.root}/containers/parent/layers"
    record = slave.ContainerLayers.FromString(read_record(path) or b"")
    assert list(record.paths) == ["/layers/base", "/layers/a", "/layers/b"]
    await stage.provisioner.destroy(PARENT)
    assert len(stage.backend.destroyed) == 2


async def test_nested_go_with_their_parent(stage: Stage) -> None:
    await stage.provisioner.provision(CHILD, IMAGE)
    assert "containers/parent/containers/child/layers" in stage.files()
    await stage.provisioner.provision(PARENT, IMAGE)
    assert await stage.provisioner.destroy(PARENT) is True
    assert stage.files() == ["containers"]


async def test_parent_without_image_leaves_nothing(stage: Stage) -> None:
    await stage.provisioner.provision(CHILD, IMAGE)
    assert await stage.provisioner.destroy(CHILD) is True
    assert await stage.provisioner.destroy(PARENT) is False
    assert stage.files() == ["containers"]


async def test_kinds_without_store(stage: Stage) -> None:
    with pytest.raises(ProvisionError) as error:
        await stage.provisioner.provision(PARENT, pb.Image(type=pb.Image.APPC))
    assert str(error.value) == "Unsupported container image type: APPC"


async def test_failing_store(stage: Stage) -> None:
    stage.store.error = ProvisionError("no")
    with pytest.raises(ProvisionError, match="no"):
        await stage.provisioner.provision(PARENT, IMAGE)
    assert await stage.provisioner.destroy(PARENT) is False
    assert stage.files() == []


async def test_each_image_has_the_first_backend_that_it_is_fit_for(stage: Stage) -> None:
    first, second = FakeBackend(), FakeBackend()
    provisioner = stage.make({"first": first, "second": second})
    first.unfit = {"b"}
    one = await provisioner.provision(PARENT, IMAGE)
    two = await provisioner.provision(PARENT, OTHER)
    assert ("/backends/first/" in one.rootfs, "/backends/second/" in two.rootfs) == (True, True)
    assert len(first.destroyed) == 1  # what the first had begun
    asked = len(stage.store.asked)
    three = await provisioner.provision(CHILD, OTHER)
    assert "/backends/second/" in three.rootfs
    assert len(stage.store.asked) == asked + 1  # it is not tried again
    await provisioner.destroy(PARENT)
    assert sorted([*first.destroyed[1:], *second.destroyed]) == sorted(
        [one.rootfs, two.rootfs, three.rootfs]
    )


async def test_an_image_that_is_fit_for_no_backend(stage: Stage) -> None:
    provisioner = stage.make({"first": FakeBackend(), "second": FakeBackend()})
    stage.store.unfit = {"first", "second"}
    for _ in range(2):
        with pytest.raises(BackendError, match="no tree"):
            await provisioner.provision(PARENT, IMAGE)
    stage.store.unfit = {"first"}
    made = await provisioner.provision(PARENT, IMAGE)
    assert "/backends/second/" in made.rootfs


async def test_a_backend_that_fails_is_not_one_that_is_unfit(stage: Stage) -> None:
    provisioner = stage.make({"first": FakeBackend(), "second": FakeBackend()})
    stage.store.error = ProvisionError("no")
    with pytest.raises(ProvisionError, match="no"):
        await provisioner.provision(PARENT, IMAGE)
    assert stage.store.asked == ["a"]


async def test_destroy_while_pulling(stage: Stage) -> None:
    stage.store.gate.clear()
    call = asyncio.ensure_future(stage.provisioner.provision(PARENT, IMAGE))
    await until(lambda: bool(stage.store.asked))
    await stage.provisioner.destroy(PARENT)
    with pytest.raises(ProvisionError, match="destroyed during provisioning"):
        await call
    stage.store.gate.set()
    await asyncio.sleep(0)
    assert stage.files() == []


async def test_destroy_while_the_backend_works(stage: Stage) -> None:
    stage.backend.gate.clear()
    call = asyncio.ensure_future(stage.provisioner.provision(PARENT, IMAGE))
    await until(lambda: bool(stage.files()))
    assert await stage.provisioner.destroy(PARENT) is True
    with pytest.raises(ProvisionError):
        await call
    assert len(stage.backend.destroyed) == 1
    assert stage.files() == ["containers"]


@pytest.mark.parametrize("where", ["store", "backend"])
async def test_cancelled_provision(stage: Stage, where: str) -> None:
    gate = stage.store.gate if where == "store" else stage.backend.gate
    gate.clear()
    call = asyncio.ensure_future(stage.provisioner.provision(PARENT, IMAGE))
    await until(lambda: bool(stage.store.asked if where == "store" else stage.files()))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(stage.scope) == 0
    assert await stage.provisioner.destroy(PARENT) is (where == "backend")
    assert stage.files() == ([] if where == "store" else ["containers"])


async def test_failed_destroy_can_be_repeated(stage: Stage) -> None:
    await stage.provisioner.provision(PARENT, IMAGE)
    stage.backend.error = ProvisionError("busy")
    for _ in range(2):
        with pytest.raises(ProvisionError, match="busy"):
            await stage.provisioner.destroy(PARENT)
    counter = "containerizer/mesos/provisioner/remove_container_errors"
    assert stage.metrics.snapshot()[counter] == 2
    stage.backend.error = None
    assert await stage.provisioner.destroy(PARENT) is True


async def test_failed_destroy_of_a_nested_container(stage: Stage) -> None:
    await stage.provisioner.provision(CHILD, IMAGE)
    stage.backend.error = ProvisionError("busy")
    with pytest.raises(ProvisionError) as error:
        await stage.provisioner.destroy(PARENT)
    assert str(error.value) == "Failed to destroy nested containers: busy"


async def test_concurrent_destroys(stage: Stage) -> None:
    await stage.provisioner.provision(PARENT, IMAGE)
    found = await asyncio.gather(*[stage.provisioner.destroy(PARENT) for _ in range(3)])
    assert found == [True, True, True]
    assert len(stage.backend.destroyed) == 1


async def test_prune_waits_and_is_waited_for(stage: Stage) -> None:
    stage.store.gate.clear()
    first = asyncio.ensure_future(stage.provisioner.provision(PARENT, IMAGE))
    await until(lambda: bool(stage.store.asked))
    prune = asyncio.ensure_future(stage.provisioner.prune([OTHER]))
    second = asyncio.ensure_future(stage.provisioner.provision(CHILD, IMAGE))
    for _ in range(10):
        await asyncio.sleep(0)
    assert stage.store.pruned == []
    assert len(stage.store.asked) == 1
    stage.store.gate.set()
    await asyncio.gather(first, prune, second)
    assert stage.store.pruned == [(["b"], {"/layers/base", "/layers/a", "/layers/cfg"})]


async def test_recovery(stage: Stage) -> None:
    other = ContainerId("other")
    for container_id in (PARENT, CHILD, other):
        await stage.provisioner.provision(container_id, IMAGE)
    os.unlink(f"{stage.root}/containers/parent/layers")
    Path(stage.root, "containers", "file").write_text("")
    again = stage.make({"fake": stage.backend})
    await again.recover([PARENT, CHILD])
    assert stage.store.recovered == 1
    assert sorted(os.listdir(f"{stage.root}/containers")) == ["file", "parent"]
    await again.prune([])
    assert stage.store.pruned[-1][1] == {"/layers/base", "/layers/a", "/layers/cfg"}
    assert await again.destroy(PARENT) is True
    assert os.listdir(f"{stage.root}/containers") == ["file"]


async def test_recovery_destroys_nested_before_parents(stage: Stage) -> None:
    child = await stage.provisioner.provision(CHILD, IMAGE)
    parent = await stage.provisioner.provision(PARENT, IMAGE)
    await stage.make({"fake": stage.backend}).recover([])
    assert stage.backend.destroyed == [child.rootfs, parent.rootfs]
    assert stage.files() == ["containers"]


async def test_recovery_of_a_nested_container_alone(stage: Stage) -> None:
    await stage.provisioner.provision(CHILD, IMAGE)
    again = stage.make({"fake": stage.backend})
    await again.recover([CHILD])
    assert stage.backend.destroyed == []
    assert await again.destroy(CHILD) is True


async def test_recovery_without_the_backend(stage: Stage) -> None:
    await stage.provisioner.provision(PARENT, IMAGE)
    with pytest.raises(ProvisionError) as error:
        await stage.make({}).recover([])
    assert str(error.value) == "Found rootfses managed by an unrecognized backend: fake"


async def test_recovery_of_a_damaged_record(stage: Stage) -> None:
    await stage.provisioner.provision(PARENT, IMAGE)
    path = Path(stage.root, "containers", "parent", "layers")
    path.write_bytes(b"")
    await stage.make({"fake": stage.backend}).recover([PARENT])
    path.write_bytes(b"\x09\0\0\0x")
    recovered = stage.make({"fake": stage.backend})
    await recovered.recover([PARENT])
    with pytest.raises(ProvisionError, match="The layers of container parent are unknown"):
        await recovered.prune([])
    await recovered.destroy(PARENT)
    await recovered.prune([])
