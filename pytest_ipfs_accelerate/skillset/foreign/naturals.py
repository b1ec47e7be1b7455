"""How a natural input is handed to a user's handler: its parts, by the names of the handler's parameters."""

from __future__ import annotations

import inspect
import re
import wave
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..findings import Check, Finding
from .binding import NotCallable

FORMS = 5
"""How many ways of handing it over are tried before the handler is at fault."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Arguments for a handler, and in words what they are."""

    arguments: tuple[Any, ...]
    how: str
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, handler: Callable[..., Any]) -> Any:
        return handler(*self.arguments, **self.keywords)


_NAMES = {
    # The narrower ones first: a "text_pair" is the second text.
    "pair": ("pair", "context", "passage", "second"),
    "labels": ("label", "candidate", "choice", "classe"),
    "rate": ("rate", "sr"),
    "text": ("text", "prompt", "question", "sentence", "query", "caption", "message"),
    "frames": ("frame", "video", "film", "clip"),
    "audio": ("audio", "sound", "wav", "speech", "waveform"),
    "image": ("image", "picture", "img", "photo", "pixel", "pixels"),
}
_PATHS = ("path", "file")

_ROLES = {
    "text": "text",
    "question": "text",
    "prompt": "text",
    "text_pair": "pair",
    "context": "pair",
    "choices": "labels",
    "candidate_labels": "labels",
    "image": "image",
    "images": "image",
    "videos": "frames",
    "audio": "audio",
    "raw": "audio",
    "sampling_rate": "rate",
}


def parts_of(natural: Any) -> dict[str, Any]:
    """A natural input as its parts: ``text``, ``pair``, ``image``, ``audio``, ``rate``, ``frames``, ``labels``.

    Raises:
        KeyError: it has a part that no handler of a skill class takes.
    """
    if isinstance(natural, str):
        return {"text": natural}
    if isinstance(natural, Image.Image):
        return {"image": natural}
    if isinstance(natural, np.ndarray):
        return {"audio" if natural.ndim == 1 else "image": natural}
    if isinstance(natural, list):  # a chat
        content = [part for message in natural for part in message["content"]]
        return {part["type"]: part[part["type"]] for part in content}
    return {_ROLES[name]: value for name, value in natural.items()}


def calls_of(handler: Any, natural: Any, directory: Path, file: str, line: int) -> list[Call]:
    """The ways to hand a natural input to a handler, the likeliest first.

    Raises:
        NotCallable: none fits its signature.
    """
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):  # one written in C
        parameters = [inspect.Parameter("inputs", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parts = parts_of(natural)
    calls: list[Call] = []
    for media in _media(parts, parameters, directory):
        for call in _bound(parameters, media, natural):
            if not any(_alike(call, other) for other in calls):
                calls.append(call)
    if not calls:
        needed = [one.name for one in parameters if one.default is one.empty and one.kind not in (2, 4)]
        given = ", ".join(parts)
        says = f"its handler takes ({', '.join(needed)}), which the parts of the input do not fill: {given}"
        raise NotCallable(Finding(check=Check.INTERFACE, says=says, file=file, line=line))
    return calls[:FORMS]


def _alike(first: Call, second: Call) -> bool:
    return first.how == second.how


def _media(
    parts: Mapping[str, Any], parameters: Sequence[inspect.Parameter], directory: Path
) -> Iterator[dict[str, tuple[Any, str]]]:
    """The parts with what each is in words: as objects, and as paths of files; paths first for a handler that names one."""
    objects = {role: (value, _word(role, value)) for role, value in parts.items()}
    paths = dict(objects)
    if "image" in parts and isinstance(parts["image"], Image.Image):
        path = directory / "picture.png"
        parts["image"].save(path)
        paths["image"] = (str(path), "the path of a picture")
    if "audio" in parts:
        path = directory / "sound.wav"
        write_sound(path, parts["audio"], parts.get("rate", 16_000))
        paths["audio"] = (str(path), "the path of a sound")
    if any(word in one.name.lower() for one in parameters for word in _PATHS):
        yield paths
        yield objects
    else:
        yield objects
        if {role: word for role, (_, word) in paths.items()} != {role: word for role, (_, word) in objects.items()}:
            yield paths


def _word(role: str, value: Any) -> str:
    words = {
        "pair": "a second text",
        "labels": "labels",
        "rate": "its sampling rate",
        "frames": "frames",
        "audio": "a waveform",
    }
    return words.get(role, {"text": "a text", "image": "a picture"}.get(role, role))


def write_sound(path: Path, samples: Any, rate: int) -> None:
    """A mono WAV file of 16 bits. Samples that are multiples of 1/32768 come back as they are."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(rate))
        file.writeframes((np.asarray(samples) * 32768).round().clip(-32768, 32767).astype("<i2").tobytes())


def as_sixteen_bits(natural: Any) -> Any:
    """A natural input whose waveform, if it has one, can stand in a file of 16 bits without a change."""
    if not isinstance(natural, dict):
        return natural
    return {
        name: np.float32((value * 32768).round().clip(-32768, 32767) / 32768) if _ROLES.get(name) == "audio" else value
        for name, value in natural.items()
    }


def _bound(
    parameters: Sequence[inspect.Parameter], media: Mapping[str, tuple[Any, str]], natural: Any
) -> Iterator[Call]:
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    required = [one for one in positional if one.default is one.empty]
    content = {role: part for role, part in media.items() if role != "rate"}
    values, words = [value for value, _ in content.values()], [word for _, word in content.values()]
    many = len(content) == 1 and any(one.name.lower().endswith("s") for one in required)
    if many:
        yield Call((values,), f"a list of {words[0]}")
    yield from _of_named(_by_name(parameters, media), required, content)
    rest = len(content) if any(one.kind is one.VAR_POSITIONAL for one in parameters) else 0
    if len(required) <= len(content) <= max(len(positional), rest):
        yield Call(tuple(values), ", ".join(words))
        if len(content) > 1:
            yield Call(tuple(values[::-1]), ", ".join(words[::-1]))
    if len(required) == 1 and len(content) > 1:
        if isinstance(natural, dict):
            yield Call((natural,), "a dict of its parts")
        yield Call((tuple(values),), "a tuple of its parts")
    if len(required) == 1 and len(content) == 1 and not many:
        yield Call((values,), f"a list of {words[0]}")


def _by_name(
    parameters: Sequence[inspect.Parameter], media: Mapping[str, tuple[Any, str]]
) -> dict[str, tuple[str, Any, str]]:
    """Role, part and word by the name of the parameter that asks for it. One with a default of its own asks for nothing but a
    rate: classes bind their endpoint, processor and label that way."""
    found: dict[str, tuple[str, Any, str]] = {}
    for one in parameters:
        taken = {role for role, _, _ in found.values()}
        role = _role(one.name, media.keys() - taken)
        if role and (one.default is one.empty or one.default is None or role == "rate"):
            found[one.name] = (role, *media[role])
    return found


def _role(name: str, roles: Collection[str]) -> str:
    """Which of some parts the name of a parameter asks for; empty for none."""
    words = re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    for role, names in _NAMES.items():
        # Whole words, and their plurals: "generate" asks for no rate.
        if role in roles and any(word.removesuffix("s") in names for word in words):
            return role
    # Labels are the texts of a contrastive model.
    return "labels" if "labels" in roles and _role(name, {"text"}) and "text" not in roles else ""


def _of_named(
    named: Mapping[str, tuple[str, Any, str]], required: Sequence[inspect.Parameter], content: Mapping[str, Any]
) -> Iterator[Call]:
    """One call by keyword, where the names ask for all of the content and all that is required is given."""
    roles = {role for role, _, _ in named.values()}
    if set(content) <= roles and all(one.name in named for one in required):
        keywords = {name: value for name, (_, value, _) in named.items()}
        arguments = tuple(keywords.pop(one.name) for one in required if one.kind is one.POSITIONAL_ONLY)
        yield Call(arguments, ", ".join(f"{name}: {word}" for name, (_, _, word) in named.items()), keywords)
