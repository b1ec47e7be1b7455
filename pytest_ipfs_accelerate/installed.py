"""What the installed transformers has, where it is not the one that the registry is pinned to.

Planning a run never imports transformers: its heads are asked of a process of their own, and its classes are read in its files.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

Heads = Mapping[str, Mapping[str, Any]]
"""By model type: ``category``, and ``tasks`` as a row of the registry has them, with their classes alone."""


def installed_version() -> str:
    """The version of the installed transformers; empty where there is none."""
    try:
        return version("transformers")
    except PackageNotFoundError:
        return ""


@cache
def installed_heads() -> Heads:
    """The heads of the installed transformers.

    Raises:
        pytest.UsageError: they cannot be read.
    """
    command = [sys.executable, "-m", "pytest_ipfs_accelerate.proposals.heads"]
    answer = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise pytest.UsageError(f"transformers {installed_version()}: its model types cannot be read: {last}")
    heads: Heads = json.loads(answer.stdout.splitlines()[-1])
    return heads


@cache
def installed_classes() -> frozenset[str]:
    """The names of the model and config classes of the installed transformers, in the auto mappings or not."""
    spec = find_spec("transformers")
    assert spec is not None
    assert spec.origin is not None
    models = Path(spec.origin).parent / "models"
    files = [*models.glob("*/modeling_*.py"), *models.glob("*/configuration_*.py")]
    found = {name for file in files for name in re.findall(rb"^class (\w+)", file.read_bytes(), re.MULTILINE)}
    return frozenset(name.decode() for name in found)
