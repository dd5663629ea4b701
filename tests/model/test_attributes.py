# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from mesos_compat.base.errors import WireError
from mesos_compat.model.attributes import format_attributes, parse_attributes
from mesos_compat.pb.mesos import mesos_pb2 as pb


def test_kinds_are_told_by_the_value() -> None:
    rack, weight, ports, url = parse_attributes("rack:r 1;weight:1.5\nports:[1-2];url:http://h:80/")
    assert (rack.name, rack.type, rack.text.value) == ("rack", pb.Value.TEXT, "r1")
    assert (weight.type, weight.scalar.value) == (pb.Value.SCALAR, 1.5)
    assert (ports.type, ports.ranges.range[0].end) == (pb.Value.RANGES, 2)
    assert (url.type, url.text.value) == (pb.Value.TEXT, "http://h:80/")


def test_a_name_may_come_twice() -> None:
    assert [a.text.value for a in parse_attributes("a:x;a:y;")] == ["x", "y"]


@pytest.mark.parametrize("text", ["a", ":x", "a:", "a: ;b:c", "a:{x,y}", "a:[3-1]"])
def test_unusable_items_are_refused(text: str) -> None:
    with pytest.raises(WireError):
        parse_attributes(text)


def test_text_reads_back() -> None:
    text = "rack:r1;weight:1.5;ports:[1-2, 5-6]"
    assert format_attributes(parse_attributes(text)) == text
