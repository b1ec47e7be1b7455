"""The case, the key of everything, and the selection of cases: pure functions, no pytest, no torch."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

ROOT = "ipfs"
"""First part of every node id of the matrix."""


class Case(NamedTuple):
    """One (model type, task, hardware)."""

    model: str
    task: str
    hardware: str

    @property
    def leaf(self) -> str:
        """The item's name, ``fill-mask-cpu``. A hardware holds no hyphen, so the last one splits it."""
        return f"{self.task}-{self.hardware}"

    @property
    def nodeid(self) -> str:
        """The node id, ``ipfs/bert::fill-mask-cpu``."""
        return f"{ROOT}/{self.model}::{self.leaf}"


def base_task(task: str) -> str:
    """The task that is run for a task of the registry: ``image-classification`` for
    ``image-classification:DeiTForImageClassificationWithTeacher``, a further class of the same task."""
    return task.partition(":")[0]


class UnknownName(LookupError):
    """A word of a selection that names nothing. ``known`` are the names that it could have been."""

    def __init__(self, word: str, known: tuple[str, ...]) -> None:
        super().__init__(word)
        self.word = word
        self.known = known


def choose(
    words: Iterable[str],
    names: Iterable[str],
    *,
    aliases: Mapping[str, str] | None = None,
    sets: Mapping[str, tuple[str, ...]] | None = None,
) -> list[str]:
    """The names that a selection chooses: names, aliases, globs, ``@set``, and ``!word`` to leave some out.

    In the order of the words, each once; a glob and words that only leave out follow the order of ``names``. A member of a
    set that is not among ``names`` is passed over (:func:`absent_members` names it).

    Raises:
        UnknownName: a word names nothing.
    """
    known = dict.fromkeys(names)
    chosen: dict[str, None] = {}
    positive = False
    left_out: set[str] = set()
    for word in words:
        found = _expand(word.removeprefix("!"), known, aliases or {}, sets or {})
        if word.startswith("!"):
            left_out.update(found)
        else:
            positive = True
            chosen.update(dict.fromkeys(found))
    return [name for name in (chosen if positive else known) if name not in left_out]


def _expand(
    word: str, known: Mapping[str, None], aliases: Mapping[str, str], sets: Mapping[str, tuple[str, ...]]
) -> list[str]:
    if word.startswith("@"):
        if word[1:] not in sets:
            raise UnknownName(word, tuple(f"@{name}" for name in sets))
        return [member for member in sets[word[1:]] if member in known]
    if word in known:
        return [word]
    if aliases.get(word) in known:
        return [aliases[word]]
    found = [name for name in known if fnmatchcase(name, word)] if any(mark in word for mark in "*?[") else []
    if not found:
        raise UnknownName(word, (*known, *aliases))
    return found


def absent_members(
    words: Iterable[str], names: Container[str], sets: Mapping[str, tuple[str, ...]]
) -> dict[str, list[str]]:
    """By set among ``words``: its members that ``names`` does not hold."""
    used = [word.removeprefix("@") for word in words if word.startswith("@")]
    absent = {name: [member for member in sets[name] if member not in names] for name in used if name in sets}
    return {name: members for name, members in absent.items() if members}


def mark_name(name: str) -> str:
    """The mark of a task, ``fill_mask`` for ``fill-mask``: a mark is an identifier."""
    return base_task(name).replace("-", "_")
