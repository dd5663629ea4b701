# SPDX-License-Identifier: Apache-2.0
"""Python's collector of cyclic garbage, set up for a daemon."""

from __future__ import annotations

import gc
from typing import Final

#: Objects made, less those gone by themselves, after which the young ones are looked through.
#: Python does so after 700, of which next to none are garbage here: cycles are rare. So many of
#: them are some megabytes.
YOUNG_OBJECTS: Final = 10_000


def spare_collector() -> None:
    """Let the collector look at what is made from now on only, and less often.

    To be called once all modules are loaded and what lives as long as the process is there.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
