# SPDX-License-Identifier: Apache-2.0
"""A registry that does what a test wants, and remembers what it was asked."""

from __future__ import annotations

import gzip
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.containerizer.provisioner.images import configuration, sha256

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"

Hook = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


def described(blob: bytes, kind: str | None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"digest": f"sha256:{sha256(blob)}", "size": len(blob), **more}
    return found if kind is None else {"mediaType": kind, **found}


class FakeRegistry:
    """Answers below ``/v2/``. ``async with`` starts it."""

    def __init__(self) -> None:
        #: Type and body by ``repository:name``.
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        #: Asked before anything else; may answer instead.
        self.hooks: list[Hook] = []
        #: Method, path with query, headers.
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.ranges = True
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self.server = TestServer(app)

    async def __aenter__(self) -> FakeRegistry:
        await self.server.start_server()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def paths(self, method: str = "GET") -> list[str]:
        return [path for m, path, _ in self.requests if m == method]

    def headers(self, part: str) -> list[dict[str, str]]:
        """Return the headers of requests whose path contains ``part``."""
        return [headers for _, path, headers in self.requests if part in path]

    def put_blob(self, blob: bytes) -> str:
        digest = f"sha256:{sha256(blob)}"
        self.blobs[digest] = blob
        return digest

    def put_manifest(self, name: str, document: dict[str, Any] | bytes, kind: str) -> str:
        """Put a manifest under ``repository:tag`` and under its digest."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        digest = f"sha256:{sha256(body)}"
        repository, _, tag = name.rpartition(":")
        self.manifests[f"{repository}:{tag}"] = kind, body
        self.manifests[f"{repository}:{digest}"] = kind, body
        return digest

    def put_image(
        self,
        name: str,
        layers: Sequence[bytes],
        kind: str = DOCKER,
        *,
        compress: Callable[[bytes], bytes] = lambda data: gzip.compress(data, 1, mtime=0),
        layer_type: str = "application/vnd.oci.image.layer.v1.tar+gzip",
        typed: bool = True,
        config: bytes | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """Put an image; return its descriptor."""
        document = configuration(layers, **settings) if config is None else config
        self.put_blob(document)
        found = []
        for layer in layers:
            blob = compress(layer)
            self.put_blob(blob)
            found.append(described(blob, layer_type))
        manifest = {
            "schemaVersion": 2,
            "config": described(document, "application/vnd.oci.image.config.v1+json"),
            "layers": found,
        }
        if typed:
            manifest["mediaType"] = kind
        body = json.dumps(manifest).encode()
        self.put_manifest(name, body, kind)
        return described(body, kind)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, dict(request.headers)))
        for hook in self.hooks:
            answer = await hook(request)
            if answer is not None:
                return answer
        parts = request.path.removeprefix("/v2/").split("/")
        if len(parts) > 2 and parts[-2] == "manifests":
            found = self.manifests.get(f"{'/'.join(parts[:-2])}:{parts[-1]}")
            if found is not None:
                kind, body = found
                return web.Response(body=body, headers={"Content-Type": kind})
        if len(parts) > 2 and parts[-2] == "blobs":
            blob = self.blobs.get(parts[-1])
            if blob is not None:
                return self.blob(request, blob)
        error = {"errors": [{"code": "UNKNOWN", "message": "not known here"}]}
        return web.json_response(error, status=404)

    def blob(self, request: web.Request, blob: bytes) -> web.Response:
        wanted = request.headers.get("Range")
        if wanted is None or not self.ranges:
            return web.Response(body=blob)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        headers = {"Content-Range": f"bytes {start}-{len(blob) - 1}/{len(blob)}"}
        return web.Response(status=206, body=blob[start:], headers=headers)


def once(status: int, **headers: str) -> Hook:
    """Return a hook that answers the first request for a blob or manifest with a status."""
    left = [1]

    async def hook(request: web.Request) -> web.StreamResponse | None:
        if not left:
            return None
        left.pop()
        return web.Response(
            status=status, headers={name.replace("_", "-"): v for name, v in headers.items()}
        )

    return hook


async def cut(request: web.Request, data: bytes, whole: int) -> web.StreamResponse:
    """Send a part of a body of ``whole`` bytes, then break the connection."""
    reply = web.StreamResponse(headers={"Content-Length": str(whole)})
    await reply.prepare(request)
    await reply.write(data)
    assert request.transport is not None
    request.transport.close()
    return reply
