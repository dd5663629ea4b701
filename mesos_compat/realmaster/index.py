# SPDX-License-Identifier: Apache-2.0
"""Find and download single files, such as the eggs of Mesos, where pip would look for packages.

pip itself does not install eggs, so it is only asked for its configuration (files, environment,
defaults, in its own order of precedence); indices, folders of links, certificates and proxies are
then used as it would use them.
Source: PEP 503 and PEP 691 (simple index, HTML and JSON), pip's ``config list``.
"""

import ast
import base64
import contextlib
import dataclasses
import functools
import hashlib
import html.parser
import http.client
import json
import netrc
import os
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import tenacity

from mesos_compat.realmaster.errors import FileUnusable, IndexUnusable

PROJECT = "mesos-scheduler"

#: sha256 of the eggs as published. The master runs with the rights of its user, often root, and
#: any configured index may carry a project of this name: a known version must be the known file.
PUBLISHED = {
    "1.4.3": "e8c63f8f0a9d4d8aef01f3d85cb25c97a6a8764c573c46a56b7a0ed0c20fb7a4",
    "1.5.2": "c1ba5fabaea7530adb7885836117eda443e885cc9479661c1d48d0c11a66ac82",
    "1.5.3": "c69875ca2a003ae06f4f7793462f16f26aa104c61c1c98ab3fcf30064c31ef2c",
    "1.6.1": "052b983b272ba538c8775a70e65d803c93dde5f78b8a0005d00ad713fe29996b",
    "1.6.2": "1c2b8eb3215d1b192b708c25ddb9563121179760ceff28f8c7b64331a5f06201",
    "1.7.0": "1500640896972ec115e180aa307a1bae34b460ecf89825b5ba4c487d66d8025e",
    "1.7.1": "27fee86cb7f6e3005aac394c06dd96fc100915cc5c1678671db1030f5222c4f9",
    "1.7.2": "d2646bdc0e79429d536556d888e6f2743117e022face40498bdae08ed5500db5",
    "1.7.3": "1615fed2bedb92bf54d24e66b0d1315cdd2ccc658ccda1bc23f115d678089e6d",
    "1.8.0": "11ba635d8ae9d16021f335d0538bf85dede72c95490f13ce0eac2a33eadf4fe8",
    "1.8.1": "2a5823ac95da83537adcb3bafced5c505b96da8b09986acacd9c73424969f066",
    "1.9.0": "48df4dba68ad3830930885199f34a415759b84d03e9a2cd6118c34405dbb6562",
    "1.10.0": "99bce824f0abf2c8e22a5bc4107e2286592160386475b461b19f898de16edd2d",
    "1.11.0": "4940ebb70894ee004cf8a12b7b66b52a351be1070ec2a4e6f7dae4ec04f8cb61",
}

_EGG_NAME = re.compile(r"mesos[._-]scheduler-(\d+\.\d+\.\d+)-py2\.7-linux-x86_64\.egg")
_JSON_TYPE = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_SCHEMES = ("http", "https", "file")
#: The project's page is some 20 kB; the bound keeps a broken server from filling memory.
_PAGE_LIMIT_BYTES = 16 << 20
#: The largest egg is 27 MB.
_FILE_LIMIT_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 16

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where and how to look, as pip is configured on this machine."""

    #: The project is searched below each of these, in order.
    index_urls: tuple[str, ...] = ()
    #: Folders, files or pages that hold or list packages directly.
    find_links: tuple[str, ...] = ()
    ca_bundle: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file as an index lists it."""

    filename: str
    url: str
    #: Lower-case hex; None when the index gives none.
    sha256: str | None


def settings_from_pip(environ: Mapping[str, str]) -> IndexSettings:
    """Ask the pip of this interpreter for its configuration.

    Without pip, the PIP_* variables remain; the index has to be among them.
    """
    try:
        values = parse_config_list(_pip(environ, "config", "list"))
        if "index-url" not in values:
            values |= parse_default_index(_pip(environ, "download", "--help"))
    except (OSError, subprocess.SubprocessError):
        values = {
            name.removeprefix("PIP_").lower().replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("PIP_") and value
        }
    return settings_from_values(values, environ)


def parse_default_index(text: str) -> dict[str, str]:
    """Return the option that pip's own help names as the default of ``--index-url``, if it does."""
    words = text.partition("--index-url")[2]
    found = re.search(r"\(default:?\s+(https?://[^\s)]+)\)", words)
    return {} if found is None else {"index-url": found[1]}


def _pip(environ: Mapping[str, str], *arguments: str) -> str:
    # Help is wrapped to the terminal's width, which would break an address.
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**environ, "COLUMNS": "500"},
    )
    return done.stdout


def parse_config_list(text: str) -> dict[str, str]:
    """Return option → value from what ``pip config list`` prints (sections merged as pip does)."""
    # Later sections win: [global], then the command's own, then the environment.
    order = ("global", "download", "install", ":env:")
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        key, equals, literal = line.partition("=")
        section, _, option = key.rpartition(".")
        if not equals or section not in order:
            continue
        try:
            value = ast.literal_eval(literal)
        except (SyntaxError, ValueError):
            continue
        if isinstance(value, str):
            found.setdefault(section, {})[option] = value
    merged: dict[str, str] = {}
    for section in order:
        merged.update(found.get(section, {}))
    return merged


def settings_from_values(values: Mapping[str, str], environ: Mapping[str, str]) -> IndexSettings:
    """Build the settings from pip's option → value."""
    index_urls: tuple[str, ...] = ()
    if values.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        index_urls = (
            *values.get("index-url", "").split(),
            *values.get("extra-index-url", "").split(),
        )
    try:
        timeout_s = float(values.get("timeout") or values.get("default-timeout") or 15)
    except ValueError:
        timeout_s = 15.0
    return IndexSettings(
        index_urls=index_urls,
        find_links=tuple(values.get("find-links", "").split()),
        ca_bundle=values.get("cert")
        or environ.get("REQUESTS_CA_BUNDLE")
        or environ.get("CURL_CA_BUNDLE")
        or None,
        client_cert=values.get("client-cert") or None,
        proxy=values.get("proxy") or None,
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        timeout_s=timeout_s,
    )


def find_egg(version: str, settings: IndexSettings) -> ListedFile:
    """Return the egg of ``version``, from the first place that lists one that can be verified.

    Raises IndexUnusable with every place that was tried, and why it did not serve.
    """
    versions: set[str] = set()

    def is_wanted(file: ListedFile) -> bool:
        name = _EGG_NAME.fullmatch(file.filename)
        if name is None:
            return False
        versions.add(name[1])
        return name[1] == version

    try:
        return find_file(PROJECT, is_wanted, settings, PUBLISHED.get(version))
    except IndexUnusable:
        if not versions - {version}:
            raise
    known = ", ".join(sorted(versions, key=version_key))
    raise IndexUnusable(
        f"There is no real master of version {version} for Linux x86_64; there are: {known}"
    )


def find_file(
    project: str,
    is_wanted: Callable[[ListedFile], bool],
    settings: IndexSettings,
    sha256: str | None = None,
) -> ListedFile:
    """Return the first wanted file of ``project``; ``sha256`` overrules what the index says.

    Files without any hash are passed over. Raises IndexUnusable.
    """
    tried: list[str] = []
    for place, listing in _places(project, settings):
        try:
            wanted = [file for file in listing() if is_wanted(file)]
        except (OSError, ValueError, http.client.HTTPException) as error:
            tried.append(f"{_shown(place)}: {_reason(error)}")
            continue
        for file in wanted:
            if sha256 or file.sha256:
                return dataclasses.replace(file, sha256=sha256 or file.sha256)
        tried.append(f"{_shown(place)}: does not list it" + (" with a hash" if wanted else ""))
    places = "\n  ".join(tried) or "(pip is configured with no index and no links)"
    raise IndexUnusable(
        f"No package index has the wanted file of {project}. Tried:\n  {places}\n"
        "Is there a network, and does `pip download` work?"
    )


def download(file: ListedFile, target: BinaryIO, settings: IndexSettings) -> None:
    """Write ``file`` over the content of ``target`` and verify it; retries what may pass.

    Raises IndexUnusable when it cannot be had, FileUnusable when it is not what was promised.
    """

    def attempt() -> None:
        target.seek(0)
        target.truncate()
        digest = hashlib.sha256()
        size = 0
        with _open(file.url, settings) as reply:
            while chunk := reply.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > _FILE_LIMIT_BYTES:
                    raise FileUnusable(f"{file.filename} is larger than {_FILE_LIMIT_BYTES} bytes")
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise FileUnusable(
                f"{file.filename} from {_shown(file.url)} has sha256 {digest.hexdigest()}, "
                f"expected {file.sha256}"
            )

    try:
        _retrying(attempt)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise IndexUnusable(f"Failed to download {_shown(file.url)}: {_reason(error)}") from error


def parse_json(body: bytes, page_url: str) -> list[ListedFile]:
    """Return the files of a PEP 691 answer; raises ValueError when it is none."""
    page = json.loads(body)
    files = page.get("files") if isinstance(page, dict) else None
    if not isinstance(files, list):
        raise ValueError("the answer is no list of files")
    found = []
    for file in files:
        if not isinstance(file, dict) or not isinstance(file.get("url"), str):
            continue
        hashes = file.get("hashes")
        sha256 = hashes.get("sha256") if isinstance(hashes, dict) else None
        found.append(_listed(urllib.parse.urljoin(page_url, file["url"]), sha256))
    return found


def parse_html(body: bytes, page_url: str) -> list[ListedFile]:
    """Return the files of a PEP 503 page (or any page of links)."""
    links = _Links()
    links.feed(body.decode("utf-8", "replace"))
    links.close()
    base = urllib.parse.urljoin(page_url, links.base) if links.base else page_url
    return [_listed(urllib.parse.urljoin(base, href)) for href in links.hrefs]


def version_key(version: str) -> tuple[int, ...]:
    """Sort key of a dotted version."""
    return tuple(int(part) for part in version.split("."))


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.base: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if tag == "a" and href:
            self.hrefs.append(href)
        elif tag == "base" and href and self.base is None:
            self.base = href


def _listed(url: str, sha256: object = None) -> ListedFile:
    parts = urllib.parse.urlsplit(url)
    if sha256 is None and parts.fragment.startswith("sha256="):
        sha256 = parts.fragment.removeprefix("sha256=")
    valid = isinstance(sha256, str) and re.fullmatch("[0-9a-fA-F]{64}", sha256)
    return ListedFile(
        filename=urllib.parse.unquote(parts.path.rsplit("/", 1)[-1]),
        url=parts._replace(fragment="").geturl(),
        sha256=str(sha256).lower() if valid else None,
    )


def _places(
    project: str, settings: IndexSettings
) -> Iterable[tuple[str, Callable[[], list[ListedFile]]]]:
    for place in settings.find_links:
        yield place, functools.partial(_links_of, place, settings)
    for index in settings.index_urls:
        page = f"{index.rstrip('/')}/{project}/"
        yield page, functools.partial(_page_of, page, settings)


def _links_of(place: str, settings: IndexSettings) -> list[ListedFile]:
    if "://" not in place:
        place = "file://" + urllib.request.pathname2url(os.path.abspath(os.path.expanduser(place)))
    parts = urllib.parse.urlsplit(place)
    path = urllib.request.url2pathname(parts.path)
    if parts.scheme == "file" and os.path.isdir(path):
        base = place.rstrip("/") + "/"
        return [_listed(base + urllib.parse.quote(name)) for name in sorted(os.listdir(path))]
    if parts.path.endswith((".egg", ".tar.gz", ".whl", ".zip")):
        return [_listed(place)]
    return _page_of(place, settings)


def _page_of(url: str, settings: IndexSettings) -> list[ListedFile]:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file" and os.path.isdir(urllib.request.url2pathname(parts.path)):
        url = url.rstrip("/") + "/index.html"

    def attempt() -> tuple[bytes, str, str]:
        with _open(url, settings) as reply:
            body = reply.read(_PAGE_LIMIT_BYTES + 1)
            return body, reply.headers.get_content_type(), reply.geturl()

    body, media_type, final_url = _retrying(attempt)
    if len(body) > _PAGE_LIMIT_BYTES:
        raise ValueError(f"the page is larger than {_PAGE_LIMIT_BYTES} bytes")
    files = (parse_json if media_type == _JSON_TYPE else parse_html)(body, final_url)
    if parts.scheme != "file":
        # A page from the network has no say about files of this machine.
        files = [file for file in files if not file.url.startswith("file:")]
    return files


def _retrying(attempt: Callable[[], _T]) -> _T:
    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_exponential(multiplier=0.5, max=5),
        retry=tenacity.retry_if_exception(_may_pass),
        reraise=True,
    )(attempt)


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in (408, 429) or error.code >= 500
    if isinstance(error, urllib.error.URLError):
        # A name that does not resolve, a refused connection or a bad certificate stay as they are.
        return isinstance(error.reason, TimeoutError)
    return isinstance(error, (TimeoutError, ConnectionError, http.client.HTTPException))


def _open(url: str, settings: IndexSettings) -> "urllib.request._UrlopenRet":
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"URLs of scheme '{parts.scheme}' are not supported")
    host = parts.hostname or ""
    headers = {"Accept": _ACCEPT, "User-Agent": "mesos-compat"}
    login = _login(parts)
    if login is not None:
        token = base64.b64encode(":".join(login).encode()).decode()
        headers["Authorization"] = f"Basic {token}"
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    handlers: list[urllib.request.BaseHandler] = [_SameHostLogin()]
    if parts.scheme == "https" or settings.proxy:
        trusted = {host, f"{host}:{parts.port}"} & set(settings.trusted_hosts)
        handlers.append(urllib.request.HTTPSHandler(context=_tls(settings, bool(trusted))))
    if settings.proxy:
        proxies = {"http": settings.proxy, "https": settings.proxy}
        handlers.append(urllib.request.ProxyHandler(proxies))
    request = urllib.request.Request(parts.geturl(), headers=headers)
    return urllib.request.build_opener(*handlers).open(request, timeout=settings.timeout_s)


class _SameHostLogin(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but show a password to nobody else than the host it is for."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: object,
        code: int,
        msg: str,
        headers: object,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Build the next request."""
        request = super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
        if request is not None and (request.type, request.host) != (req.type, req.host):
            request.remove_header("Authorization")
        return request


def _login(parts: urllib.parse.SplitResult) -> tuple[str, str] | None:
    if parts.username is not None:
        unquote = urllib.parse.unquote
        return unquote(parts.username), unquote(parts.password or "")
    if parts.scheme in ("http", "https") and parts.hostname:
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            found = netrc.netrc().authenticators(parts.hostname)
            if found is not None:
                return found[0], found[2] or ""
    return None


def _tls(settings: IndexSettings, trusted: bool) -> ssl.SSLContext:
    bundle = settings.ca_bundle
    if bundle and os.path.isdir(bundle):
        context = ssl.create_default_context(capath=bundle)
    else:
        context = ssl.create_default_context(cafile=bundle)
    if trusted:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.client_cert:
        context.load_cert_chain(settings.client_cert)
    return context


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _shown(url: str) -> str:
    """``url`` without a password that it may carry."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
