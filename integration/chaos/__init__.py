# SPDX-License-Identifier: Apache-2.0
"""Everything that can end, ends at random, while tasks run; in the end nothing may be wrong."""
