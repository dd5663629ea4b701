# SPDX-License-Identifier: Apache-2.0
"""A network of two: this host and a name space, with a link that can be cut."""

import itertools
import os
import subprocess

from integration.agent import OurAgent

_numbers = itertools.count()
#: For tests of networks, nobody routes it (RFC 2544).
_NET = "198.18"


class Network:
    """A name space with one address, and the host's own on the other end."""

    def __init__(self) -> None:
        number = next(_numbers)
        self.name = f"mct{os.getpid()}-{number}"
        block = (os.getpid() * 7 + number) % (256 * 64)
        base = f"{_NET}.{block // 64}"
        self.host_ip, self.ip = f"{base}.{block % 64 * 4 + 1}", f"{base}.{block % 64 * 4 + 2}"
        self._link = f"mct{block}"

    def make(self) -> "Network":
        """Make both ends; needs root."""
        ip("netns", "add", self.name)
        try:
            ip("link", "add", self._link, "type", "veth", "peer", "eth0", "netns", self.name)
            ip("address", "add", f"{self.host_ip}/30", "dev", self._link)
            ip("link", "set", self._link, "up")
            ip("-n", self.name, "address", "add", f"{self.ip}/30", "dev", "eth0")
            ip("-n", self.name, "link", "set", "eth0", "up")
            ip("-n", self.name, "link", "set", "lo", "up")
        except AssertionError:
            self.remove()
            raise
        return self

    def remove(self) -> None:
        """Remove both ends; processes inside keep a name space without a link."""
        subprocess.run(["ip", "link", "delete", self._link], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)

    def inside(self, *command: str) -> list[str]:
        """Return a command line that runs ``command`` in there, with everything else of here."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *command]

    def cut(self, *ways: str) -> None:
        """Drop every packet from now on; with ``"in"`` or ``"out"`` only of that way."""
        chains = "".join(
            f" chain {way} {{ type filter hook {way}put priority 0;"
            f' {word} != "lo" counter drop; }};'
            for way, word in (("in", "iifname"), ("out", "oifname"))
            if not ways or way in ways
        )
        self._nft(f"add table inet cut; table inet cut {{{chains} }};")

    def heal(self) -> None:
        """Let everything pass again."""
        self._nft("add table inet cut; delete table inet cut;")

    def _nft(self, rules: str) -> None:
        run(*self.inside("nft", rules))


class DistantAgent(OurAgent):
    """An agent of ours in a network of its own."""

    def __init__(self, master: str, folder: str, network: Network, **flags: object) -> None:
        super().__init__(master, folder, ip=network.ip, port=5051, **flags)  # type: ignore[arg-type]
        self._network = network

    def arguments(self) -> list[str]:
        """Return the whole command line."""
        return self._network.inside(*super().arguments())


def ip(*arguments: str) -> None:
    """Run ip."""
    run("ip", *arguments)


def run(*command: str) -> None:
    """Run a short program; fails with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
