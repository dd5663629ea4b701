# SPDX-License-Identifier: Apache-2.0
"""What is interrupted: launch and destroy of every kind of container."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mesos_compat.model.ids import ContainerId
from tests.containerizer.crash.corner import Engine
from tests.containerizer.crash.rounds import Scene

C = ContainerId("c")
N = ContainerId("n", C)
D = ContainerId("d", C)


async def _nothing(engine: Engine) -> None:
    """Begin with an empty host."""


def _launch(
    container_id: ContainerId, *, image: bool = False, debug: bool = False
) -> Callable[[Engine], Awaitable[None]]:
    async def launch(engine: Engine) -> None:
        await engine.launch(container_id, image=image, debug=debug)

    return launch


def _running(
    *launches: Callable[[Engine], Awaitable[None]], ids: tuple[ContainerId, ...]
) -> Callable[[Engine], Awaitable[None]]:
    async def before(engine: Engine) -> None:
        for launch in launches:
            await launch(engine)
        await engine.running(*ids)

    return before


def _destroy(container_id: ContainerId) -> Callable[[Engine], Awaitable[object]]:
    async def destroy(engine: Engine) -> object:
        return await engine.mesos.destroy(container_id)

    return destroy


async def _exit(engine: Engine) -> object:
    engine.corner.let_go(C)
    return await engine.mesos.wait(C)


async def _start(engine: Engine) -> None:
    await Engine(engine.corner).mesos.recover([])


def _take_over(
    before: Callable[[Engine], Awaitable[None]],
) -> tuple[Callable[[Engine], Awaitable[None]], Callable[[Engine], Awaitable[object]]]:
    """Return what makes another engine, and what lets it recover."""
    others: list[Engine] = []

    async def make(engine: Engine) -> None:
        await before(engine)
        others.append(Engine(engine.corner))

    async def recover(engine: Engine) -> object:
        await others[-1].mesos.recover([])
        return None

    return make, recover


_host, _image, _nested = _launch(C), _launch(C, image=True), _launch(N)

SCENES = {
    scene.name: scene
    for scene in (
        Scene("start", _nothing, _start, ()),
        Scene("recover", *_take_over(_running(_image, _nested, ids=(C, N))), (C, N)),
        Scene("launch host", _nothing, _host, (C,)),
        Scene("launch image", _nothing, _image, (C,)),
        Scene("launch nested", _running(_host, ids=(C,)), _nested, (C, N)),
        Scene(
            "launch session",
            _running(_host, ids=(C,)),
            _launch(D, debug=True),
            (C, D),
            debug=frozenset({D}),
        ),
        Scene("destroy host", _running(_host, ids=(C,)), _destroy(C), (C,), destroys=True),
        Scene("destroy image", _running(_image, ids=(C,)), _destroy(C), (C,), destroys=True),
        Scene("destroy nested", _running(_host, _nested, ids=(C, N)), _destroy(N), (C, N), True),
        Scene("destroy tree", _running(_host, _nested, ids=(C, N)), _destroy(C), (C, N), True),
        Scene("exit host", _running(_host, ids=(C,)), _exit, (C,), destroys=True),
    )
}
