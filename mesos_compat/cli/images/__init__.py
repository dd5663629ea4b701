# SPDX-License-Identifier: Apache-2.0
"""``mesos-compat image``: the images of this host."""
