# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io

from containerizer.provisioner.progress import LayerProgress, LayerState, PullProgress
from mesos_compat.cli.images.display import PullDisplay, bar


def pull(*sizes: int | None) -> PullProgress:
    made = PullProgress("busybox\x1b[2J", lambda pull: None)
    made.layers = [LayerProgress(f"sha256:{n}", each) for n, each in enumerate(sizes)]
    return made


def test_bars() -> None:
    one = pull(1000, 3000, 500)
    one.layers[2].state = LayerState.PRESENT
    assert "[>" + " " * 23 + "] 0B of 3.9K" in bar(one)
    one.layers[0].received, one.layers[0].state = 1000, LayerState.DONE
    one.layers[1].received = 1000
    assert "[============>" in bar(one)
    assert "2/3 layers" in bar(one)
    one.layers[1].received = 3000
    assert f"[{'=' * 24}]" in bar(one)
    assert "\x1b" not in bar(one)
    assert "[" not in bar(pull(None, 5)).partition(": ")[2]
    assert "resolving" in bar(pull())


def test_a_terminal_gets_one_line() -> None:
    out = io.StringIO()
    display = PullDisplay(out, terminal=True)
    display.changed(pull(10))
    display.changed(pull(10))
    display.end()
    assert "\n" not in out.getvalue()
    assert out.getvalue().count("0/1 layers") == 1
    assert out.getvalue().endswith("\r\x1b[K")


def test_a_file_gets_a_line_for_each_layer() -> None:
    out = io.StringIO()
    display = PullDisplay(out, terminal=False)
    one = pull(10, 20)
    display.changed(one)
    one.layers[1].state = LayerState.PRESENT
    display.changed(one)
    one.layers[0].state = LayerState.DONE
    display.changed(one)
    display.end()
    assert out.getvalue() == "sha256:1: is here\nsha256:0: pulled\n"
