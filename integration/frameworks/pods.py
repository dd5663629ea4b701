# SPDX-License-Identifier: Apache-2.0
"""A pymesos framework that runs task groups (pods) on the default executor.

usage: python -m integration.frameworks.pods MASTER

The story: a group of two goes on until it is killed. A second one joins the same executor; one of
its tasks finishes, which disturbs nobody. Then one task of the first group is killed, which takes
the other one along but not what is left of the second group; that is killed last, and the executor
ends by itself.

Prints one JSON document with all that the framework saw.
"""

import os
import sys
from typing import Any

from integration.frameworks.groups import GroupDirector, play

_GIVE_UP_S = 120.0
_FOREVER = "sleep 100000"
#: Groups of tasks with their commands.
GROUPS = ({"web": _FOREVER, "log": _FOREVER}, {"job": "exit 0", "calm": _FOREVER})


class PodDirector(GroupDirector):
    """The scheduler."""

    def __init__(self) -> None:
        super().__init__(GROUPS[0], "pod", {"type": "DEFAULT"})
        #: When the first group was killed: what the others did.
        self.meanwhile: dict[str, str] = {}

    def statusUpdate(self, driver: Any, status: Any) -> None:  # noqa: N802
        """Go on with the story."""
        name, state = status["task_id"]["value"], status["state"]
        self.states.setdefault(name, []).append(state)
        if state == "TASK_RUNNING" and name in GROUPS[0] and self._last("web", "log") == {state}:
            self.waiting = [GROUPS[1]]
        if name in GROUPS[1] and (self._last("job"), self._last("calm")) == (
            {"TASK_FINISHED"},
            {"TASK_RUNNING"},
        ):
            driver.killTask({"value": "web"})
        if name in GROUPS[0] and self._last("web", "log") == {"TASK_KILLED"}:
            self.meanwhile = {name: states[-1] for name, states in self.states.items()}
            driver.killTask({"value": "calm"})

    def _last(self, *names: str) -> set[str]:
        return {self.states.get(name, [""])[-1] for name in names}


def main(arguments: list[str]) -> int:
    """Play the story; returns the exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return os.EX_USAGE
    scheduler = PodDirector()
    play(scheduler, "pods", arguments[0], _GIVE_UP_S, ("states", "meanwhile", "lost", "errors"))
    return 0 if scheduler.lost and not scheduler.errors else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
