# SPDX-License-Identifier: Apache-2.0
"""What a host can do for an agent: facts, and what they mean."""
