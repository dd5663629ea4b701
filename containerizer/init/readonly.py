# SPDX-License-Identifier: Apache-2.0
"""Why nobody in a container can overwrite the program that its process 1 runs from.

``/proc/1/exe`` and ``/proc/1/map_files`` lead root of a container to the host's interpreter and
libraries (CVE-2019-5736). So the spawner loads all of them in a mount namespace of its own in which
every mount is read-only, and then comes back to the host's: what is mapped stays on the read-only
mounts, which no namespace has any more, so that nobody can make them writable. It costs no memory:
the files and their pages are the host's.
"""

from __future__ import annotations

import os
import sys

from containerizer.init.failure import say
from containerizer.linux import mount, namespaces
from containerizer.linux.namespaces import CLONE_NEWNS

#: Tells the second run of the program how to come back: descriptors of namespace and root.
_VARIABLE = "MESOS_CONTAINERIZER_WAY_BACK"


def begin() -> None:
    """Execute this program again on read-only mounts; return if that is done or cannot be.

    It cannot be done without root, and in a host that is itself a container without privileges:
    there are no images then, and no root in a container that is not root of the host.
    """
    if _VARIABLE in os.environ or os.geteuid() != 0:
        return
    back = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        namespaces.unshare(CLONE_NEWNS)
        mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
        mount.make_tree_read_only("/")
        for fd in (back, root):
            os.set_inheritable(fd, True)
        os.execve(sys.executable, sys.orig_argv, {**os.environ, _VARIABLE: f"{back} {root}"})
    except OSError as error:
        say(f"The program of containers is not read-only: {error}")
    _return(back, root)


def is_apart() -> bool:
    """Whether this process is in a mount namespace of its own, which ``end`` will leave."""
    return _VARIABLE in os.environ


def end() -> None:
    """Come back to the host's mounts; to be called when all that will be mapped is."""
    way_back = os.environ.pop(_VARIABLE, None)
    if way_back is not None:
        back, root = map(int, way_back.split())
        _return(back, root)


def _return(back: int, root: int) -> None:
    namespaces.setns(back, CLONE_NEWNS)
    # That of the namespace is not ours if somebody changed our root.
    os.fchdir(root)
    os.chroot(".")
    os.close(back)
    os.close(root)
