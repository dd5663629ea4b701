# SPDX-License-Identifier: Apache-2.0
"""Images of a real cluster: their users, their removal, and commands beside an agent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from integration.api import Api, container_id
from integration.processes import eventually
from integration.scene import Scene
from integration.test_containers import IMAGE_ISOLATION, task
from tests.containerizer.provisioner.images import Entry, folder, saved, tar, write

pytestmark = pytest.mark.root

BUSYBOX = Path("/bin/busybox")
#: Each prints who it is; what it writes is in the sandbox.
WHO = "id -u; id -G; touch /mnt/mesos/sandbox/mine"
RESOURCES = [
    {"name": name, "type": "SCALAR", "scalar": {"value": value}}
    for name, value in (("cpus", 0.1), ("mem", 32))
]


def container(name: str) -> dict[str, object]:
    return {"type": "MESOS", "mesos": {"image": {"type": "DOCKER", "docker": {"name": name}}}}


@pytest.fixture
def images(tmp_path: Path) -> str:
    if not BUSYBOX.exists():
        pytest.skip("needs busybox (Debian package busybox-static)")
    names = ("sh", "id", "touch", "sleep", "cat", "test")
    base = tar(
        [
            folder("bin"),
            folder("etc"),
            Entry("bin/busybox", BUSYBOX.read_bytes(), mode=0o755),
            *(Entry(f"bin/{name}", kind="symlink", to="busybox") for name in names),
            Entry("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:4242:4243::/:/bin/sh\n"),
            Entry("etc/group", b"root:x:0:\napp:x:4243:\nlog:x:4244:app\n"),
        ]
    )
    registry = tmp_path / "images"
    for name in ("app", "other"):
        layers = [base, tar([Entry("name", name.encode())])]
        data = saved(layers, None, User="app", Env=["PATH=/bin"])
        write(str(registry / f"{name}.tar"), data)
    return str(registry)


def image_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "mesos_compat.cli.main", "image", *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_users_of_images(scene: Scene, images: str) -> None:
    master = scene.master()
    agent = scene.agent(
        master,
        isolation=IMAGE_ISOLATION,
        image_providers="docker",
        docker_registry=images,
        docker_image_user=True,
    )
    seen = "4242\n4243 4244\n"
    done = scene.execute(master, task("mine", {"value": WHO}, container("app")))
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert seen in agent.stdout("mine")
    assert Path(agent.sandbox("mine"), "mine").stat().st_uid == 4242
    done = scene.execute(master, task("named", {"value": WHO, "user": "nobody"}, container("app")))
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert agent.stdout("named").splitlines()[-2] == "65534"
    api = Api(agent.address)
    alone, inner = container_id("alone"), container_id("alone", "in")
    launch = {"container_id": alone, "resources": RESOURCES, "container": container("app")}
    command = {"value": f"{WHO}; exec sleep 1000"}
    assert api.call("LAUNCH_CONTAINER", command=command, **launch).status == 200
    sandbox = Path(agent.work_dir, "containers", "alone")
    eventually(lambda: (sandbox / "mine").exists(), 60, "the standalone container")
    nested = {"container_id": inner, "container": container("app"), "command": {"value": WHO}}
    assert api.call("LAUNCH_CONTAINER", **nested).status == 200
    assert '"exit_status":0' in api.call("WAIT_CONTAINER", container_id=inner).text
    for path in (sandbox, sandbox / "containers" / "in"):
        assert (path / "stdout").read_text() == seen
        assert (path / "mine").stat().st_uid == 4242
    api.call("KILL_CONTAINER", container_id=alone)
    api.call("WAIT_CONTAINER", container_id=alone)


TABLE = Path(__file__).parents[1] / "tests" / "golden" / "containers" / "docker-runtime-table.txt"
CAT = ["/bin/cat", "/proc/self/cmdline"]
#: Entry points and commands of the recorded images.
RECORDED = {
    "e0c0": {},
    "e0c1": {"Cmd": CAT},
    "e1c0": {"Entrypoint": CAT},
    "e1c1": {"Entrypoint": CAT, "Cmd": ["/cmd1"]},
}


def recorded(kind: str) -> list[tuple[dict[str, object], str, str]]:
    """Return command, image and outcome of each recorded launch without a shell command."""
    found = []
    for line in TABLE.read_text().splitlines():
        words = line.split(" ", 5)
        if words[0] == kind and words[1:3] != ["1", "1"]:
            command: dict[str, object] = {"shell": words[1] == "1"}
            if words[2] == "1":
                command["value"] = "cat"
            if words[3] == "1":
                own = ["cat", "/proc/self/cmdline"] if words[2] == "1" else [*CAT[1:], "q"]
                command["arguments"] = own
            found.append((command, words[4], words[5]))
    assert len(found) > 10
    return found


def test_commands_as_recorded(scene: Scene, images: str) -> None:
    """What a real agent made of entry points, commands and arguments, all kinds of containers."""
    layer = tar(
        [
            folder("bin"),
            Entry("bin/busybox", BUSYBOX.read_bytes(), mode=0o755),
            *(Entry(f"bin/{name}", kind="symlink", to="busybox") for name in ("cat", "sleep")),
        ]
    )
    for name, config in RECORDED.items():
        write(f"{images}/{name}.tar", saved([layer], None, Env=["PATH=/bin"], **config))
    master = scene.master()
    agent = scene.agent(
        master, isolation=IMAGE_ISOLATION, image_providers="docker", docker_registry=images
    )
    api = Api(agent.address)
    root = container_id("root")
    launch = {"container_id": root, "resources": RESOURCES, "command": {"value": "sleep 1000"}}
    assert api.call("LAUNCH_CONTAINER", **launch).status == 200
    sandboxes = Path(agent.work_dir, "containers")
    for number, (command, image, outcome) in enumerate(recorded("SA")):
        status, _, rest = outcome.partition(" ")
        for path in ((f"c{number}",), ("root", f"c{number}")):
            asked: dict[str, object] = {"command": command, "container": container(image)}
            if len(path) == 1:
                asked["resources"] = RESOURCES
            answer = api.call("LAUNCH_CONTAINER", container_id=container_id(*path), **asked)
            assert answer.status == int(status), (command, image, answer)
            if status == "400":
                assert rest.startswith(answer.text), (command, image)
                continue
            ended = api.call("WAIT_CONTAINER", container_id=container_id(*path))
            printed = Path(sandboxes, "/containers/".join(path), "stdout").read_text()
            shown = printed.replace("\0", "|")
            exit_status = ended.value.get("exit_status", 0)
            assert f"{exit_status} '{shown}'" in rest, (command, image, path)
    api.call("KILL_CONTAINER", container_id=root)
    api.call("WAIT_CONTAINER", container_id=root)
    for number, (command, image, outcome) in enumerate(recorded("CT")[:9]):
        done = scene.execute(master, task(f"t{number}", command, container(image)))
        assert done.states[-1] == outcome.split(" ")[0], (command, image, str(done))
        if "'" in outcome:
            shown = agent.stdout(f"t{number}").replace("\0", "|")
            assert outcome.rpartition("| ")[2].strip("'") in shown, (command, image)


def test_what_is_used_stays(scene: Scene, images: str) -> None:
    """Also for those who use the command beside the agent."""
    agent = scene.agent(
        scene.master(),
        isolation=IMAGE_ISOLATION,
        image_providers="docker",
        docker_registry=images,
        image_gc_config=json.dumps(
            {
                "image_disk_headroom": 0.0,
                "image_disk_watch_interval": {"nanoseconds": 3600 * 10**9},
                "excluded_images": [],
            }
        ),
    )
    store = os.path.join(agent.folder, "store", "docker")
    api = Api(agent.address)
    for name in ("app", "other"):
        launch = {
            "container_id": container_id(name),
            "resources": RESOURCES,
            "container": container(name),
            "command": {"value": "touch /mnt/mesos/sandbox/up; cat /name; exec sleep 1000"},
        }
        assert api.call("LAUNCH_CONTAINER", **launch).status == 200
    sandboxes = Path(agent.work_dir, "containers")
    eventually(lambda: (sandboxes / "app" / "up").exists(), 60, "the container")
    api.call("KILL_CONTAINER", container_id=container_id("other"))
    api.call("WAIT_CONTAINER", container_id=container_id("other"))

    def listed() -> list[str]:
        return image_command("ls", "-q", f"--docker_store_dir={store}").stdout.split()

    assert listed() == ["app", "other"]
    refused = image_command("rm", "other", f"--docker_store_dir={store}")
    assert refused.returncode == 125
    assert f"The store '{store}' is used by process " in refused.stderr
    assert api.call("PRUNE_IMAGES").status == 200
    eventually(lambda: listed() == ["app"], 60, "the image to go")
    shown = image_command("inspect", "app", f"--docker_store_dir={store}")
    assert [layer["mounted"] for layer in json.loads(shown.stdout)[0]["layers"]] == [True, True]
    api.call("KILL_CONTAINER", container_id=container_id("app"))
    api.call("WAIT_CONTAINER", container_id=container_id("app"))
    assert image_command("prune", "--agent", agent.address).returncode == 0
    eventually(lambda: listed() == [], 60, "all images to go")
    agent.stop()
    kept = image_command(
        "pull", "app", f"--docker_store_dir={store}", f"--docker_registry={images}"
    )
    assert kept.returncode == 0, kept.stderr
    assert listed() == ["app"]


def image_volume(path: str, name: str, mode: str) -> dict[str, object]:
    return {
        "container_path": path,
        "mode": mode,
        "image": {"type": "DOCKER", "docker": {"name": name}},
    }


def test_volumes_of_images(scene: Scene, images: str) -> None:
    """With and without an image of the container's own, for tasks and standalone containers."""
    master = scene.master()
    agent = scene.agent(
        master,
        isolation=IMAGE_ISOLATION,
        image_providers="docker",
        docker_registry=images,
    )
    both = [image_volume("/vol/app", "app", "RO"), image_volume("sub/other", "other", "RW")]
    within = container("app") | {"volumes": both}
    script = "cat /vol/app/name sub/other/name; touch sub/other/new && cat sub/other/new"
    script += "; touch /vol/app/new || echo ' refused'"
    done = scene.execute(master, task("both", {"value": script}, within))
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert "appother refused" in agent.stdout("both")
    plain = {"type": "MESOS", "volumes": [image_volume("data", "other", "RO")]}
    done = scene.execute(master, task("plain", {"value": "cat data/name; echo"}, plain))
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    assert "other" in agent.stdout("plain").splitlines()
    api = Api(agent.address)
    alone = container_id("alone")
    launch = {"container_id": alone, "resources": RESOURCES, "container": plain}
    launch["command"] = {"value": "cat data/name; sleep 1000"}
    assert api.call("LAUNCH_CONTAINER", **launch).status == 200
    output = Path(agent.work_dir, "containers", "alone", "stdout")
    eventually(lambda: output.read_text() == "other", 60, "what is in the volume")
    inner = container_id("alone", "in")
    nested = {"container_id": inner, "container": plain, "command": {"value": "cat data/name"}}
    assert api.call("LAUNCH_CONTAINER", **nested).status == 200
    inside = Path(agent.work_dir, "containers", "alone", "containers", "in", "stdout")
    eventually(lambda: inside.read_text() == "other", 60, "what is in the volume")
    missing = {"type": "MESOS", "volumes": [image_volume("/no/such/place", "other", "RO")]}
    answer = api.call(
        "LAUNCH_CONTAINER",
        container_id=container_id("bad"),
        resources=RESOURCES,
        container=missing,
        command={"value": "true"},
    )
    assert "Absolute container path '/no/such/place' does not exist" in answer.text
    # The id can be used again at once.
    unknown = [image_volume("a", "none-1", "RO"), image_volume("b", "none-2", "RO")]
    answer = api.call(
        "LAUNCH_CONTAINER",
        container_id=container_id("bad"),
        resources=RESOURCES,
        container={"type": "MESOS", "volumes": unknown},
        command={"value": "true"},
    )
    assert answer.status == 400, answer
    first, second = answer.text.splitlines()
    assert "'none-1'" in first
    assert "'none-2'" in second
    assert api.call("KILL_CONTAINER", container_id=alone).status == 200
    assert api.call("WAIT_CONTAINER", container_id=alone).status == 200
