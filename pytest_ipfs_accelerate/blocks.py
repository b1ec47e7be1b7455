"""Timing with its noise: calls in blocks, blocks in turn, and an interval that comes from the blocks.

Calls that follow each other are not independent: a neighbour on the machine, or the clock of the processor, moves a hundred of
them at once. An interval from single calls would be far too narrow. So calls are gathered in blocks, the median of each block
is one observation, and what is timed beside each other takes turns, so that a drift meets all alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from .speed import Timing

Clock = Callable[[], float]
"""Seconds from some moment on."""

CONFIDENCE = 0.95
NARROW = 0.02
"""An interval is narrow enough when its width is this part of the median."""
LEAST = 6
"""Blocks that are timed however long they take: of fewer no interval of the median has a confidence of 95 %."""
ENOUGH = 10
"""Blocks before an interval is believed to be narrow."""
SHARES = 20
"""Into how many blocks the time is cut."""
DIGITS = 6
"""Of a millisecond: a nanosecond, which is what the clock counts."""
WARM_UP = 3
"""Calls before the clock counts: caches fill, memory is laid out, kernels are chosen. Fewer where they alone take all the time
that there is."""


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median of what ``values`` are drawn from, by order statistics: with no assumption
    about its distribution. The number of values below the median is binomial (n, ½), so the k-th smallest and the k-th
    largest enclose it with a probability of 1 - 2·P(X < k) (Conover, Practical Nonparametric Statistics, 3.2). Of fewer than
    six values it is their range, which is less sure."""
    ordered, count = sorted(values), len(values)
    below, rank = 0.0, 0
    while 2 * (below := below + math.comb(count, rank) / 2**count) <= 1 - CONFIDENCE:
        rank += 1
    rank = max(rank, 1)
    return ordered[rank - 1], ordered[count - rank]


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest of ``values`` that at least this part of them does not exceed."""
    return sorted(values)[math.ceil(part * len(values)) - 1]


class Series:
    """One thing that is timed. ``call`` does it once, and gives the seconds of it and of its parts by name."""

    WHOLE = "whole"

    def __init__(self, call: Callable[[], Mapping[str, float]]) -> None:
        self.call = call
        self.count = 1
        self.blocks: list[list[Mapping[str, float]]] = []

    def warm_up(self, clock: Clock, seconds: float) -> None:
        """Call it without counting, and find out how many calls make a block of so many seconds."""
        began = clock()
        spent = [self.call()[self.WHOLE]]
        while (passed := clock() - began) < seconds or (len(spent) < WARM_UP and passed < SHARES * seconds):
            spent.append(self.call()[self.WHOLE])
        usual = median(spent[len(spent) // 2 :])
        self.count = max(1, round(seconds / usual)) if usual > 0 else 1

    def block(self) -> None:
        self.blocks.append([self.call() for _ in range(self.count)])

    def timing(self, part: str = WHOLE) -> Timing:
        """What was found of one part, in milliseconds."""
        blocks = [[1000 * run[part] for run in block] for block in self.blocks]
        medians = [median(block) for block in blocks]
        runs = [run for block in blocks for run in block]
        low, high = interval(medians)
        middle = median(medians)
        return Timing(
            median=round(middle, DIGITS),
            low=round(low, DIGITS),
            high=round(high, DIGITS),
            p95=round(percentile(runs, 0.95), DIGITS),
            runs=len(runs),
            blocks=len(blocks),
            settled=len(blocks) >= ENOUGH and high - low <= NARROW * middle,
        )


def time_in_turn(series: Sequence[Series], seconds: float, clock: Clock) -> None:
    """Time each of ``series`` in blocks, one block of each in turn, until the interval of every one is narrow or ``seconds``
    are over, whichever comes first; at least :data:`LEAST` blocks of each."""
    share = seconds / SHARES / max(1, len(series))
    for each in series:
        each.warm_up(clock, share)
    began = clock()
    while waiting := [each for each in series if len(each.blocks) < LEAST or not each.timing().settled]:
        if clock() - began >= seconds and all(len(each.blocks) >= LEAST for each in series):
            return
        for each in waiting:
            each.block()
