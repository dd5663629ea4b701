# SPDX-License-Identifier: Apache-2.0
"""The tests that need a host with cgroups version 2 only, in a guest that is one."""

import pytest

from containerizer.linux import cgroup1
from containerizer.linux.cgroup1 import CgroupLayout
from integration.qemu.base import UnusableHostError
from integration.qemu.run import pytest_command, run

pytestmark = [pytest.mark.root, pytest.mark.qemu]

#: Under an emulated processor it takes about six minutes, on a busy host four times as long.
_LIMIT_S = 3000.0


@pytest.mark.timeout(3600)
def test_in_a_guest() -> None:
    if cgroup1.layout() is CgroupLayout.V2:
        pytest.skip("this host has cgroups version 2 only: the tests themselves run here")
    try:
        outcome = run(pytest_command(["-m", "root or not root"]), _LIMIT_S)
    except UnusableHostError as error:
        pytest.skip(f"no guest: {error}")
    assert outcome.exit == 0, outcome.console[-8000:]
    assert "passed" in outcome.console
