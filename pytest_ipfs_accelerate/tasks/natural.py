"""Natural inputs in the forms in which the workers of older skill modules give them: a path in place of a picture or a
sound, an array, a text and its picture as two arguments.

The form that a task takes is read off its own samples, so that nothing here knows a task by name.
"""

from __future__ import annotations

import wave
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .base import Task

PATHS = (str, PathLike)
KINDS = ("images", "image", "audio", "videos", "raw")
"""Keys of a natural input that hold something else than text."""


def natural_input(task: Task, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """What a handler was called with, as its task takes it: one natural input, or a list of them for a batch.

    Raises:
        TypeError: more or fewer arguments than the task has parts, or one of no known kind.
        ValueError: the list is empty.
        FileNotFoundError: there is no file at a path.
    """
    if named:
        return _named(task, given, named)
    if len(given) == 1 and isinstance(given[0], list) and not _whole(task, given[0]):
        if not given[0]:
            raise ValueError(f"{task_name(task)} got a list without an input")
        return [natural_input(task, [item], {}) for item in given[0]]
    form = task.samples()[0]
    if len(given) == 1 and isinstance(given[0], tuple):
        given = given[0]
    if len(given) > 1 and isinstance(form, Mapping) and all(isinstance(part, list) for part in given[:2]):
        if len(lengths := {len(part) for part in given}) > 1:
            raise TypeError(f"the parts of a batch have different lengths: {sorted(lengths)}")
        return [natural_input(task, parts, {}) for parts in zip(*given, strict=True)]
    if len(given) == 1 and (not isinstance(form, Mapping) or isinstance(given[0], Mapping)):
        return _read(given[0], form, task)
    return _assembled(task, form, given)


def _whole(task: Task, item: list[Any]) -> bool:
    """Whether a list is one input: a chat is a list of messages, a film one of pictures."""
    form = task.samples()[0]
    return isinstance(form, list) and bool(item) and isinstance(item[0], Mapping)


def _named(task: Task, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    form = task.samples()[0]
    parts = list(form) if isinstance(form, Mapping) else []
    if unknown := [name for name in named if name not in parts]:
        raise TypeError(f"{task_name(task)} takes no input {unknown[0]!r}; it takes {', '.join(parts) or 'one input'}")
    free = [name for name in parts if name not in named]
    return {**dict(zip(free, given, strict=False)), **{name: _part(name, named[name], task) for name in named}}


def task_name(task: Task) -> str:
    """What a person calls a task."""
    return type(task).__name__


def _read(item: Any, form: Any, task: Task) -> Any:
    """One input; a path in place of a picture is opened."""
    if item is None or (isinstance(form, str) and not isinstance(item, str | Mapping)):
        what = "a text" if isinstance(form, str) else f"an input such as its samples, of type {type(form).__name__}"
        raise TypeError(f"{task_name(task)} takes {what}, and got {'None' if item is None else type(item).__name__}")
    return _picture(item) if isinstance(form, Image.Image) else item


def _picture(item: Any) -> Any:
    """A picture as processors take it, in RGB: of a path what is there, and one with transparency or in grey converted, as the
    pipelines of transformers do. An array is left as it is."""
    if isinstance(item, PATHS):
        return picture_of(item)
    return item.convert("RGB") if isinstance(item, Image.Image) and item.mode != "RGB" else item


def _assembled(task: Task, form: Any, given: Sequence[Any]) -> Any:
    """An input of several parts from its parts, told apart by what they are."""
    if not isinstance(form, Mapping):
        raise TypeError(f"{task_name(task)} takes one input, and got {len(given)}")
    media = [name for name in form if name in KINDS]
    texts = [name for name in form if name not in KINDS and name != "sampling_rate"]
    found: dict[str, Any] = {}
    for part in given:
        name = next((name for name in _order(part, media, texts) if name not in found), None)
        if name is None:
            raise TypeError(f"{task_name(task)} takes {', '.join(form)}, and got {len(given)} inputs")
        found[name] = _part(name, part, task)
    if "raw" in found:
        return _sound(found["raw"], task)
    if missing := [name for name in form if name not in found]:
        raise TypeError(f"{task_name(task)} takes {', '.join(form)}; {', '.join(missing)} is missing")
    if "text" in found and media:
        found["text"] = _with_placeholder(task, str(found["text"]))
    return found


def _order(part: Any, media: list[str], texts: list[str]) -> list[str]:
    """Which parts of an input something may be, the likeliest first: a text, or the path of a picture or sound."""
    if not isinstance(part, PATHS):
        labels = isinstance(part, list) and all(isinstance(item, str) for item in part)
        return [*texts, *media] if labels else media
    looks_like_path = isinstance(part, PathLike) or (
        "." in part and " " not in part and len(part) - part.rindex(".") <= 5
    )
    return [*media, *texts] if looks_like_path and media else texts or media


def _part(name: str, part: Any, task: Task) -> Any:
    if name in ("images", "image"):
        return _picture(part)
    if name == "audio" and isinstance(part, PATHS):
        return sound_of(part)[0]
    return part


def _sound(part: Any, task: Task) -> dict[str, Any]:
    if isinstance(part, PATHS):
        raw, rate = sound_of(part)
    else:
        # An array alone is at the rate that the model listens at.
        raw, rate = np.asarray(part), task.samples()[0]["sampling_rate"]
    return {"raw": raw, "sampling_rate": rate}


def _with_placeholder(task: Task, text: str) -> str:
    """A prompt with the token for its picture or sound, where the processor wants one and the text has none."""
    sample = str(task.samples()[0]["text"])
    processor = task.processor
    names = ("boi_token", "image_token", "audio_token")
    tokens = [token for name in names if (token := getattr(processor, name, "")) and str(token) in sample]
    return f"{tokens[0]} {text}" if tokens and tokens[0] not in text else text


def picture_of(path: str | PathLike[str]) -> Image.Image:
    """The picture in a file, in RGB."""
    with Image.open(fspath(path)) as image:
        return image.convert("RGB")


def sound_of(path: str | PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """Waveform in [-1, 1], mono, and sampling rate in hertz of a WAV file of 16-bit samples.

    Raises:
        ValueError: it is of another form.
    """
    try:
        with wave.open(fspath(path)) as file:
            if file.getsampwidth() != 2:
                raise ValueError(f"{path}: {8 * file.getsampwidth()}-bit samples; 16-bit ones are read")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
            return np.asarray(samples.mean(axis=1) / 2**15, np.float32), file.getframerate()
    except wave.Error as error:
        raise ValueError(f"{path}: not a WAV file that can be read here: {error}; give the waveform instead") from None
