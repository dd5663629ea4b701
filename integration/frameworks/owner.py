# SPDX-License-Identifier: Apache-2.0
"""A framework that owns volumes: makes them, launches tasks with them, destroys them."""

from integration.frameworks.director import MODERN, Director, needs, scalar, shell
from integration.subscription import Record

ROLE = "db"


def reserved(name: str, value: float, **fields: object) -> Record:
    """A reserved resource, allocated to our role."""
    return scalar(
        name,
        value,
        reservations=[{"type": "DYNAMIC", "role": ROLE}],
        allocation_info={"role": ROLE},
        **fields,
    )


def on_disk(
    size: float, source: Record | None = None, volume: str = "", **fields: object
) -> Record:
    """Reserved disk, or a volume on it whose path is its id."""
    disk: Record = {} if source is None else {"source": source}
    if volume:
        disk["persistence"] = {"id": volume}
        disk["volume"] = {"container_path": volume, "mode": "RW"}
    return reserved("disk", size, **({"disk": disk} if disk else {}), **fields)


def operation(kind: str, *resources: Record, id_: str = "") -> Record:
    """One that an offer is accepted for."""
    field = "volumes" if kind in ("CREATE", "DESTROY") else "resources"
    made: Record = {"type": kind, kind.lower(): {field: list(resources)}}
    return made | {"id": {"value": id_}} if id_ else made


def volumes(offer: Record) -> set[str]:
    """Ids of the volumes in an offer."""
    return {
        resource["disk"]["persistence"]["id"]
        for resource in offer["resources"]
        if "persistence" in resource.get("disk", {})
    }


class VolumeOwner:
    """A framework with volumes."""

    def __init__(self, master: str) -> None:
        self.director = Director(
            master, roles=[ROLE], capabilities=(*MODERN, "SHARED_RESOURCES")
        ).start()

    def make(self, *made: Record) -> None:
        """Reserve disk and make volumes of it; wait until they are offered."""
        parts = []
        for volume in made:
            source = volume["disk"].get("source")
            parts.append(on_disk(volume["scalar"]["value"], source))
        operations = operation("RESERVE", *parts), operation("CREATE", *made)
        self.director.accept(self.director.offer(), *operations)

    def destroy(self, *destroyed: Record, id_: str = "") -> None:
        """Destroy volumes."""
        names = {volume["disk"]["persistence"]["id"] for volume in destroyed}
        offer = self.director.offer(lambda offer: names <= volumes(offer))
        self.director.accept(offer, operation("DESTROY", *destroyed, id_=id_))

    def launch(self, *tasks: Record) -> None:
        """Launch tasks on an offer that has their volumes."""
        names = {
            resource["disk"]["persistence"]["id"]
            for task in tasks
            for resource in task["resources"]
            if "disk" in resource
        }
        offer = self.director.offer(lambda offer: names <= volumes(offer))
        infos = [{**task, "agent_id": offer["agent_id"]} for task in tasks]
        self.director.accept(offer, {"type": "LAUNCH", "launch": {"task_infos": infos}})

    def launch_pod(self, *tasks: Record) -> None:
        """Launch tasks on one default executor."""
        offer = self.director.offer(lambda offer: bool(volumes(offer)))
        infos = [{**task, "agent_id": offer["agent_id"]} for task in tasks]
        executor = {
            "type": "DEFAULT",
            "executor_id": {"value": "pod"},
            "framework_id": offer["framework_id"],
            "resources": [
                *needs(role=ROLE),
                scalar("disk", 32, allocation_info={"role": ROLE}),
            ],
        }
        group = {"executor": executor, "task_group": {"tasks": infos}}
        self.director.accept(offer, {"type": "LAUNCH_GROUP", "launch_group": group})


def task(name: str, script: str, *resources: Record, user: str = "", **fields: object) -> Record:
    """A command task of our role, of a user if one is given."""
    made = shell(name, script, resources=[*needs(role=ROLE), *resources], **fields)
    if user:
        made["command"]["user"] = user
    return made
