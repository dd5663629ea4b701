# SPDX-License-Identifier: Apache-2.0
"""Upstream's launch helper, out of the library that the published packages hold.

    python -m integration.cpp_helper LIBRARY launch [FLAG …]

The object of class MesosContainerizerLaunch is put together by hand: its constructor is nowhere
but in the program that no package has.
"""

import ctypes
import struct
import sys
from typing import Any

from mesos_compat.realmaster.run import load

_CLASS = "_ZN5mesos8internal5slave24MesosContainerizerLaunch"
_VTABLE = "_ZTVN5mesos8internal5slave24MesosContainerizerLaunchE"
_FLAGS_VTABLE = "_ZTVN5mesos8internal5slave24MesosContainerizerLaunch5FlagsE"
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
    lib = load(path)
    helper = ctypes.create_string_buffer(_OBJECT_BYTES)
    start = ctypes.addressof(helper)
    struct.pack_into("<QQQ", helper, 0, _address(lib, _VTABLE) + _FUNCTIONS, start + 24, 0)

    # FlagsBase is a virtual base of the flags: where it is in them, and where in all.
    inside = ctypes.c_int64.from_address(_address(lib, _FLAGS_VTABLE)).value
    get_flags = _function(lib, f"{_CLASS}8getFlagsEv", ctypes.c_void_p)
    base = get_flags(ctypes.c_void_p(start))
    construct = _function(lib, f"{_CLASS}5FlagsC1Ev", None)
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
    execute = _function(lib, f"{_CLASS}7executeEv", ctypes.c_int)
    return int(execute(ctypes.c_void_p(start)))


def _address(lib: ctypes.CDLL, symbol: str) -> int:
    return ctypes.addressof(ctypes.c_char.in_dll(lib, symbol))


def _function(lib: ctypes.CDLL, symbol: str, result: Any) -> Any:
    found = getattr(lib, symbol)
    found.restype = result
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
