# SPDX-License-Identifier: Apache-2.0
"""In a process of its own, as it changes all of it."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import gc
from mesos_compat.base.garbage import YOUNG_OBJECTS, spare_collector

class Node: pass

def cycle():
    node = Node()
    node.self = node

old = gc.get_threshold()
spare_collector()
assert gc.get_freeze_count() > 0
assert gc.get_threshold() == (YOUNG_OBJECTS, *old[1:])
for _ in range(3 * YOUNG_OBJECTS):
    cycle()
assert len([each for each in gc.get_objects() if isinstance(each, Node)]) <= YOUNG_OBJECTS
"""


def test_cycles_are_still_collected() -> None:
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True)
