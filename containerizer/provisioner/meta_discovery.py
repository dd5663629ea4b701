# SPDX-License-Identifier: Apache-2.0
"""AppC meta discovery: the site that an image is named after says where its files are. Pure.

A page of that site has tags ``<meta name="ac-discovery" content="<prefix> <template>">`` for
images and signatures, and ``ac-discovery-pubkeys`` for keys. Upstream has only simple discovery.

Source: spec ``images`` 10.3; App Container specification, "Image Discovery".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import quote

from containerizer.provisioner.discovery import Location
from mesos_compat.base.errors import ManifestError

#: Most tags of one page that are looked at, and most pages for one image.
MAX_TAGS = 100
MAX_PAGES = 10

_IMAGES = "ac-discovery"
_KEYS = "ac-discovery-pubkeys"

#: ``host[:port]/path``. Only a host with a dot or a port can be a site, so ``ubuntu`` is none.
_SITE = re.compile(
    r"(?=[^/]*[.:])[a-z0-9]+(?:[-._~][a-z0-9]+)*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[-._~][a-z0-9]+)*)*"
)
_VARIABLE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class MetaTags:
    """What a page says: pairs of the prefix of names that it is about, and a template or URL."""

    images: tuple[tuple[str, str], ...] = ()
    keys: tuple[tuple[str, str], ...] = ()


def page_urls(name: str, scheme: str) -> list[str]:
    """Return where to look for the tags of an image, in this order.

    Raises ManifestError for a name that is not that of a place on a site.
    """
    if _SITE.fullmatch(name) is None:
        raise ManifestError(f"'{name[:200]}' does not begin with the name of a site")
    parts = name.split("/")
    paths = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return [f"{scheme}://{path}?ac-discovery=1" for path in [*paths[: MAX_PAGES - 1], parts[0]]][
        : len(parts)
    ]


def parse_tags(page: bytes) -> MetaTags:
    """Find the tags in a page. Whatever it is, it has some or none."""
    reader = _Reader()
    reader.feed(page.decode("utf-8", "replace"))
    return MetaTags(tuple(reader.images), tuple(reader.keys))


def locations(
    tags: MetaTags, name: str, labels: Mapping[str, str], *, insecure: bool
) -> list[tuple[Location, Location]]:
    """Return where the image and its signature could be, the best first.

    Only templates into which the most labels went are used; those without TLS only if
    ``insecure``.
    """
    found: list[tuple[int, Location, Location]] = []
    for prefix, template in tags.images:
        if not name.startswith(prefix):
            continue
        image = _fill(template, {**labels, "name": name, "ext": "aci"})
        signature = _fill(template, {**labels, "name": name, "ext": "aci.asc"})
        if image is None or signature is None or not _usable(image[0], insecure):
            continue
        found.append((image[1], Location(url=image[0]), Location(url=signature[0])))
    most = max((count for count, _, _ in found), default=0)
    return [(image, signature) for count, image, signature in found if count == most]


def key_urls(tags: MetaTags, name: str) -> list[str]:
    """Return where keys are that sign the image. What is said without TLS does not count."""
    return [url for prefix, url in tags.keys if name.startswith(prefix) and _usable(url, False)]


def _usable(url: str, insecure: bool) -> bool:
    return url.startswith(("https://", "http://") if insecure else "https://")


def _fill(template: str, values: Mapping[str, str]) -> tuple[str, int] | None:
    """Put values into a template; ``None`` if one is missing. Also count the labels among them."""
    names = _VARIABLE.findall(template)
    if any(name not in values for name in names):
        return None
    try:
        filled = _VARIABLE.sub(
            lambda found: quote(values[found[1]], safe="/:~!$&'()*+,;=@"), template
        )
    except UnicodeEncodeError:
        return None
    return filled, len(set(names) - {"name", "ext"})


class _Reader(HTMLParser):
    """Collects the tags of the head of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[str, str]] = []
        self.keys: list[tuple[str, str]] = []
        self._in_head = True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        self._in_head = self._in_head and tag != "body"
        if tag != "meta" or not self._in_head or len(self.images) + len(self.keys) >= MAX_TAGS:
            return
        given = {name: value or "" for name, value in attrs}
        pair = given.get("content", "").split()
        if len(pair) != 2:
            return
        kind = given.get("name", "").lower()
        if kind == _IMAGES:
            self.images.append((pair[0], pair[1]))
        elif kind == _KEYS:
            self.keys.append((pair[0], pair[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag that closes itself."""
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Look no further than the head."""
        self._in_head = self._in_head and tag != "head"
