# SPDX-License-Identifier: Apache-2.0
"""AppC images at a real master: sites with TLS, signatures, dependencies, all of ``app``."""

import contextlib
import functools
import gzip
import http.server
import json
import ssl
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.agent import OurAgent
from integration.api import Api, container_id
from integration.images import PATH, Member, busybox_members, layer
from integration.processes import eventually
from integration.scene import Scene
from tests.suites.openpgp import Signer, needs_gpg
from tests.suites.tls import certificate, needs_openssl

pytestmark = [pytest.mark.root, needs_gpg, needs_openssl]

LABELS = [
    {"name": "version", "value": "latest"},
    {"name": "os", "value": "linux"},
    {"name": "arch", "value": "amd64"},
]
BASE = [
    *busybox_members(),
    Member("etc/passwd", data=b"app:x:4711:4712::/:/bin/sh\n", mode=0o644),
    Member("etc/group", data=b"app:x:4712:\nlog:x:4713:\n", mode=0o644),
    Member("secret", data=b"x", mode=0o644),
]
SCRIPT = """id -u; id -g; pwd; echo $E $AC_APP_NAME $container; test -e /secret || echo cut down
touch /data/x && ls /data; grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status"""
APP = {
    "exec": ["/bin/sh", "-c", SCRIPT],
    "user": "app",
    "group": "log",
    "environment": [{"name": "E", "value": "of the image"}, {"name": "PATH", "value": PATH}],
    "workingDirectory": "/work",
    "mountPoints": [{"name": "data", "path": "/data"}],
    "ports": [{"name": "www", "protocol": "tcp", "port": 80}],
    "isolators": [
        {
            "name": "os/linux/capabilities-retain-set",
            "value": {"set": ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"]},
        },
        {"name": "os/linux/no-new-privileges", "value": True},
        {"name": "resource/cpu", "value": {"limit": "100m"}},
    ],
}


RESOURCES = [
    {"name": name, "type": "SCALAR", "scalar": {"value": value}}
    for name, value in (("cpus", 0.1), ("mem", 32))
]


def image(name: str, members: list[Member], **manifest: Any) -> bytes:
    """Return an image."""
    document = {
        "acKind": "ImageManifest",
        "acVersion": "0.8.11",
        "name": name,
        "labels": LABELS,
        **manifest,
    }
    content = [
        Member("manifest", data=json.dumps(document).encode(), mode=0o644),
        Member("rootfs", tarfile.DIRTYPE),
    ]
    content += [
        Member(f"rootfs/{m.name}", m.kind, m.data, m.mode, m.link, m.device) for m in members
    ]
    return gzip.compress(layer(content), 1, mtime=0)


def put(path: Path, data: bytes, signer: Signer | None) -> None:
    """Write an image and its signature."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if signer is not None:
        Path(f"{path}.asc").write_bytes(signer.sign(path))


@contextlib.contextmanager
def site(folder: Path, tls: ssl.SSLContext) -> Iterator[str]:
    """Serve ``folder`` with TLS; yield host and port."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def signer() -> Iterator[Signer]:
    # the socket of gpg-agent needs a short path
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = Signer(Path(folder, "g"), "alice")
        yield made
        made.close()


def run(scene: Scene, agent: OurAgent, task: str, name: str, *flags: str) -> str:
    """Run a task in an image; return what it wrote."""
    done = scene.execute(agent.master, f"--name={task}", f"--appc_image={name}", *flags)
    done.check("TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED")
    return agent.stdout(task)


def _standalone_and_nested(agent: OurAgent) -> None:
    """Have the app run by its own command, and with arguments instead of all but its first word."""
    api = Api(agent.address)
    labels = [{"key": each["name"], "value": each["value"]} for each in LABELS]
    appc = {"name": "app", "labels": {"labels": labels}}
    container = {"type": "MESOS", "mesos": {"image": {"type": "APPC", "appc": appc}}}
    alone, inner = container_id("alone"), container_id("alone", "in")
    arguments = ["-c", "id -u; touch /data/y; ls /data; exec sleep 1000"]
    launched = api.call(
        "LAUNCH_CONTAINER",
        container_id=alone,
        resources=RESOURCES,
        container=container,
        command={"shell": False, "arguments": arguments},
    )
    assert launched.shown == (200, "")
    sandbox = Path(agent.work_dir, "containers", "alone")
    output = sandbox / "stdout"
    eventually(lambda: output.exists() and "y\n" in output.read_text(), 60, "the container")
    assert output.read_text() == "4711\ny\n"
    command = {"shell": False}
    nested = api.call("LAUNCH_CONTAINER", container_id=inner, container=container, command=command)
    assert nested.shown == (200, "")
    assert '"exit_status":0' in api.call("WAIT_CONTAINER", container_id=inner).text
    said = (sandbox / "containers" / "in" / "stdout").read_text()
    assert said.startswith("4711\n4713\n/work\nof the image app mesos\ncut down\nx\n")
    api.call("KILL_CONTAINER", container_id=alone)
    api.call("WAIT_CONTAINER", container_id=alone)


def test_all_that_an_image_can_say(scene: Scene, signer: Signer) -> None:
    here, keys, www = (Path(scene.path(name)) for name in ("aci", "keys", "www"))
    for each in (here, keys, www):
        each.mkdir()
    authority, tls = certificate(Path(scene.folder))
    (keys / "alice.asc").write_bytes(signer.key())
    kept = [f"/{member.name}" for member in BASE if member.name != "secret"]
    needs = [{"imageName": "base", "labels": LABELS}]
    app = image("app", [], dependencies=needs, pathWhitelist=kept, app=APP)
    put(here / "base-latest-linux-amd64.aci", image("base", BASE), signer)
    put(here / "app-latest-linux-amd64.aci", app, signer)
    put(here / "unsigned-latest-linux-amd64.aci", image("unsigned", BASE), None)
    with site(www, tls) as host:
        tag = f'<meta name="ac-discovery" content="{host} https://{host}/{{version}}.{{ext}}">'
        (www / "index.html").write_text(f"<html><head>{tag}</head></html>")
        put(www / "latest.aci", image(f"{host}/found", BASE), signer)
        agent = scene.agent(
            scene.master(),
            variables={"CURL_CA_BUNDLE": authority},
            isolation="filesystem/linux,appc/runtime,linux/capabilities",
            launcher="linux",
            image_providers="appc",
            appc_simple_discovery_uri_prefix=f"file://{here}/",
            appc_meta_discovery=True,
            appc_trusted_keys=str(keys),
            appc_extensions="dependency_ids,path_whitelist,environment,isolators,mount_points,user",
        )
        for number in range(2):
            said = run(scene, agent, f"app-{number}", "app", "--shell=false")
            assert "4711\n4713\n/work\nof the image app mesos\ncut down\nx\n" in said
            # CAP_CHOWN, CAP_KILL, CAP_SETGID, CAP_SETUID
            assert f"CapBnd:\t{1 << 0 | 1 << 5 | 1 << 6 | 1 << 7:016x}\n" in said
            assert "NoNewPrivs:\t1\n" in said
        assert "found by a site\n" in run(
            scene, agent, "found", f"{host}/found", "--command=echo found by a site"
        )
        _standalone_and_nested(agent)
        done = scene.execute(agent.master, "--name=none", "--appc_image=unsigned", "--command=true")
        assert done.states == ["TASK_FAILED"]
        assert "is not trusted" in done.stdout
