# SPDX-License-Identifier: Apache-2.0
"""A real ZooKeeper server under test, and a client of the tests' own."""

import contextlib
import json
import os
import shutil
import socket
from typing import Any

from kazoo.client import KazooClient

from integration.master import RealMaster
from integration.processes import Program, eventually, free_port

#: Where Debian's package ``libzookeeper-java`` puts its files.
_CLASSES = "/usr/share/java"
#: What a server that little is asked of needs of a Java machine.
_JAVA = ("-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_CONFIG = """\
tickTime=200
dataDir={data}
clientPortAddress=127.0.0.1
clientPort={port}
admin.enableServer=false
minSessionTimeout=400
maxSessionTimeout=60000
maxClientCnxns=0
4lw.commands.whitelist=ruok
"""


def missing() -> str:
    """Say what of it is not installed; empty if nothing is missing."""
    if shutil.which("java") is None or not os.path.exists(f"{_CLASSES}/zookeeper.jar"):
        return "the Debian packages libzookeeper-java and default-jre-headless"
    return ""


class ZooKeeper(Program):
    """One server with its data in ``folder``; it may be stopped and started again."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        super().__init__("zookeeper", os.path.join(folder, "zookeeper.log"))
        self.folder = folder
        self.port = free_port()
        self._clients: list[KazooClient] = []

    @property
    def address(self) -> str:
        """``ip:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> "ZooKeeper":
        """Start it and wait until it answers."""
        config = os.path.join(self.folder, "zoo.cfg")
        with open(config, "w", encoding="utf-8") as file:
            file.write(_CONFIG.format(data=os.path.join(self.folder, "data"), port=self.port))
        self.launch(
            [
                "java",
                *_JAVA,
                "-cp",
                f"{_CLASSES}/zookeeper.jar",
                "org.apache.zookeeper.server.ZooKeeperServerMain",
                config,
            ],
            {},
            self.folder,
        )
        eventually(self._answers, 60, f"ZooKeeper to answer\n{self.tail()}")
        return self

    def client(self, credentials: str = "") -> Any:
        """Return a connected client; it is closed with the server."""
        auth = [("digest", credentials)] if credentials else None
        client = KazooClient(self.address, timeout=60.0, auth_data=auth)
        self._clients.append(client)
        client.start()
        return client

    def close(self) -> None:
        """End it and all clients."""
        for client in self._clients:
            with contextlib.suppress(Exception):
                client.stop()
                client.close()
        self._clients.clear()
        self.kill()

    def _answers(self) -> bool:
        assert self.running, f"ZooKeeper ended\n{self.tail()}"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2.0) as asked:
                asked.sendall(b"ruok")
                return asked.recv(4) == b"imok"
        except OSError:
            return False


class Contender:
    """Stands in for the part of a master that our real ones lack: to contend in ZooKeeper."""

    def __init__(
        self, server: ZooKeeper, path: str, master: RealMaster, credentials: str = ""
    ) -> None:
        self.client = server.client(credentials)
        self.master = master
        state = master.state()
        capabilities = [{"type": name} for name in state.get("capabilities", ())]
        info = {
            "id": state["id"],
            "ip": int.from_bytes(bytes(map(int, master.ip.split("."))), "little"),
            "port": master.port,
            "pid": state["pid"],
            "hostname": master.ip,
            "version": state["version"],
            "capabilities": capabilities,
        }
        data = json.dumps(info).encode()
        self.client.create(f"{path}/json.info_", data, ephemeral=True, sequence=True, makepath=True)

    def die(self) -> None:
        """End the master and its session."""
        self.client.stop()
        self.client.close()
        self.master.kill()
