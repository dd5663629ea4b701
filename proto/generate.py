#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Regenerate ``mesos_compat/pb`` from the ``.proto`` files beside this script.

usage: python proto/generate.py [OUTPUT_DIR]      (needs ``pip install -e .[dev]`` for grpcio-tools)

Two things differ from plain ``protoc --python_out``:

* modules live below ``mesos_compat.pb``, so that they never shadow another ``mesos`` package;
* their descriptors go into a pool of our own (``mesos_compat.pb.pool``): a process that also
  loads other generated Mesos messages (``mesos.interface``, ``mesos.pb``) does not end in
  "duplicate file name" errors.
"""

import importlib.resources
import re
import shutil
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

SOURCE = Path(__file__).resolve().parent
TARGET = SOURCE.parent / "mesos_compat" / "pb"
PACKAGE = "mesos_compat.pb"
KEPT = {"__init__.py", "pool.py", "py.typed"}

_IMPORT = re.compile(r"^(from|import) mesos\b", re.MULTILINE)
_DEFAULT_POOL = "_descriptor_pool.Default()"
_POOL_IMPORT = "from google.protobuf import descriptor_pool as _descriptor_pool\n"


def rewrite(text: str) -> str:
    """Move imports below PACKAGE and registrations into our own pool."""
    text = _IMPORT.sub(rf"\1 {PACKAGE}.mesos", text)
    text = text.replace(_POOL_IMPORT, f"from {PACKAGE}.pool import POOL as _pool\n")
    return text.replace(_DEFAULT_POOL, "_pool")


def generate(target: Path) -> int:
    """Write all modules below ``target``; return how many."""
    names = sorted(str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.proto"))
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    with tempfile.TemporaryDirectory() as scratch:
        arguments = [f"-I{SOURCE}", f"-I{well_known}", f"--python_out={scratch}"]
        if protoc.main(["protoc", *arguments, f"--pyi_out={scratch}", *names]) != 0:
            sys.exit("protoc failed")
        if (target / "mesos").exists():
            shutil.rmtree(target / "mesos")
        for made in sorted(Path(scratch).rglob("*.py*")):
            there = target / made.relative_to(scratch)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text(rewrite(made.read_text()))
    for folder in (target / "mesos", *(p for p in (target / "mesos").rglob("*") if p.is_dir())):
        (folder / "__init__.py").touch()
    return len(names)


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    print(f"{generate(out)} files generated below {out}")
