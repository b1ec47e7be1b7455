"""Words for people: the nearest spelling of a wrong one, and lists in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'bert'?`` for a word close to a known one, else the known ones, shortened where they are many."""
    names = [str(name) for name in known]
    if close := get_close_matches(word, names, n=3, cutoff=0.6):
        return f"; did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(sorted(names)[:12])
    return f"; there are: {shown}{f' and {len(names) - 12} more' if len(names) > 12 else ''}" if names else ""


def plural(count: int, noun: str, nouns: str = "") -> str:
    """``1 case``, ``2 cases``."""
    return f"{count} {noun if count == 1 else nouns or f'{noun}s'}"
