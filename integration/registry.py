# SPDX-License-Identifier: Apache-2.0
"""Real registries (Debian: docker-registry), what stands before them, and images to put there."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from integration.images import DockerImage, Member, busybox_members, docker_archive, layer
from integration.processes import Program, eventually, free_port

TOOLS = ("docker-registry", "skopeo", "buildah", "openssl", "zstd")

USER, PASSWORD = "test", "secret"


def missing_tools() -> list[str]:
    """Return the programs that the tests of registries need and that are not here."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def run(*argv: str, cwd: str | None = None) -> bytes:
    """Run a program to its end, which must be good."""
    done = subprocess.run(argv, capture_output=True, timeout=120, check=False, cwd=cwd)
    assert done.returncode == 0, f"{argv}: {done.stderr.decode(errors='replace')}"
    return done.stdout


class RealRegistry(Program):
    """A registry of the distribution project on a port of its own."""

    def __init__(self, folder: str, **settings: object) -> None:
        os.makedirs(folder, exist_ok=True)
        super().__init__("registry", os.path.join(folder, "registry.log"))
        self.folder = folder
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        http = {"addr": self.address, **_table(settings.pop("http", {}))}
        storage = {"filesystem": {"rootdirectory": os.path.join(folder, "data")}}
        config = {"version": "0.1", "log": {"level": "warn"}, "storage": storage, "http": http}
        self._config = os.path.join(folder, "config.yml")
        with open(self._config, "w", encoding="utf-8") as file:
            json.dump(config | settings, file)
        self.scheme = "https" if "tls" in http else "http"

    @property
    def url(self) -> str:
        """For ``--docker_registry``."""
        return f"{self.scheme}://{self.address}"

    def start(self) -> "RealRegistry":
        """Start it and wait until it answers."""
        self.launch(["docker-registry", "serve", self._config], {}, self.folder)

        def probe() -> bool:
            assert self.running, self.tail()
            try:
                urllib.request.urlopen(f"http://{self.address}/v2/", timeout=60).close()
            except urllib.error.HTTPError:
                pass  # wants credentials, or TLS
            except OSError:
                return False
            return True

        eventually(probe, 60, "the registry to answer")
        return self


def _table(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def push(
    archive: str, registry: RealRegistry, name: str, *options: str, tool: str = "skopeo"
) -> None:
    """Push the image in a ``docker save`` archive, by skopeo or by buildah, as ``options`` say."""
    if registry.log_text() and not registry.running:
        raise AssertionError(registry.tail())
    credentials = f"{USER}:{PASSWORD}"
    target = f"docker://{registry.address}/{name}"
    if tool == "skopeo":
        common = ("--insecure-policy", "--dest-tls-verify=false", f"--dest-creds={credentials}")
        run("skopeo", "copy", "-q", *common, *options, f"docker-archive:{archive}", target)
        return
    storage = ("--root", f"{registry.folder}/buildah", "--storage-driver", "vfs")
    image = run("buildah", *storage, "pull", "-q", f"docker-archive:{archive}").decode().strip()
    common = ("-q", "--tls-verify=false", f"--creds={credentials}")
    run("buildah", *storage, "push", *common, *options, image, target)


def write_archive(folder: str, name: str, extra: Sequence[Sequence[Member]] = ()) -> str:
    """Write the archive of a busybox image with ``/etc/name``, and more layers above."""
    base = [*busybox_members(), Member("etc/name", data=f"{name}\n".encode(), mode=0o644)]
    layers = [layer(base), *(layer(members) for members in extra)]
    path = os.path.join(folder, f"{name}.tar")
    with open(path, "wb") as file:
        file.write(docker_archive(DockerImage(f"{name}:latest", layers)))
    return path


# --- what stands before a registry ---


class Server:
    """An HTTP server of a test, in threads."""

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answer(self)

            def do_POST(self) -> None:
                answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """For ``--docker_registry``."""
        return f"http://{self.address}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


def reply(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
) -> None:
    """Send a whole answer."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class TroubledRegistry(Server):
    """Hands on what a registry says, but for each blob it first fails in all the ways in turn.

    ``held`` is a way, too: a part of the blob comes, the rest when ``go`` is set.
    """

    WAYS = ("429", "503", "truncated", "stalled", "closed")

    def __init__(self, registry: RealRegistry, ways: Sequence[str] = WAYS) -> None:
        self._registry = registry
        self._ways = ways
        self.held = threading.Event()
        self.go = threading.Event()
        self._left: dict[str, list[str]] = {}
        #: Path, Range and way of each request.
        self.requests: list[tuple[str, str | None, str]] = []
        super().__init__(self._answer)

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = {
            name: value
            for name, value in handler.headers.items()
            if name.lower() in ("accept", "range", "authorization")
        }
        ways = self._left.setdefault(handler.path, list(self._ways))
        way = ways.pop(0) if ways and "/blobs/" in handler.path else "good"
        self.requests.append((handler.path, handler.headers.get("Range"), way))
        if way.isdigit():
            reply(handler, int(way), b"not now", {"Retry-After": "0"})
            return
        if way == "closed":
            handler.close_connection = True
            return
        request = urllib.request.Request(f"{self._registry.url}{handler.path}", headers=wanted)
        try:
            with urllib.request.urlopen(request, timeout=60) as found:
                status, headers, body = found.status, dict(found.headers), found.read()
        except urllib.error.HTTPError as error:
            status, headers, body = error.code, dict(error.headers), error.read()
        headers = {name: value for name, value in headers.items() if name != "Content-Length"}
        if way == "good" or len(body) < 2000:
            reply(handler, status, body, headers)
            return
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 3])
        handler.wfile.flush()
        if way == "held":
            self.held.set()
            self.go.wait(60)
            with contextlib.suppress(OSError):
                handler.wfile.write(body[len(body) // 3 :])
            return
        if way == "stalled":
            time.sleep(4)
        handler.close_connection = True


class TokenServer(Server):
    """Issues tokens that a registry of ours trusts, to one user or to everybody."""

    def __init__(self, folder: str, *, anonymous: bool, lifetime_s: int = 300) -> None:
        self._folder = folder
        self._anonymous = anonymous
        self._lifetime_s = lifetime_s
        #: Query of each request.
        self.queries: list[dict[str, list[str]]] = []
        make_certificate(folder, "token")
        super().__init__(self._answer)

    @property
    def settings(self) -> dict[str, object]:
        """The part of a registry's configuration that sends clients here."""
        return {
            "token": {
                "realm": f"http://{self.address}/token?x=1",
                "service": "test registry",
                "issuer": "test issuer",
                "rootcertbundle": os.path.join(self._folder, "token.crt"),
            }
        }

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query)
        self.queries.append(query)
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        known = handler.headers.get("Authorization") == f"Basic {basic}"
        if not known and not self._anonymous:
            reply(handler, 401, b"", {"WWW-Authenticate": "Basic realm=x"})
            return
        access: list[dict[str, object]] = []
        for scope in " ".join(query.get("scope", [])).split():
            kind, name, actions = scope.split(":")
            allowed = [each for each in actions.split(",") if known or each == "pull"]
            access.append({"type": kind, "name": name, "actions": allowed})
        token = self._token(access)
        answer = json.dumps({"access_token": token, "expires_in": self._lifetime_s})
        reply(handler, 200, answer.encode(), {"Content-Type": "application/json"})

    def _token(self, access: list[dict[str, object]]) -> str:
        with open(os.path.join(self._folder, "token.crt"), encoding="ascii") as file:
            certificate = "".join(file.read().split("-----")[2].split())
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        claims = {
            "iss": "test issuer",
            "sub": USER,
            "aud": "test registry",
            "nbf": now - 10,
            "iat": now,
            "exp": now + self._lifetime_s,
            "jti": str(now),
            "access": access,
        }
        signed = b".".join(_coded(json.dumps(part).encode()) for part in (header, claims))
        key = os.path.join(self._folder, "token.key")
        argv = ["openssl", "dgst", "-sha256", "-sign", key]
        made = subprocess.run(argv, input=signed, capture_output=True, check=True, timeout=60)
        return (signed + b"." + _coded(made.stdout)).decode()


def _coded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def make_certificate(folder: str, name: str) -> tuple[str, str]:
    """Make a certificate for 127.0.0.1 that signs itself, and its key; return both paths."""
    os.makedirs(folder, exist_ok=True)
    certificate, key = os.path.join(folder, f"{name}.crt"), os.path.join(folder, f"{name}.key")
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
        *("-keyout", key, "-out", certificate),
    )
    return certificate, key


def write_htpasswd(path: str) -> None:
    """Write a password file with one user. Its hash, of ``secret``, is one made by htpasswd."""
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{USER}:{_BCRYPT}\n")


_BCRYPT = "$2y$05$KOdY109/hRkRwiDg5N8/wOOYXc0dZtyEff3KS5W8KWRzpdsS5JVRG"
