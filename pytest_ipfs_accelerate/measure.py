"""How fast an endpoint is that was found to be right: its calls timed in blocks, on inputs that are encoded already.

Wrong results have no speed: every batch that is timed must first give, row by row, what its input gives alone. Nor has what is
not the real device: the time of a simulator is not that of what it simulates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch import Tensor

from .bench import Fault, Form
from .blocks import Clock, Series, time_in_turn
from .contention import between, sample
from .handlers import Handler
from .memory import peak, restart_peak
from .parity import Tolerance, tolerance_of
from .results import HandlerResult
from .specs import Job
from .speed import Numbers, Speed, Tokens
from .tasks.base import Task
from .ties import compare_tied_rows
from .verdict import Implementation

AROUND = 5
"""How often the work around a call is done, for its median."""


class BatchFailed(Exception):
    """A batch of a size that was asked for could not be computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What it took to open an endpoint: seconds, ``None`` where an earlier run had done it; and the bytes of memory that were
    resident before the model was put onto the hardware."""

    load_s: float | None = None
    export_s: float | None = None
    lower_s: float | None = None
    resident: int | None = None


def measure(
    job: Job, handler: Handler, form: Form, alone: HandlerResult, opening: Opening, clock: Clock = time.perf_counter
) -> Numbers:
    """The numbers of a case that passed. ``form`` is its first sample by itself and ``alone`` what the endpoint gave for it.

    Raises:
        Fault: in a larger batch the endpoint computes something else.
        BatchFailed: it raised there.
    """
    assert job.measure is not None
    asked, task, endpoint = job.measure, handler.task, handler.endpoint
    untimed = _untimed(task, alone.implementation, asked.batches)
    tolerance = tolerance_of(job.case.hardware, alone.precision, alone.implementation)
    kept = () if "all" in untimed else (batch for batch in asked.batches if str(batch) not in untimed)
    calls = [Calls(handler, form, batch, clock) for batch in kept]
    for each in calls:
        each.check(form, alone, tolerance)
    counted, before = restart_peak(), sample()
    endpoint.device_peak(restart=True)
    time_in_turn([each.series for each in calls], asked.seconds, clock)
    waited, others = between(before, sample())
    most = peak() if counted and calls else None
    return Numbers(
        speeds=tuple(each.speed() for each in calls),
        untimed=untimed,
        load_s=opening.load_s,
        export_s=opening.export_s,
        lower_s=opening.lower_s,
        first_call_s=alone.elapsed,
        processing_ms=_usual(lambda: task.encode(form.natural), clock),
        decoding_ms=_usual(lambda: _decode(task, form, alone), clock),
        host_peak_bytes=most,
        host_grown_bytes=most - opening.resident if most is not None and opening.resident is not None else None,
        device_peak_bytes=endpoint.device_peak() if calls else None,
        threads=job.threads,
        workers=asked.workers,
        waited=waited,
        others=others,
    )


def _untimed(task: Task, implementation: Implementation, batches: tuple[int, ...]) -> dict[str, str]:
    """By batch size, or for ``all``: why it is not timed."""
    if implementation is not Implementation.REAL:
        return {"all": f"{implementation}: its time is not that of the device"}
    if why := task.options.get("single"):
        return {str(batch): f"takes one input at a time: {why}" for batch in batches if batch > 1}
    return {}


class Calls:
    """The calls of one batch size: the first sample, so many times over."""

    def __init__(self, handler: Handler, form: Form, batch: int, clock: Clock) -> None:
        self.handler = handler
        self.batch = batch
        self.clock = clock
        self.encoded: Mapping[str, Tensor] = handler.task.encode([form.natural[0]] * batch)
        self.series = Series(self.call)
        self.prompt_length = self.decode_steps = 0

    def check(self, form: Form, alone: HandlerResult, tolerance: Tolerance) -> None:
        """Compute the batch once, and hold each of its rows against what its input gave alone.

        Raises:
            Fault: a row is something else.
            BatchFailed: it could not be computed.
        """
        task = self.handler.task
        try:
            outputs = self.handler.compute(self.encoded)
        except Exception as error:  # whatever a runtime raises, with the size in front of it
            raise BatchFailed(f"a batch of {self.batch} could not be computed") from error
        rows = task.rows(outputs, self.encoded)
        own = task.rows(alone.outputs, form.encoded)[0]
        # What is a row of one and not of the other lies in one piece for all inputs: the stage batch has compared it.
        expected = [{name: own[name] for name in own if name in row} for row in rows]
        actual = [{name: row[name] for name in row if name in own} for row in rows]
        found = compare_tied_rows(expected, actual, tolerance, f"alone, in a batch of {self.batch}")
        if wrong := [each for each in found if not each.ok]:
            raise Fault(
                f"a batch of {self.batch} is not timed: {len(wrong)} of {len(found)} comparisons: a row is not what its "
                f"input gives alone; first: {wrong[0]}"
            )

    def call(self) -> dict[str, float]:
        """One call: the seconds of it, and of the prefill and decoding where the endpoint generates and was watched."""
        with self.handler.seeded():
            began = self.clock()
            self.handler.call(self.encoded)
            spent = {Series.WHOLE: self.clock() - began}
        generation = self.handler.endpoint.generation
        if self.handler.task.generates and generation is not None and generation.steps:
            spent["prefill"], spent["decode"] = generation.prefill, generation.decode
            self.prompt_length, self.decode_steps = generation.steps[0].length, len(generation.steps) - 1
        return spent

    def speed(self) -> Speed:
        latency = self.series.timing()
        return Speed(
            batch=self.batch,
            latency=latency,
            throughput=1000 * self.batch / latency.median if latency.median else 0.0,
            inputs={name: tuple(tensor.shape) for name, tensor in self.encoded.items()},
            tokens=self._tokens(),
        )

    def _tokens(self) -> Tokens | None:
        if not self.prompt_length:
            return None
        prefill = self.series.timing("prefill")
        decode = self.series.timing("decode") if self.decode_steps else None
        # The prompt of an encoder-decoder model is a start token: what its prefill takes is the encoder's.
        reads_prompt = not self.handler.task.config.is_encoder_decoder and prefill.median > 0
        return Tokens(
            prefill=prefill,
            prefill_rate=1000 * self.batch * self.prompt_length / prefill.median if reads_prompt else None,
            prompt_length=self.prompt_length,
            decode=decode,
            decode_rate=1000 * self.batch * self.decode_steps / decode.median if decode and decode.median else None,
            decode_steps=self.decode_steps,
        )


def _decode(task: Task, form: Form, alone: HandlerResult) -> None:
    """What a handler does with the outputs of a call."""
    rows = zip(task.rows(alone.outputs, form.encoded), task.rows(form.encoded, form.encoded), strict=True)
    for (row, encoded), natural in zip(rows, form.natural, strict=True):
        task.decode(row, encoded, natural)


def _usual(work: Callable[[], Any], clock: Clock) -> float:
    """Milliseconds of some work, the median of a few times."""
    spent = []
    for _ in range(AROUND):
        began = clock()
        work()
        spent.append(1000 * (clock() - began))
    return median(spent)
