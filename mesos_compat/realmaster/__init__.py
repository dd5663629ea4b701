# SPDX-License-Identifier: Apache-2.0
"""A real Apache Mesos master out of the PyPI project ``mesos-scheduler``.

The project publishes eggs (1.4.3 to 1.11.0, Linux x86_64) whose extension module holds the whole
of libmesos, the master included. ``index`` finds and verifies an egg, ``relink`` frees its
library of what a master never calls, ``cache`` keeps the result per user, ``flags`` turns a
mesos-master command line into the library's environment, ``run`` is the master.
"""
