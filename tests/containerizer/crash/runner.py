# SPDX-License-Identifier: Apache-2.0
"""All rounds of some cases, by a few processes at a time, each in its own corner of the host."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from containerizer.linux.prctl import set_child_subreaper, set_parent_death_signal
from tests.containerizer.crash import rounds, spawners
from tests.containerizer.crash.corner import Corner, Engine
from tests.containerizer.crash.rounds import Report
from tests.containerizer.crash.scenes import SCENES, C

#: No scene has more points than this.
MOST = 2000

Case = tuple[str, str]


def play(
    numbers: Mapping[Case, Sequence[int]], folder: Path, workers: int
) -> Iterator[dict[Case, Report]]:
    """Play each case at its points, as far as there are so many.

    Yields what each worker found. Raises RuntimeError if one breaks.
    """
    set_child_subreaper(True)
    started = [_start(part, folder, n) for n, part in enumerate(_parts(numbers, workers))]
    for pid, read in started:
        with open(read, "rb") as told:
            content = told.read()
        os.waitpid(pid, 0)
        if not content:
            raise RuntimeError("a worker broke")
        found: dict[Case, Report] = pickle.loads(content)
        yield found


def _parts(
    numbers: Mapping[Case, Sequence[int]], workers: int
) -> Iterator[Mapping[Case, Sequence[int]]]:
    """Divide the work: many cases, or else the points of each."""
    cases = list(numbers)
    for worker in range(workers):
        if len(cases) > workers:
            yield {case: numbers[case] for case in cases[worker::workers]}
        else:
            yield {case: points[worker::workers] for case, points in numbers.items()}


def _start(numbers: Mapping[Case, Sequence[int]], folder: Path, worker: int) -> tuple[int, int]:
    """Start a worker; return its pid and where it tells."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    try:
        os.close(read)
        set_parent_death_signal(signal.SIGKILL)
        set_child_subreaper(True)
        corner = Corner(folder / str(worker), str(worker))
        found: dict[Case, Report] = {}
        ready = _prepare(corner)
        for case, points in numbers.items():
            scene, killed = SCENES[case[0]], case[1]
            if scene.cold:
                ready = False
            elif not ready:
                ready = _fill(corner)
            spawners.choose(real=scene.real_spawner)
            found[case] = rounds.run(scene, killed, corner, points)
        with open(write, "wb") as told:
            pickle.dump(found, told)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _prepare(corner: Corner) -> bool:
    """Load all that rounds need, once for all of them."""
    corner.write_image()
    spawners.read_plugins_once()
    asyncio.run(_warm_up(corner))
    filled = _fill(corner)
    gc.collect()
    gc.freeze()
    return filled


def _fill(corner: Corner) -> bool:
    """Have the image in the store."""
    problems = rounds.in_child(corner, "first", lambda: _pull(corner))
    if problems:
        raise RuntimeError("\n".join(problems))
    corner.clear()
    return True


async def _warm_up(corner: Corner) -> None:
    await Engine(corner).close()


async def _pull(corner: Corner) -> None:
    engine = Engine(corner)
    await engine.mesos.recover([])
    await engine.launch(C, image=True)
    await engine.ended(C)
    await engine.close()


def sample(cases: Iterable[Case], every: int, offsets: Iterable[int]) -> dict[Case, Sequence[int]]:
    """Return every so manieth point of each case, from a point of its own on."""
    return {
        case: range(1 + offset % every, MOST, every)
        for case, offset in zip(cases, offsets, strict=False)
    }
