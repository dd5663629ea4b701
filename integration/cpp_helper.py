# SPDX-License-Identifier: Apache-2.0
"""Upstream's launch helper, out of the library that the published packages hold.

    python -m integration.cpp_helper LIBRARY launch|network-cni-setup|mount [FLAG …]

The objects of the commands' classes are put together by hand: their constructors are nowhere but in
the program that no package has.
"""

import ctypes
import struct
import sys
from typing import Any

from mesos_compat.realmaster.run import load

_SCOPE = "N5mesos8internal5slave"
#: Mangled names of the commands' classes.
_CLASSES = {
    "launch": "24MesosContainerizerLaunch",
    "network-cni-setup": "23NetworkCniIsolatorSetup",
    # Until 1.4.
    "mount": "23MesosContainerizerMount",
}
_STRING = "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
_LOAD = f"_ZN5flags9FlagsBase4loadERK6OptionI{_STRING}EiPKPKcbb"
_PREFIX = b"MESOS_CONTAINERIZER_"

#: More than any object here has.
_OBJECT_BYTES = 1 << 16
#: Where the functions of a class begin in its vtable.
_FUNCTIONS = 16
#: Where the message of a failure is in what ``load`` returns.
_MESSAGE = 40


def main(arguments: list[str]) -> int:
    """Be the helper; in place this does not return."""
    path, *flags = arguments
    name = _CLASSES[flags[0]]
    lib = load(path)
    helper = ctypes.create_string_buffer(_OBJECT_BYTES)
    start = ctypes.addressof(helper)
    struct.pack_into(
        "<QQQ", helper, 0, _address(lib, f"_ZTV{_SCOPE}{name}E") + _FUNCTIONS, start + 24, 0
    )

    # FlagsBase is a virtual base of the flags: where it is in them, and where in all.
    inside = ctypes.c_int64.from_address(_address(lib, f"_ZTV{_SCOPE}{name}5FlagsE")).value
    get_flags = _function(lib, f"_Z{_SCOPE}{name}8getFlagsEv", ctypes.c_void_p)
    base = get_flags(ctypes.c_void_p(start))
    construct = _function(lib, f"_Z{_SCOPE}{name}5FlagsC1Ev", None)
    construct(ctypes.c_void_p(base - inside))

    prefix = ctypes.create_string_buffer(_PREFIX)
    some = ctypes.create_string_buffer(48)  # Option: its state, then a string
    struct.pack_into("<QQQQ", some, 0, 0, ctypes.addressof(prefix), len(_PREFIX), len(_PREFIX))
    texts = [flag.encode("utf-8", "surrogateescape") for flag in flags]
    argv = (ctypes.c_char_p * (len(texts) + 1))(*texts, None)
    outcome = ctypes.create_string_buffer(_OBJECT_BYTES)
    read = _function(lib, _LOAD, None)
    read(outcome, ctypes.c_void_p(base), some, len(texts), argv, 0, 0)
    failed, address, size = struct.unpack_from("<I36xQQ", outcome)
    if failed:
        print(ctypes.string_at(address, size).decode(), file=sys.stderr)
        return 1
    execute = _function(lib, f"_Z{_SCOPE}{name}7executeEv", ctypes.c_int)
    return int(execute(ctypes.c_void_p(start)))


def _address(lib: ctypes.CDLL, symbol: str) -> int:
    return ctypes.addressof(ctypes.c_char.in_dll(lib, symbol))


def _function(lib: ctypes.CDLL, symbol: str, result: Any) -> Any:
    found = getattr(lib, symbol)
    found.restype = result
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
