"""``--ipfs-json=FILE``: every verdict of a run, and every selected case that has none."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from ..hardware.probes import library_version
from ..machine import Machine, this_machine
from ..verdict import SCHEMA_VERSION, Verdict
from .tally import Tally

LIBRARIES = (
    "pytest-ipfs-accelerate",
    "pytest",
    "torch",
    "transformers",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-qnn",
    "openvino",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A run. ``counts`` are verdicts by outcome; ``not_run`` maps the node id of a selected case without a verdict to the
    reason: ``deselected``, or ``not reached`` and why (``not reached: interrupted``)."""

    schema: int
    command: list[str]
    exit_status: int
    platform: str
    python: str
    machine: Machine
    versions: dict[str, str]
    counts: dict[str, int]
    verdicts: list[Verdict]
    not_run: dict[str, str]


def check_writable(path: Path, source: str) -> None:
    """Find out before the run, not after it.

    Raises:
        pytest.UsageError: the file cannot be written.
    """
    if path.is_dir():
        raise pytest.UsageError(f"{source}: {path} is a directory")
    if not path.parent.is_dir():
        raise pytest.UsageError(f"{source}: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise pytest.UsageError(f"{source}: {path} cannot be written")


def report_of(tally: Tally, exit_status: int) -> Report:
    """The report of a run that ended with ``exit_status``."""
    return Report(
        schema=SCHEMA_VERSION,
        command=["pytest", *sys.argv[1:]],
        exit_status=exit_status,
        platform=platform.platform(),
        python=platform.python_version(),
        machine=this_machine(),
        versions={name: found for name in LIBRARIES if (found := library_version(name))},
        counts=dict(Counter(verdict.outcome.value for verdict in tally.verdicts.values())),
        verdicts=tally.in_order(),
        not_run=tally.not_run,
    )


def write_report(path: Path, tally: Tally, exit_status: int) -> None:
    """Write the report whole or not at all: what stood there before survives a run that is killed while it writes."""
    text = msgspec.json.format(msgspec.json.encode(report_of(tally, exit_status), enc_hook=str), indent=1)
    write_whole(path, text + b"\n")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
