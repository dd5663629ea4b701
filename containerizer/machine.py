# SPDX-License-Identifier: Apache-2.0
"""The table of containers, their states, and what a destroy owes in each state. Pure.

``mesos.py`` is the only writer. A container is in the table from the first line of its launch to
the last line of its destroy; one whose destroy failed stays in it for ever.

Source: spec ``containerizer`` 4.1, 4.2.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mesos_compat.base.errors import ContainerError, InvariantError
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb
from mesos_compat.pb.mesos.slave import containerizer_pb2 as slave


class State(enum.Enum):
    """Where a container is on its way."""

    PROVISIONING = "PROVISIONING"
    PREPARING = "PREPARING"
    ISOLATING = "ISOLATING"
    FETCHING = "FETCHING"
    RUNNING = "RUNNING"
    DESTROYING = "DESTROYING"


#: From where to where a container may go. Everything may be destroyed, nothing comes back.
_NEXT: Mapping[State, frozenset[State]] = {
    State.PROVISIONING: frozenset({State.PREPARING, State.DESTROYING}),
    State.PREPARING: frozenset({State.ISOLATING, State.DESTROYING}),
    State.ISOLATING: frozenset({State.FETCHING, State.DESTROYING}),
    State.FETCHING: frozenset({State.RUNNING, State.DESTROYING}),
    State.RUNNING: frozenset({State.DESTROYING}),
    State.DESTROYING: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Duties:
    """What a destroy owes to a container, besides the provisioner's part, which is always due.

    In every state it first waits until the launch has left its current step.
    """

    #: The current step of the launch is cancelled instead of waited for.
    interrupt: bool
    #: Processes may exist: ask the launcher to kill them.
    kill: bool
    #: Isolators have seen the container: call their ``cleanup``.
    isolators: bool


#: Deviation: upstream leaves a process forked in PREPARING to die on its closed pipe and never
#: asks the launcher, whose cgroups of the container then stay. Our fork is part of PREPARING.
DUTIES: Mapping[State, Duties] = {
    State.PROVISIONING: Duties(interrupt=True, kill=False, isolators=False),
    State.PREPARING: Duties(interrupt=False, kill=True, isolators=True),
    State.ISOLATING: Duties(interrupt=False, kill=True, isolators=True),
    State.FETCHING: Duties(interrupt=True, kill=True, isolators=True),
    State.RUNNING: Duties(interrupt=False, kill=True, isolators=True),
}


@dataclass(slots=True, eq=False)
class Container:
    """One container. Only ``ContainerTable`` changes ``state`` and ``children``."""

    id: ContainerId
    state: State
    #: Time of the last transition, in the seconds of the caller's monotonic clock.
    since: float
    #: Complete once the image is provisioned; ``None`` for an orphan that left none behind.
    config: slave.ContainerConfig | None = None
    #: Set from the end of PREPARING.
    launch_info: slave.ContainerLaunchInfo | None = None
    #: Host pid of init; set once it is checkpointed.
    pid: int | None = None
    #: Has no parent and no executor.
    standalone: bool = False
    #: The launcher was asked for a process (whatever came of it).
    forked: bool = False
    #: Requests and limits of a top-level container as of launch or the last update.
    requests: tuple[pb.Resource, ...] | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    #: Ids of the containers in the table whose parent this one is.
    children: set[ContainerId] = field(default_factory=set)

    @property
    def debug(self) -> bool:
        """Whether this is a session in the namespaces of its parent."""
        return self.config is not None and (
            self.config.container_class == slave.ContainerClass.DEBUG
        )


class ContainerTable:
    """All known containers by id."""

    def __init__(self) -> None:
        self._containers: dict[ContainerId, Container] = {}

    def __len__(self) -> int:
        return len(self._containers)

    def __contains__(self, container_id: object) -> bool:
        return container_id in self._containers

    def __iter__(self) -> Iterator[Container]:
        return iter(self._containers.values())

    def get(self, container_id: ContainerId) -> Container | None:
        """Return the container; ``None`` if it is unknown."""
        return self._containers.get(container_id)

    def is_standalone(self, container_id: ContainerId) -> bool:
        """Whether the container, or the one it is nested in, has no executor."""
        root = self._containers.get(container_id.root)
        return root is not None and root.standalone

    def ids(self) -> frozenset[ContainerId]:
        """Return the ids of all containers."""
        return frozenset(self._containers)

    def parent_of_new(self, container_id: ContainerId) -> Container | None:
        """Return the parent that a new container joins, ``None`` for a top-level one.

        Raises ContainerError if a container cannot be nested there.
        """
        if container_id.parent is None:
            return None
        parent = self._containers.get(container_id.parent)
        if parent is None:
            raise ContainerError(f"Parent container {container_id.parent} does not exist")
        if parent.state is State.DESTROYING:
            raise ContainerError(f"Parent container {parent.id} is in 'DESTROYING' state")
        return parent

    def add(self, container: Container) -> None:
        """Add a container whose parent, if it has one, is known."""
        if container.id in self._containers:
            raise InvariantError(f"container {container.id} is added twice")
        if container.id.parent is not None:
            parent = self._containers.get(container.id.parent)
            if parent is None:
                raise InvariantError(f"container {container.id} is added before its parent")
            parent.children.add(container.id)
        self._containers[container.id] = container

    def enter(self, container: Container, state: State, now: float) -> float:
        """Move ``container`` to ``state``; return the seconds it spent in the former one."""
        if state not in _NEXT[container.state]:
            raise InvariantError(f"{container.id}: {container.state.name} → {state.name}")
        spent = now - container.since
        container.state = state
        container.since = now
        return spent

    def remove(self, container: Container) -> None:
        """Forget a destroyed container without children."""
        if container.state is not State.DESTROYING or container.children:
            raise InvariantError(f"{container.id} is forgotten as {container.state.name}")
        del self._containers[container.id]
        if container.id.parent is not None:
            parent = self._containers.get(container.id.parent)
            if parent is None:
                raise InvariantError(f"{container.id} outlived its parent")
            parent.children.discard(container.id)

    def check(self) -> None:
        """Raise InvariantError if the table contradicts itself."""
        for container in self:
            parent_id = container.id.parent
            if parent_id is not None:
                parent = self._containers.get(parent_id)
                if parent is None or container.id not in parent.children:
                    raise InvariantError(f"{container.id} is missing in its parent")
            for child in container.children:
                if child not in self._containers or child.parent != container.id:
                    raise InvariantError(f"{container.id} has the stray child {child}")
            if container.pid is not None and not container.forked:
                raise InvariantError(f"{container.id} has a pid that nobody forked")
            if container.state in (State.ISOLATING, State.FETCHING) and container.pid is None:
                raise InvariantError(f"{container.id} is {container.state.name} without a pid")
