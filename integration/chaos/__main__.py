# SPDX-License-Identifier: Apache-2.0
"""``python -m integration.chaos``."""

import sys

from integration.chaos.run import main

sys.exit(main())
