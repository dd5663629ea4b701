# SPDX-License-Identifier: Apache-2.0
"""What every image store must do. A test class derives from ``StoreSuite`` and says how."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from containerizer.provisioner.base import Store
from mesos_compat.base.errors import FlagError, ProvisionError
from mesos_compat.base.scope import Scope
from mesos_compat.pb.mesos import mesos_pb2 as pb


async def until(happened: Callable[[], bool]) -> None:
    """Return once ``happened()`` is true."""
    async with asyncio.timeout(60):
        while not happened():  # noqa: ASYNC110 - files and processes give no event
            await asyncio.sleep(0.001)


class StoreSuite:
    """The tests. ``backend`` is the one to ask for."""

    backend = "copy"

    def make(self, tmp_path: Path, scope: Scope) -> Store:
        """Return a store over the files in ``tmp_path``."""
        raise NotImplementedError

    def image(self, tmp_path: Path, content: bytes = b"1") -> pb.Image:
        """Put an image with the file ``f`` where the store looks for it; replace an older one."""
        raise NotImplementedError

    def hide(self, tmp_path: Path) -> None:
        """Take the image away from there."""
        raise NotImplementedError

    def break_image(self, tmp_path: Path) -> None:
        """Cut the file of the image off in the middle."""
        raise NotImplementedError

    def staging(self, tmp_path: Path) -> str:
        """Return the staging directory."""
        raise NotImplementedError

    @staticmethod
    def content(info: Any) -> bytes:
        with open(os.path.join(info.layers[-1], "f"), "rb") as file:
            return file.read()

    async def test_image_is_pulled_once(self, tmp_path: Path) -> None:
        async with Scope("test") as scope:
            store = self.make(tmp_path, scope)
            await store.recover()
            image = self.image(tmp_path)
            first = await store.get(image, self.backend)
            self.hide(tmp_path)
            second = await store.get(image, self.backend)
            assert first == second
            assert self.content(first) == b"1"
            assert os.listdir(self.staging(tmp_path)) == []

    async def test_image_survives_a_restart(self, tmp_path: Path) -> None:
        async with Scope("test") as scope:
            store = self.make(tmp_path, scope)
            await store.recover()
            image = self.image(tmp_path)
            first = await store.get(image, self.backend)
            self.hide(tmp_path)
            os.mkdir(os.path.join(self.staging(tmp_path), "left-over"))
            store.close()
            store = self.make(tmp_path, scope)
            await store.recover()
            assert await store.get(image, self.backend) == first
            assert os.listdir(self.staging(tmp_path)) == []
            store.close()

    async def test_a_store_has_one_owner(self, tmp_path: Path) -> None:
        async with Scope("test") as scope:
            store = self.make(tmp_path, scope)
            with pytest.raises(FlagError, match=f"is used by process {os.getpid()} "):
                self.make(tmp_path, scope)
            async with store.using():
                pass
            store.close()
            self.make(tmp_path, scope).close()

    async def test_not_cached_is_read_again(self, tmp_path: Path) -> None:
        async with Scope("test") as scope:
            store = self.make(tmp_path, scope)
            await store.recover()
            image = self.image(tmp_path, b"1")
            await store.get(image, self.backend)
            self.image(tmp_path, b"2")
            assert self.content(await store.get(image, self.backend)) == b"1"
            fresh = pb.Image()
            fresh.CopyFrom(image)
            fresh.cached = False
            assert self.content(await store.get(fresh, self.backend)) == b"2"
            assert self.content(await store.get(image, self.backend)) == b"2"
            self.hide(tmp_path)
            with pytest.raises(ProvisionError):
                await store.get(fresh, self.backend)

    async def test_concurrent_calls_share_one_pull(self, tmp_path: Path) -> None:
        async with Scope("test") as scope:
            store = self.make(tmp_path, scope)
            await store.recover()
            image = self.image(tmp_path)
            calls = [asyncio.ensure_future(store.get(image, self.backend)) for _ in range(3)]
            await until(lambda: bool(os.listdir(self.staging(tmp_path))))
            assert len(os.listdir(self.staging(tmp_path))) == 1
            calls[0].cancel()
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(found[0], asyncio.CancelledError)
            assert found[1] == found[2]
            assert self.content(found[1]) == b"1"

    async def test_cancelled_pull_leaves_nothing(self, tmp_path: Path) -> None:
        async with Scope("test") as scope:
            store = self.make(tmp_path, scope)
            await store.recover()
            image = self.image(tmp_path)
            call = asyncio.ensure_future(store.get(image, self.backend))
            await until(lambda: bool(os.listdir(self.staging(tmp_path))))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await until(lambda: not len(scope))
            assert os.listdir(self.staging(tmp_path)) == []
            assert self.content(await store.get(image, self.backend)) == b"1"

    async def test_broken_file(self, tmp_path: Path) -> None:
        async with Scope("test", on_error=lambda name, error: None) as scope:
            store = self.make(tmp_path, scope)
            await store.recover()
            image = self.image(tmp_path)
            self.break_image(tmp_path)
            with pytest.raises(ProvisionError, match=r"truncated|damaged"):
                await store.get(image, self.backend)
            assert os.listdir(self.staging(tmp_path)) == []
            self.image(tmp_path)
            assert self.content(await store.get(image, self.backend)) == b"1"

    async def test_other_kinds_of_images_are_refused(self, tmp_path: Path) -> None:
        async with Scope("test") as scope:
            store = self.make(tmp_path, scope)
            image = self.image(tmp_path)
            other = pb.Image.APPC if image.type == pb.Image.DOCKER else pb.Image.DOCKER
            with pytest.raises(ProvisionError):
                await store.get(pb.Image(type=other), self.backend)
