"""Timing in blocks: on a clock that moves as it is told, so that nothing here depends on how fast this machine is."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator

import pytest

from pytest_ipfs_accelerate.blocks import ENOUGH, LEAST, SHARES, WARM_UP, Series, interval, percentile, time_in_turn


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def paced(clock: Clock, seconds: Iterable[float], log: list[str] | None = None, name: str = "") -> Series:
    """A series whose calls take these seconds, one after another."""
    paces: Iterator[float] = iter(seconds)

    def call() -> dict[str, float]:
        spent = next(paces)
        clock.now += spent
        if log is not None:
            log.append(name)
        return {Series.WHOLE: spent}

    return Series(call)


def test_the_interval_of_few_values_is_their_range() -> None:
    assert interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    assert interval([5.0]) == (5, 5)


def test_the_interval_leaves_out_what_it_can() -> None:
    # 2·P(X ≤ 1) of ten fair coins is 0.021, 2·P(X ≤ 2) is 0.109: the second smallest and the second largest.
    assert interval(range(1, 11)) == (2, 9)
    assert interval(range(1, 101)) == (40, 61)


@pytest.mark.parametrize("count", [6, 10, 20])
def test_the_interval_holds_the_median_as_often_as_it_says(count: int) -> None:
    draw = random.Random(0)
    held = 0
    for _ in range(2000):
        low, high = interval([draw.expovariate(1.0) for _ in range(count)])  # skewed, as times are
        held += low <= 0.6931471805599453 <= high  # the median of that distribution is ln 2
    assert held / 2000 >= 0.95 - 0.015


def test_the_percentile_is_a_value_that_was_seen() -> None:
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([1, 2, 3], 0.95) == 3


def test_what_does_not_vary_settles_before_the_time_is_up() -> None:
    clock = Clock()
    series = paced(clock, itertools.repeat(0.01))
    time_in_turn([series], 10, clock)
    timing = series.timing()
    assert (timing.median, timing.low, timing.high, timing.p95) == (10, 10, 10, 10)
    assert (timing.blocks, timing.runs, timing.settled) == (ENOUGH, ENOUGH * 50, True)
    assert timing.noise == 0
    assert clock.now < 10


def test_noise_is_measured_until_the_time_is_up_and_said() -> None:
    clock, draw = Clock(), random.Random(0)
    series = paced(clock, iter(lambda: draw.uniform(0.5, 1.5), None))
    time_in_turn([series], 40, clock)
    timing = series.timing()
    assert not timing.settled
    assert timing.noise > 0.05
    assert timing.low < timing.median < timing.high < timing.p95
    assert clock.now >= 40


def test_a_drift_that_moves_many_calls_at_once_is_in_the_interval() -> None:
    """A hundred calls of one pace and a hundred of twice that: an interval from single calls would be narrow."""
    clock = Clock()
    slow_and_fast = itertools.cycle([0.01] * 100 + [0.02] * 100)
    series = paced(clock, slow_and_fast)
    time_in_turn([series], 20, clock)
    timing = series.timing()
    assert (timing.low, timing.high) == (10, 20)
    assert not timing.settled


def test_what_is_slow_is_still_timed_often_enough() -> None:
    clock = Clock()
    series = paced(clock, itertools.repeat(7.0))
    time_in_turn([series], 1, clock)
    assert (series.timing().blocks, series.count) == (LEAST, 1)
    assert clock.now == 7 * (1 + LEAST), "and no longer"


def test_series_take_turns() -> None:
    clock, log = Clock(), list[str]()
    both = [paced(clock, itertools.repeat(1.0), log, name) for name in "ab"]
    time_in_turn(both, 2 * SHARES, clock)
    assert log == ["a"] * WARM_UP + ["b"] * WARM_UP + ["a", "b"] * ENOUGH


def test_one_that_has_settled_leaves_the_time_to_the_others() -> None:
    clock, draw = Clock(), random.Random(0)
    steady = paced(clock, itertools.repeat(1.0))
    noisy = paced(clock, iter(lambda: draw.uniform(0.5, 1.5), None))
    time_in_turn([steady, noisy], 60, clock)
    assert steady.timing().blocks == ENOUGH
    assert noisy.timing().blocks > 2 * ENOUGH


def test_warming_up_is_not_counted() -> None:
    clock = Clock()
    series = paced(clock, itertools.chain([3.0, 2.0], itertools.repeat(1.0)))
    time_in_turn([series], SHARES, clock)
    assert series.timing().p95 == 1000


def test_nothing_to_time_takes_no_time() -> None:
    time_in_turn([], 10, Clock())
