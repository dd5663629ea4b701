# SPDX-License-Identifier: Apache-2.0
"""Half a minute of chaos. ``./test.sh chaos`` runs more of it."""

import pytest

from integration.chaos.run import Chaos
from integration.master import LATEST
from integration.scene import Scene


@pytest.mark.root
@pytest.mark.timeout(600)
def test_half_a_minute(scene: Scene) -> None:
    chaos = Chaos(scene, LATEST, seed=7)
    try:
        chaos.run(30.0)
    finally:
        chaos.close()
    assert chaos.problems == []
