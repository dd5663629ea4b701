# SPDX-License-Identifier: Apache-2.0
"""Load a relinked libmesos into this process and be the master.

Three calls suffice. ``process::initialize("master")`` makes the actor ``master`` the delegate, so
that /state and /api/v1/scheduler work without a prefix, as in mesos-master. Constructing a driver
for the master ``local`` starts the local cluster; with MESOS_NUM_SLAVES=0 that is a master alone.
The driver itself is never started. Flags are read by the library from MESOS_<FLAG>.
Source: libprocess' process.hpp, Mesos' sched.cpp and local.cpp; the Itanium C++ ABI for layouts.
"""

import contextlib
import ctypes
import mmap
import os
import platform
import signal
import struct
import sys
from collections.abc import Iterable
from typing import Any

from mesos_compat.realmaster.errors import HostUnusable, RealMasterError
from mesos_compat.realmaster.relink import needed_libraries

#: Shared library → the Debian package that has it (and its name from Debian 13 on).
DEBIAN_PACKAGES = {
    "libsasl2.so.2": "libsasl2-2",
    "libz.so.1": "zlib1g",
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libevent-2.1.so.7": "libevent-2.1-7 (Debian 13: libevent-2.1-7t64)",
    "libevent_core-2.1.so.7": "libevent-core-2.1-7 (Debian 13: libevent-core-2.1-7t64)",
    "libevent_extra-2.1.so.7": "libevent-extra-2.1-7 (Debian 13: libevent-extra-2.1-7t64)",
    "libevent_openssl-2.1.so.7": "libevent-openssl-2.1-7 (Debian 13: libevent-openssl-2.1-7t64)",
    "libevent_pthreads-2.1.so.7": "libevent-pthreads-2.1-7 (Debian 13: libevent-pthreads-2.1-7t64)",
}
_SASL_FOLDERS = ("/usr/lib/x86_64-linux-gnu/sasl2", "/usr/lib64/sasl2", "/usr/lib/sasl2")
#: Debian's plug-in of libsasl2-modules; frameworks and agents authenticate with CRAM-MD5.
_SASL_PLUGIN = "libcrammd5.so"

_STRING = "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
_INITIALIZE = f"_ZN7process10initializeERK6OptionI{_STRING}ES9_S9_"
_DRIVER = f"_ZN5mesos20MesosSchedulerDriverC1EPNS_9SchedulerERKNS_13FrameworkInfoERK{_STRING}"
_FRAMEWORK_INFO = "_ZN5mesos13FrameworkInfoC1Ev"
_PARSE = "_ZN6google8protobuf11MessageLite14ParseFromArrayEPKvi"
_MASTER_FLAGS = "_ZN5mesos8internal6master5FlagsC1Ev"
_USAGE = f"_ZNK5flags9FlagsBase5usageERK6OptionI{_STRING}E"

#: Room for the C++ objects, each a multiple of what the largest version needs (3.4 kB for the
#: flags); they live as long as the process.
_OBJECT_BYTES = 1 << 16
#: A std::string keeps up to 15 bytes in itself.
_SHORT_STRING_BYTES = 15
#: Where a vtable tells the offset of the second virtual base, FlagsBase, of master::Flags.
_FLAGS_BASE_SLOT = -32


def check_host() -> None:
    """Raise HostUnusable unless this is a 64-bit x86 Linux with the GNU libc."""
    machine = platform.machine()
    if sys.platform != "linux" or machine != "x86_64" or sys.maxsize < 1 << 32:
        raise HostUnusable(
            "The published Mesos libraries are for Linux on x86_64 and a 64-bit Python; "
            f"this is {platform.system()} on {machine}"
        )
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):
        libc = None
    if not libc:
        raise HostUnusable(
            "The published Mesos libraries need the GNU libc (Debian, Ubuntu, Fedora …); "
            "this Python runs with another one, for example musl on Alpine"
        )


def load(path: str) -> ctypes.CDLL:
    """Load the relinked library; raises HostUnusable that names every missing shared library."""
    try:
        return ctypes.CDLL(path, mode=os.RTLD_LAZY | os.RTLD_GLOBAL)
    except OSError as error:
        # Only now: a library that was loaded by itself would bind its symbols in a scope of its
        # own. Debian's libevent_pthreads would then set up locking for libevent_core, and the
        # libevent that Mesos uses would lose events.
        missing = _missing(path)
        if missing:
            raise HostUnusable(missing_text(missing)) from error
        raise HostUnusable(f"Failed to load the Mesos library: {error}") from error


def _missing(path: str) -> list[str]:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as elf:
        return [name for name in needed_libraries(elf) if not _loadable(name)]


def missing_text(missing: Iterable[str]) -> str:
    """Say which libraries are missing and which Debian packages have them."""
    lines = [f"  {name}: {DEBIAN_PACKAGES.get(name, 'unknown package')}" for name in missing]
    return (
        "Shared libraries that the Mesos master needs are missing. "
        "Install these Debian packages:\n" + "\n".join(lines)
    )


def sasl_warning(folders: Iterable[str] = _SASL_FOLDERS) -> str | None:
    """Return what to say when nothing can authenticate at this master, else None."""
    if any(os.path.exists(os.path.join(folder, _SASL_PLUGIN)) for folder in folders):
        return None
    return (
        "No CRAM-MD5 plug-in of libsasl2 found: agents and frameworks will not be able to "
        "authenticate (Debian package libsasl2-modules)"
    )


def usage(lib: ctypes.CDLL) -> str:
    """Return the usage text of this version's master flags."""
    flags = ctypes.create_string_buffer(_OBJECT_BYTES)
    _function(lib, _MASTER_FLAGS)(flags)
    (vtable,) = struct.unpack_from("<Q", flags)
    offset = ctypes.c_int64.from_address(vtable + _FLAGS_BASE_SLOT).value
    if not 0 < offset < _OBJECT_BYTES:
        raise RealMasterError("This Mesos library keeps its flags in an unknown way")
    base = ctypes.c_void_p(ctypes.addressof(flags) + offset)
    text = ctypes.create_string_buffer(32)
    no_message = _option_string(None)
    _function(lib, _USAGE)(text, base, no_message)
    address, size = struct.unpack_from("<QQ", text)
    return ctypes.string_at(address, size).decode("utf-8", "replace")


def run(lib: ctypes.CDLL) -> int:
    """Be the master until SIGTERM or SIGINT; the flags are in ``os.environ`` already.

    The library ends the process itself when it cannot start or go on: exit code 1 with its reason
    on stderr, or SIGABRT after a failed check.
    """
    signals = {signal.SIGTERM, signal.SIGINT}
    # Threads of the library inherit the mask, so that the signals wait for sigwait below.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    none = _option_string(None)
    _function(lib, _INITIALIZE)(_option_string(b"master"), none, none)
    framework = ctypes.create_string_buffer(_OBJECT_BYTES)
    _function(lib, _FRAMEWORK_INFO)(framework)
    wire = b"\x0a\x04root\x12\x01-"  # FrameworkInfo {user: "root", name: "-"}
    _function(lib, _PARSE)(framework, wire, len(wire))
    name = ctypes.create_string_buffer(32)
    _place_string(b"local", name, 0)
    driver = ctypes.create_string_buffer(_OBJECT_BYTES)
    scheduler = ctypes.create_string_buffer(64)
    _function(lib, _DRIVER)(driver, scheduler, framework, name)
    received = signal.sigwait(signals)
    print(f"Received {signal.Signals(received).name}, the master ends", file=sys.stderr)
    return 0


def _loadable(name: str) -> bool:
    with contextlib.suppress(OSError):
        ctypes.CDLL(name, mode=os.RTLD_LAZY | os.RTLD_LOCAL)
        return True
    return False


def _function(lib: ctypes.CDLL, symbol: str) -> Any:
    try:
        function = getattr(lib, symbol)
    except AttributeError:
        raise RealMasterError(f"This Mesos library has no {symbol}") from None
    function.restype = None
    return function


def _place_string(value: bytes, buffer: "ctypes.Array[ctypes.c_char]", offset: int) -> None:
    """Build a std::string at ``offset``: pointer to its own bytes, length, the bytes."""
    if len(value) > _SHORT_STRING_BYTES:
        raise ValueError("the string does not fit into its short form")
    own_bytes = ctypes.addressof(buffer) + offset + 16
    struct.pack_into("<QQ16s", buffer, offset, own_bytes, len(value), value)


def _option_string(value: bytes | None) -> "ctypes.Array[ctypes.c_char]":
    """Build stout's Option<std::string>: a state (0 is some, 1 is none), the string at 8."""
    option = ctypes.create_string_buffer(40)
    struct.pack_into("<i", option, 0, 0 if value is not None else 1)
    if value is not None:
        _place_string(value, option, 8)
    return option
