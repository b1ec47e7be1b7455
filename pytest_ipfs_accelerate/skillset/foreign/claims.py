"""What a class says of itself: attributes, keys and prefixes, in the forms that old skill modules have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Says(StrEnum):
    """What a label says."""

    REAL = "real"
    MOCK = "mock"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Claim:
    """One label, and where it stands."""

    says: Says
    where: str


LABELS = ("implementation_type", "implementation_status", "implementation", "status")
"""Names of keys and attributes that hold a label; one that ends in ``_status`` is one, too."""
REAL_FLAGS = ("real_implementation", "is_real", "is_real_implementation", "using_real_implementation")
MOCK_FLAGS = ("mock_implementation", "is_mock", "is_mock_implementation", "using_mock")
ERRORS = ("error", "error_message", "exception", "traceback")

_PREFIX = re.compile(r"^\s*[(\[](?P<label>[A-Za-z_ -]+)[)\]]:?\s*")
_WORDS = (
    # A mock often names what it stands for, and an error what it was to be.
    (Says.MOCK, re.compile(r"(?<![a-z])(mock(ed)?|fake|simulated|dummy|placeholder)(?![a-z])", re.IGNORECASE)),
    (Says.ERROR, re.compile(r"(?<![a-z])(error|fail(ed|ure)?|exception)(?![a-z])", re.IGNORECASE)),
    (Says.REAL, re.compile(r"(?<![a-z])real(?![a-z])", re.IGNORECASE)),
)


def label_of(text: str) -> Says | None:
    """What the words of a label say, if anything."""
    return next((says for says, words in _WORDS if words.search(text)), None)


def without_prefix(text: str) -> str:
    """A text without a label before it."""
    found = _PREFIX.match(text)
    return text[found.end() :] if found and label_of(found["label"]) else text


def is_label(name: str) -> bool:
    """Whether what stands under a name is a label, and no answer."""
    name = name.lower()
    return name in (*LABELS, *REAL_FLAGS, *MOCK_FLAGS) or name.endswith("_status")


def claims_of(value: Any, where: str = "its answer") -> list[Claim]:
    """Everything that a value says of itself, and what it holds, too."""
    return list(dict.fromkeys(_claims(value, where, 0)))


def _claims(value: Any, where: str, depth: int) -> Iterator[Claim]:
    if isinstance(value, str):
        found = _PREFIX.match(value)
        if found and (says := label_of(found["label"])):
            yield Claim(says, f"{where} begins with {found.group().strip()}")
        return
    if depth > 3:
        return
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _named(str(name), item, f"{where}[{name!r}]")
            if isinstance(item, str | Mapping | list | tuple):
                yield from _claims(item, f"{where}[{name!r}]", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(_first(value)):
            yield from _claims(item, f"{where}[{index}]", depth + 1)
    # A mapping may carry attributes, too; a mock would answer to any.
    for name, item in attributes_of(value).items():
        yield from _named(name, item, f"{where}.{name}")


def _first(values: Sequence[Any]) -> Sequence[Any]:
    return () if values and isinstance(values[0], int | float) else values[:10]


def _named(name: str, value: Any, where: str) -> Iterator[Claim]:
    lowered = name.lower()
    if lowered in REAL_FLAGS and isinstance(value, bool):
        yield Claim(Says.REAL if value else Says.MOCK, f"{where} is {value}")
    elif lowered in MOCK_FLAGS and isinstance(value, bool):
        # "no mock" says real: that is what it is read for.
        yield Claim(Says.MOCK if value else Says.REAL, f"{where} is {value}")
    elif lowered in ERRORS and value:
        yield Claim(Says.ERROR, f"{where} is {str(value)[:80]!r}")
    elif is_label(lowered) and (says := label_of(str(value))):
        yield Claim(says, f"{where} is {str(value)[:80]!r}")


def attributes_of(value: Any) -> dict[str, Any]:
    """The attributes that somebody has set on an object: never those that it makes up when asked, as a mock does."""
    found = getattr(type(value), "__slots__", ())
    own = {name: getattr(value, name) for name in found if isinstance(name, str) and hasattr(value, name)}
    return {**own, **(vars(value) if hasattr(value, "__dict__") and not isinstance(value, type) else {})}
