# SPDX-License-Identifier: Apache-2.0
"""What an agent keeps on disk has the names that upstream's agent knows, so that it can go back."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.conformance.stage import UNTIL_END
from integration.frameworks.owner import VolumeOwner, on_disk, operation, task
from integration.processes import eventually
from integration.scene import Scene
from integration.test_volumes import GIDS

pytestmark = [pytest.mark.integration, pytest.mark.root]

_ID = r"[^/]+"
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_RUN = f"slaves/{_ID}/frameworks/{_ID}/executors/{_ID}/runs"
_FRAMEWORK = f"slaves/{_ID}/frameworks/{_ID}"

#: Files and links below ``meta``.
META = (
    "boot_id",
    r"resources/(resources\.(info|target)|resources_and_operations\.(state|target))",
    "volume_gid_manager/volume_gids",
    "slaves/latest",
    rf"slaves/{_ID}/(slave\.info|drain\.config)",
    rf"slaves/{_ID}/operations/{_UUID}/operation\.updates",
    rf"{_FRAMEWORK}/framework\.(info|pid)",
    rf"{_FRAMEWORK}/executors/{_ID}/(executor\.info|executor_generated_for_command_task)",
    f"{_RUN}/latest",
    rf"{_RUN}/{_UUID}/(executor\.sentinel|http\.marker|pids/(forked|libprocess)\.pid)",
    rf"{_RUN}/{_UUID}/tasks/{_ID}/task\.(info|updates)",
)
_CONTAINER = rf"containers/{_UUID}(/containers/{_ID})*"
#: The same below the runtime directory; the address of the agent is ours.
RUNTIME = (
    "address",
    rf"{_CONTAINER}/(config|launch_info|pid|status|termination|standalone\.marker)",
    f"{_CONTAINER}/force_destroy_on_recovery",
    f"{_CONTAINER}/io_switchboard/(pid|socket)",
    f"{_CONTAINER}/devices/(full|null|random|tty|urandom|zero)",
    r"agent\.sock",
)


def unknown(top: str, names: tuple[str, ...]) -> list[str]:
    """Return what has none of these names."""
    pattern = re.compile("|".join(f"(?:{name})" for name in names))
    return sorted(path for path in files(top) if not pattern.fullmatch(path))


def files(top: str) -> Iterator[str]:
    """All below a directory that is none."""
    for folder, directories, others in os.walk(top):
        for name in (*directories, *others):
            path = os.path.join(folder, name)
            if os.path.islink(path) or not os.path.isdir(path):
                yield os.path.relpath(path, top)


def test_no_unknown_names(scene: Scene) -> None:
    master = scene.master()
    agent = scene.agent(
        master,
        isolation="filesystem/linux,volume/sandbox_path,namespaces/pid,cgroups/cpu,cgroups/mem",
        volume_gid_range=GIDS,
    )
    owner = VolumeOwner(master.address)
    one, two = (on_disk(16, None, name) for name in ("one", "two"))
    owner.make(one, two)
    owner.launch(task("on", UNTIL_END, one))
    owner.director.until("on", "TASK_RUNNING")
    owner.launch_pod(task("in", UNTIL_END, two), task("ends", "true"))
    owner.director.until("in", "TASK_RUNNING")
    owner.director.until("ends", "TASK_FINISHED")
    parts = operation("RESERVE", on_disk(1), id_="nobody acknowledges")
    owner.director.accept(owner.director.offer(), parts)
    meta, runtime = os.path.join(agent.work_dir, "meta"), agent.runtime_dir

    def check(*expected: str) -> None:
        def strange() -> list[str]:
            return [*unknown(meta, META), *unknown(runtime, RUNTIME)]

        # Files that are being written have other names for a moment.
        with contextlib.suppress(AssertionError):
            eventually(lambda: not strange(), 10, "known names only")
        assert strange() == []
        found = {os.path.basename(path) for top in (meta, runtime) for path in files(top)}
        assert found.issuperset(expected), found

    operations = Path(meta, "slaves", "latest", "operations")
    eventually(lambda: operations.is_dir() and any(operations.iterdir()), 60, "an operation")
    check("forked.pid", "http.marker", "task.updates", "operation.updates", "launch_info")
    agent.kill()
    agent.spawn().wait_until_registered()
    for path in Path(agent.work_dir, "slaves").rglob("stdout"):
        (path.parent / "end").touch()
    owner.director.until("on", "TASK_FINISHED")
    owner.director.until("in", "TASK_FINISHED")
    eventually(lambda: agent.state()["frameworks"] == [], 60, "the executors to be gone")
    check("executor.sentinel", "boot_id", "slave.info", "resources_and_operations.state")
    assert [path for path in files(runtime) if path != "address"] == []
