"""How fast a case is: what ``--ipfs-bench`` measured, and what it is beside a baseline.

This module stands on the ground floor, as :mod:`pytest_ipfs_accelerate.verdict` does, whose verdicts hold these records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

WAITED, OTHERS = 0.05, 0.1
"""A machine was busy when threads waited for more than this part of the time, and others used more than so many cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Milliseconds of one thing that was done again and again, in ``blocks`` of equally many calls, ``runs`` calls in all.

    ``median`` is that of the medians of the blocks, and ``low`` to ``high`` its 95 % confidence interval; ``p95`` is the time
    that 95 % of all calls kept within. ``settled`` says that the interval became as narrow as was wanted before the time was
    up.
    """

    median: float
    low: float
    high: float
    p95: float
    runs: int
    blocks: int
    settled: bool

    @property
    def noise(self) -> float:
        """How far the interval reaches from the median, as a part of it."""
        return max(self.high - self.median, self.median - self.low) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The two parts of a generation, timed apart: ``prefill`` reads a prompt of ``prompt_length`` positions and ends with the
    first token (what an encoder does is part of it), ``decode`` makes the others in ``decode_steps`` forwards. The rates are
    tokens a second of all inputs of the batch; ``decode_rate`` is ``None`` where there was one token alone."""

    prefill: Timing
    prefill_rate: float | None
    prompt_length: int
    decode: Timing | None
    decode_rate: float | None
    decode_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What one call of the endpoint takes on ``batch`` encoded inputs, whose shapes are ``inputs``. ``throughput`` is inputs a
    second at the median."""

    batch: int
    latency: Timing
    throughput: float
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """All that was measured of one case.

    ``untimed`` maps a batch size, or ``all``, to the reason why it was not timed. Seconds: ``load_s`` to build or load the
    checkpoint, ``export_s`` and ``lower_s`` to make the program and put it onto the hardware, ``first_call_s`` for the first
    call, in which some hardware compiles; ``None`` where that was done by an earlier run, or is not done at all.
    ``processing_ms`` and ``decoding_ms`` are what a handler does around a call, for one input. ``host_peak_bytes`` is the peak
    of the process's resident memory during the timed calls, ``host_grown_bytes`` by how much that is more than before the
    model was put onto the hardware; ``device_peak_bytes`` is the peak of what torch had allocated on the device.
    ``workers`` is how many processes of xdist ran cases at once. ``waited`` is for how long threads of the case waited for a
    core, and ``others`` how many cores other processes used meanwhile, both by second of the timing.
    """

    speeds: tuple[Speed, ...] = ()
    untimed: Mapping[str, str] = field(default_factory=dict)
    load_s: float | None = None
    export_s: float | None = None
    lower_s: float | None = None
    first_call_s: float | None = None
    processing_ms: float | None = None
    decoding_ms: float | None = None
    host_peak_bytes: int | None = None
    host_grown_bytes: int | None = None
    device_peak_bytes: int | None = None
    threads: int = 1
    workers: int = 1
    waited: float | None = None
    others: float | None = None

    @property
    def busy(self) -> bool:
        """Whether others took the machine away. A runtime that has more threads than there are cores waits for itself: that is
        its own doing, and part of its speed."""
        return (self.waited or 0.0) > WAITED and (self.others is None or self.others > OTHERS)


class Trend(StrEnum):
    """What became of a median since the baseline was saved."""

    FASTER = "faster"
    SAME = "same"
    NOISE = "same, within the noise"
    SLOWER = "slower"
    NEW = "not in the baseline"
    INCOMPARABLE = "not comparable"
    BUSY = "not told: the machine was busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The latency at one batch size beside that of a baseline. ``ratio`` is now over before; ``note`` says what does not agree
    where the two cannot be compared."""

    batch: int
    trend: Trend
    now: Timing
    before: Timing | None = None
    ratio: float | None = None
    note: str = ""
