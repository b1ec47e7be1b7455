"""The rows of ``model_registry.json``: their form, and how JSON is read into it with an error that names the place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import msgspec
import pytest

from ..words import nearest

SCHEMA = 1
Category = Literal["language", "vision", "audio", "multimodal", "specialized"]
CATEGORIES: tuple[str, ...] = ("language", "vision", "audio", "multimodal", "specialized")


class TaskRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"model_class": "class"}):
    """One task of a model type; ``config`` is merged over that of the model type, unless ``config_class`` names another class
    of config. ``part`` names the nested config that the class is built from; ``processor`` is empty where none works offline,
    and ``inputs`` says why. What is left out is as the model type has it."""

    model_class: str
    config_class: str = ""
    config: dict[str, Any] = {}
    part: str = ""
    processor: str | None = None
    inputs: dict[str, Any] = {}
    seed: int | None = None
    needs: tuple[str, ...] = ()


class ModelRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model type. The first of its ``tasks`` is the primary one; a key ``task:Class`` is a further class of the same
    task."""

    category: Category
    config_class: str
    tasks: dict[str, dict[str, Any]]
    config: dict[str, Any] = {}
    processor: str = ""
    hub: str = ""
    seed: int = 0
    needs: tuple[str, ...] = ()


class RegistryFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A registry file; in a user's own everything but ``models`` may be left out. ``shapes`` are objects that several rows
    share: an object ``{"$shape": "name", …}`` anywhere in a row stands for the one of that name with the rest laid over it."""

    models: dict[str, dict[str, Any]]
    schema: int = SCHEMA
    transformers: str = ""
    sets: dict[str, tuple[str, ...]] = {}
    processors: dict[str, dict[str, Any]] = {}
    shapes: dict[str, dict[str, Any]] = {}


Row = TypeVar("Row")


def _unique(path: Path) -> Any:
    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise pytest.UsageError(f"{path}: the key {key!r} stands twice in one object")
            found[key] = value
        return found

    return hook


def read_json(path: Path, option: str) -> Any:
    """The content of a JSON file.

    Raises:
        pytest.UsageError: it cannot be read, is not JSON (with line and column), or repeats a key.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise pytest.UsageError(f"{option}: cannot read {path}: {reason}") from None
    try:
        return json.loads(text, object_pairs_hook=_unique(path))
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise pytest.UsageError(f"{option}: {place}: not JSON: {error.msg}") from None


def convert(raw: Any, form: type[Row], source: str, keys: str) -> Row:
    """``raw`` as a row of ``form``.

    Raises:
        pytest.UsageError: wrong type, missing or unknown key; names the file and the path of the key.
    """
    try:
        return msgspec.convert(raw, form)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        hint = ""
        if "unknown field" in message:
            known = [field.encode_name for field in msgspec.structs.fields(form)]  # type: ignore[arg-type]
            hint = nearest(message.split("`")[1], known)
        elif "enum value" in message:
            kind = get_type_hints(form)[where.strip(".`")]
            hint = nearest(message.split("'")[1], get_args(kind) or kind)
        raise pytest.UsageError(f"{source}: {keys}{where.rstrip('`')}: {message}{hint}") from None


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base``, nested objects merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


SHAPE = "$shape"


def expand(value: Any, shapes: Mapping[str, Any], place: str) -> Any:
    """``value`` with the shapes that it names in their places.

    Raises:
        pytest.UsageError: there is no shape of that name.
    """
    if isinstance(value, list):
        return [expand(item, shapes, place) for item in value]
    if not isinstance(value, dict):
        return value
    rest = {key: expand(item, shapes, place) for key, item in value.items() if key != SHAPE}
    if SHAPE not in value:
        return rest
    name = value[SHAPE]
    if name not in shapes:
        raise pytest.UsageError(f"{place}: no shape {name!r}{nearest(str(name), shapes)}")
    return merge(expand(shapes[name], shapes, place), rest)
