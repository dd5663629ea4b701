# SPDX-License-Identifier: Apache-2.0
"""How long tests wait for what has to happen before they say that it does not."""

import os
from typing import Final

#: The variable with which slower hosts ask for more; seconds.
VARIABLE: Final = "MESOS_COMPAT_TEST_PATIENCE_S"
#: Seconds: nobody waits for them unless something is wrong.
PATIENCE_S: Final = float(os.environ.get(VARIABLE, "120"))
