# SPDX-License-Identifier: Apache-2.0
"""Kill engines and spawners at fault points.

``python -m tests.containerizer.crash`` plays all there is, ``… 'launch host' engine`` one case, and
with a number after it, one point. It ends with 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.containerizer.crash import runner
from tests.containerizer.crash.rounds import Finding
from tests.containerizer.crash.scenes import CASES


def main() -> int:
    """Play what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.containerizer.crash")
    parser.add_argument("scene", nargs="?")
    parser.add_argument("killed", nargs="?")
    parser.add_argument("point", nargs="?", type=int)
    parser.add_argument("--every", type=int, default=1, help="only every so manieth point")
    parser.add_argument("--seed", type=int, default=0, help="where to begin with that")
    parser.add_argument("--folder", type=Path, help="for scratch files, which stay")
    parser.add_argument("--workers", type=int, default=(os.cpu_count() or 1) + 1)
    asked = parser.parse_args()
    cases = [
        (scene, killed)
        for scene, killed in CASES
        if asked.scene in (None, scene) and asked.killed in (None, killed)
    ]
    if not cases:
        parser.error("no such case")
    if asked.point is not None:
        numbers: dict[runner.Case, Sequence[int]] = dict.fromkeys(cases, (asked.point,))
    else:
        seeded = random.Random(asked.seed)
        offsets = (seeded.randrange(asked.every) for _ in itertools.count())
        numbers = runner.sample(cases, asked.every, offsets)
    with tempfile.TemporaryDirectory(prefix="crash-") as scratch:
        return _play(numbers, asked.folder or Path(scratch), asked.workers)


def _play(numbers: dict[runner.Case, Sequence[int]], folder: Path, workers: int) -> int:
    began = time.monotonic()
    points: Counter[runner.Case] = Counter()
    slowest_s: dict[runner.Case, float] = defaultdict(float)
    findings: list[Finding] = []
    for found in runner.play(numbers, folder, workers):
        for case, report in found.items():
            points[case] += report.points
            slowest_s[case] = max(slowest_s[case], report.slowest_s)
            findings += report.findings
    for finding in findings:
        print(finding)
        number = finding.point.split(" ")[0].rstrip("f,")
        again = f"'{finding.scene}' {finding.killed} {number}"
        print(f"  alone: .venv/bin/python -m tests.containerizer.crash {again}")
    for case, count in points.items():
        print(f"{', '.join(case)}: {count} points, the slowest {slowest_s[case]:.1f} s")
    print(f"{points.total()} points in {time.monotonic() - began:.0f} s, {len(findings)} wrong")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
