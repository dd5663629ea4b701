# SPDX-License-Identifier: Apache-2.0
"""What is interrupted: launch and destroy of every kind of container, and who is killed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from mesos_compat.model.ids import ContainerId
from tests.containerizer.crash.corner import Engine, Kind, unified_mount
from tests.containerizer.crash.rounds import ENGINE, INSIDE, PROGRAM, SPAWNER, Scene

C = ContainerId("c")
N = ContainerId("n", C)
D = ContainerId("d", C)


async def _nothing(engine: Engine) -> None:
    """Begin with an empty host."""


async def _make_volume(engine: Engine) -> None:
    engine.corner.make_volume()


async def _share(engine: Engine) -> None:
    engine.corner.share(C)
    engine.corner.make_volume()


def _launch(
    container_id: ContainerId,
    *,
    image: bool = False,
    debug: bool = False,
    terminal: bool = False,
    volume: bool = False,
    shared: bool = False,
) -> Callable[[Engine], Awaitable[None]]:
    async def launch(engine: Engine) -> None:
        await engine.launch(
            container_id, image=image, debug=debug, terminal=terminal, volume=volume, shared=shared
        )

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
    engine.let_go_of_images()
    await Engine(engine.corner).recover()


async def _start_spawner(engine: Engine) -> None:
    await engine.spawner.start()


def _take_over(
    before: Callable[[Engine], Awaitable[None]],
) -> tuple[Callable[[Engine], Awaitable[None]], Callable[[Engine], Awaitable[object]]]:
    """Return what makes another engine, and what lets it recover."""
    others: list[Engine] = []

    async def make(engine: Engine) -> None:
        await before(engine)
        engine.let_go_of_images()
        others.append(Engine(engine.corner))

    async def recover(engine: Engine) -> object:
        await others[-1].recover()
        return None

    return make, recover


_host, _image, _terminal, _nested = (
    _launch(C),
    _launch(C, image=True),
    _launch(C, terminal=True),
    _launch(N),
)
_volume, _shared = _launch(C, volume=True), _launch(N, shared=True)
_session = _launch(D, debug=True)
_debug = frozenset({D})


def _of_each_kind(kind: Kind) -> Iterator[Scene]:
    """What every launcher can do."""
    suffix = "" if kind is Kind.V1 else f" {kind.value}"
    one, both = _running(_host, ids=(C,)), _running(_host, _nested, ids=(C, N))
    yield Scene(f"launch host{suffix}", _nothing, _host, (C,), kind=kind)
    yield Scene(f"launch nested{suffix}", one, _nested, (C, N), kind=kind)
    yield Scene(f"destroy host{suffix}", one, _destroy(C), (C,), True, kind=kind)
    yield Scene(f"destroy tree{suffix}", both, _destroy(C), (C, N), True, kind=kind)
    yield Scene(f"exit host{suffix}", one, _exit, (C,), True, kind=kind)
    yield Scene(f"recover host{suffix}", *_take_over(both), (C, N), kind=kind)


def _scenes() -> Iterator[Scene]:
    one = _running(_host, ids=(C,))
    image, terminal = _running(_image, ids=(C,)), _running(_terminal, ids=(C,))
    nested = _running(_host, _nested, ids=(C, N))
    session = _running(_host, _session, ids=(C, D))
    volume = _running(_make_volume, _volume, ids=(C,))
    sharing = _running(_host, _share, ids=(C,))
    shared = _running(_host, _share, _shared, ids=(C, N))
    yield Scene("start", _nothing, _start, ())
    yield Scene("start spawner", _nothing, _start_spawner, (), real_spawner=True)
    yield from _of_each_kind(Kind.V1)
    yield from _of_each_kind(Kind.POSIX)
    if unified_mount() is not None:
        yield from _of_each_kind(Kind.V2)
    yield Scene("recover", *_take_over(_running(_image, _nested, ids=(C, N))), (C, N))
    yield Scene("recover terminal", *_take_over(terminal), (C,))
    yield Scene("pull", _nothing, _image, (C,), cold=True)
    yield Scene("launch image", _nothing, _image, (C,))
    yield Scene("launch terminal", _nothing, _terminal, (C,))
    yield Scene("launch session", one, _session, (C, D), debug=_debug)
    yield Scene("destroy image", image, _destroy(C), (C,), True)
    yield Scene("destroy terminal", terminal, _destroy(C), (C,), True)
    yield Scene("destroy session", session, _destroy(D), (C, D), True, debug=_debug)
    yield Scene("destroy nested", nested, _destroy(N), (C, N), True)
    yield Scene("exit image", image, _exit, (C,), True)
    yield Scene("exit terminal", terminal, _exit, (C,), True)
    ends = frozenset({C})
    yield Scene("launch volume", _make_volume, _volume, (C,), debug=ends, volume=True)
    yield Scene("destroy volume", volume, _destroy(C), (C,), True, debug=ends, volume=True)
    yield Scene("launch shared", sharing, _shared, (C, N), volume=True)
    yield Scene("destroy shared", shared, _destroy(C), (C, N), True, volume=True)
    yield Scene("recover shared", *_take_over(shared), (C, N), volume=True)


SCENES = {scene.name: scene for scene in _scenes()}


def _cases() -> Iterator[tuple[str, str]]:
    for scene in SCENES.values():
        yield scene.name, ENGINE
        if scene.cold:
            yield scene.name, PROGRAM
        elif scene.ids and not (scene.volume or scene.name.startswith("recover")):
            yield scene.name, SPAWNER
            yield scene.name, INSIDE


#: Names of scenes, and who is killed in them.
CASES = tuple(_cases())
