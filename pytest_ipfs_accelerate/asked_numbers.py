"""What ``--ipfs-bench`` is asked for: batch sizes, seconds and the threshold, from the words of its options."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

LARGEST = 65_536
"""A batch size above this is a slip of the finger."""


def batch_sizes(words: Iterable[str], source: str) -> tuple[int, ...]:
    """The batch sizes, each once, in the order in which they were given; 1 where none was.

    Raises:
        pytest.UsageError: one is no positive number.
    """
    for word in words:
        if not word.isdecimal() or not 1 <= int(word) <= LARGEST:
            raise pytest.UsageError(
                f"{source}: {word!r} is no batch size: a whole number from 1 to {LARGEST}, as in 1,4,8"
            )
    return tuple(dict.fromkeys(map(int, words))) or (1,)


def time_limit(text: str, source: str, limit: float) -> float:
    """How many seconds a case is timed; ``limit`` is that of the stage, 0 for none.

    Raises:
        pytest.UsageError: it is no positive number, or the stage ends before.
    """
    seconds = _number(text)
    if seconds is None or not 0 < seconds < float("inf"):
        raise pytest.UsageError(f"{source}: {text!r} is not a positive number of seconds")
    if limit and seconds >= limit:
        longer = f"give --ipfs-timeout=measure={2 * seconds:g} too"
        raise pytest.UsageError(
            f"{source or '--ipfs-bench-seconds'}: {seconds:g} s, and the stage measure ends after {limit:g} s: {longer}"
        )
    return seconds


def threshold_of(text: str, source: str) -> float:
    """A threshold as a part: 0.1 for ``10%``, or ``10``.

    Raises:
        pytest.UsageError: it is no percentage.
    """
    percent = _number(text.strip().removesuffix("%"))
    if percent is None or not 0 <= percent < float("inf"):
        raise pytest.UsageError(f"{source}: {text!r} is not a percentage, such as 10%")
    return percent / 100


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
