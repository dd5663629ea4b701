# SPDX-License-Identifier: Apache-2.0
"""RecordIO: any split gives the same records, and bounds hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesos_compat.base.errors import WireError
from mesos_compat.base.recordio import Decoder, encode


def test_the_frame_is_the_length_and_a_newline() -> None:
    assert encode(b"hello") == b"5\nhello"
    assert encode(b"") == b"0\n"


@given(st.lists(st.binary(max_size=40)), st.data())
def test_any_split_gives_the_same_records(records: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(encode, records))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    decoder = Decoder()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += decoder.feed(stream[start:end])
    assert found == records
    assert not decoder.partial


def test_an_incomplete_record_is_partial() -> None:
    decoder = Decoder()
    assert decoder.feed(b"5\nhel") == []
    assert decoder.partial
    assert decoder.feed(b"lo") == [b"hello"]
    assert not decoder.partial


@pytest.mark.parametrize("stream", [b"x\n", b"-1\n", b"\n", b" 5\nhello", b"1" * 21, b"99\n"])
def test_bad_frames_are_refused_for_good(stream: bytes) -> None:
    decoder = Decoder(limit=98)
    for data in (stream, b"0\n"):
        with pytest.raises(WireError):
            decoder.feed(data)


@given(st.binary())
def test_noise_is_records_or_a_wire_error(data: bytes) -> None:
    try:
        Decoder(limit=1000).feed(data)
    except WireError:
        pass
