# SPDX-License-Identifier: Apache-2.0
"""Declarations of the agent's flags by subject; ``agent.flags`` puts them together."""
