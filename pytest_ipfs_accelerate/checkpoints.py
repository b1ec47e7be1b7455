"""Which real checkpoint a model type runs on, from the words of ``--ipfs-weights`` and ``--ipfs-checkpoint``.

What lies in a directory is looked at here, before the run; what the Hub or its cache has is found out where it is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path

import pytest

from .models.model_types import other_type
from .settings import Settings
from .specs import CheckpointSource
from .words import nearest

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
"""``bert-base-uncased`` or ``google-bert/bert-base-uncased``."""


def asked_checkpoints(settings: Settings, models: Collection[str], base: Path) -> dict[str, CheckpointSource]:
    """By model type: the checkpoint that it was given. A relative directory is one under ``base``.

    Raises:
        pytest.UsageError: there is no such model type, directory or Hub id, or the directory holds no checkpoint of the type.
    """
    source = settings.sources.get("checkpoint", "")
    found: dict[str, CheckpointSource] = {}
    for word in settings.checkpoint:
        model, separator, place = word.partition("=")
        if not separator or not place:
            raise pytest.UsageError(f"{source}: {word!r} is not of the form bert=DIRECTORY or bert=HUB_ID")
        if model not in models:
            raise pytest.UsageError(f"{source}: no model type {model!r}{nearest(model, models)}")
        if model in found:
            raise pytest.UsageError(f"{source}: {word}, and {model}={found[model].place} is given, too")
        found[model] = _source(model, place, settings, base, f"{source}: {word}")
    return found


def _source(model: str, place: str, settings: Settings, base: Path, where: str) -> CheckpointSource:
    directory = base / Path(place).expanduser()
    if directory.is_dir():
        _check_directory(directory, model, where)
        return CheckpointSource(kind="directory", place=str(directory.resolve()))
    name, _, revision = place.partition("@")
    # What names a directory by its form, or lies under one that is here, was not meant for the Hub.
    if place[0] in "./~" or Path(place).is_absolute() or (name.count("/") and (base / name.split("/")[0]).is_dir()):
        raise pytest.UsageError(f"{where}: there is no directory {directory}")
    if HUB_ID.fullmatch(name) is None:
        raise pytest.UsageError(
            f"{where}: {place!r} is neither a directory here nor of the form of a Hub id, owner/name"
        )
    return CheckpointSource(kind="hub" if settings.weights == "hub" else "cache", place=name, revision=revision)


def _check_directory(directory: Path, model: str, where: str) -> None:
    """Find out whether a directory holds a checkpoint of a model type.

    Raises:
        pytest.UsageError: it does not; says what there is.
    """
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise pytest.UsageError(f"{where}: {directory} has no config.json") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise pytest.UsageError(f"{where}: {path} cannot be read: {error}") from None
    if reason := other_type(config, model):
        raise pytest.UsageError(f"{where}: {path} {reason}")
