# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.realmaster.errors import RelinkError
from mesos_compat.realmaster.relink import needed_libraries, relink
from tests.realmaster.elf import Shape, build, read_symbols, read_versions

WEAK, GLOBAL = 2, 1
LIBMESOS = Shape(
    needed=["libz.so.1", "libssl.so.1.0.0", "libevent-2.0.so.5", "libcurl.so.4", "libc.so.6"],
    versions={
        "libssl.so.1.0.0": [2],
        "libc.so.6": [3, 4],
        "libcurl.so.4": [5],
        "libevent-2.0.so.5": [6],
    },
    symbols=[
        ("SSL_new", 2, False),
        ("memcpy", 3, False),
        ("curl_easy_init", 0x8005, False),
        ("event_new", 6, False),
        ("svn_txdelta", 1, False),
        ("PyList_New", 1, False),
        ("_Py_NoneStruct", 1, False),
        ("Python_is_ours", 1, True),
        ("mesos_main", 1, True),
    ],
)


def test_unused_libraries_are_no_longer_needed_and_libevent_is_todays() -> None:
    assert needed_libraries(relink(build(LIBMESOS))) == [
        "libz.so.1",
        "libevent-2.1.so.7",
        "libc.so.6",
    ]


def test_versions_of_unused_libraries_are_unlinked_first_middle_and_last() -> None:
    assert read_versions(relink(build(LIBMESOS))) == {"libc.so.6": 2, "libevent-2.1.so.7": 1}
    last = Shape(versions={"libc.so.6": [2], "libapr-1.so.0": [3]}, symbols=[])
    assert read_versions(relink(build(last))) == {"libc.so.6": 1}


def test_only_symbols_that_nobody_gives_any_more_become_weak() -> None:
    assert read_symbols(relink(build(LIBMESOS))) == {
        "SSL_new": (WEAK, 1),
        "memcpy": (GLOBAL, 3),
        "curl_easy_init": (WEAK, 1),
        "event_new": (GLOBAL, 6),
        "svn_txdelta": (WEAK, 1),
        "PyList_New": (WEAK, 1),
        "_Py_NoneStruct": (WEAK, 1),
        "Python_is_ours": (GLOBAL, 1),
        "mesos_main": (GLOBAL, 1),
    }


def test_nothing_moves() -> None:
    assert len(relink(build(LIBMESOS))) == len(build(LIBMESOS))


@pytest.mark.parametrize(
    ("elf", "message"),
    [
        (b"", "no 64-bit"),
        (b"#!/bin/sh\n", "no 64-bit"),
        (build(Shape(machine=183, versions={"libc.so.6": [2]})), "no x86_64 shared object"),
        (build(Shape(kind=2, versions={"libc.so.6": [2]})), "no x86_64 shared object"),
        (build(Shape(versions={"libcurl.so.4": [2]})), "needs no versioned symbols"),
        (build(LIBMESOS)[:200], "truncated"),
    ],
)
def test_unexpected_files_are_refused_with_a_reason(elf: bytes, message: str) -> None:
    with pytest.raises(RelinkError, match=message):
        relink(elf)


@given(st.integers(0, len(build(LIBMESOS)) - 1), st.integers(0, 255))
def test_a_damaged_file_is_edited_or_refused_but_never_breaks_us(place: int, byte: int) -> None:
    damaged = bytearray(build(LIBMESOS))
    damaged[place] = byte
    try:
        assert len(relink(bytes(damaged))) == len(damaged)
    except RelinkError:
        pass
