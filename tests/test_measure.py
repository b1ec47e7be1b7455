"""The measurement of an endpoint: of the right thing, of nothing that is wrong, and what it costs beside it."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cases import job, recipe, task_on
from test_blocks import Clock

from pytest_ipfs_accelerate import memory
from pytest_ipfs_accelerate.baseline import Baseline, row_of
from pytest_ipfs_accelerate.bench import Form, forms_of
from pytest_ipfs_accelerate.handlers import Handler
from pytest_ipfs_accelerate.hardware.base import Endpoint
from pytest_ipfs_accelerate.hardware.torch_device import Cpu
from pytest_ipfs_accelerate.machine import this_machine
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.measure import BatchFailed, Opening, measure
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.specs import Job, Measure
from pytest_ipfs_accelerate.speed import Numbers, Trend
from pytest_ipfs_accelerate.verdict import Implementation, Outcome, Stage, Verdict

BERT = ("bert", "fill-mask")
GPT2 = ("gpt2", "text-generation")
TODAY = datetime.date(2026, 1, 1)


def benched(
    model: str, task: str, hardware: str, target: str | None = None, *, batches: tuple[int, ...] = (1, 4)
) -> Job:
    return replace(job(model, task, hardware, target), measure=Measure(batches=batches, seconds=0.01, workers=3))


def run(case: Job) -> Verdict:
    return run_case(case, lambda stage: None)


class Paced(Endpoint):
    """Computes what is right, and takes a thousandth of a second by the clock for each input, times ``slowness``."""

    def __init__(self, endpoint: Endpoint, clock: Clock, slowness: float = 1.0) -> None:
        self.endpoint = endpoint
        self.clock = clock
        self.slowness = slowness
        self.device, self.precision = endpoint.device, endpoint.precision
        self.calls = 0
        self.peaks: list[bool] = []

    def forward(self, inputs: Any) -> Any:
        self.calls += 1
        self.clock.now += 0.001 * len(inputs["input_ids"]) * self.slowness
        return self.endpoint.forward(inputs)

    generate = forward

    def evidence(self) -> dict[str, Any]:
        return {}

    def device_peak(self, *, restart: bool = False) -> int | None:
        self.peaks.append(restart)
        return 123


def numbers_of(slowness: float = 1.0, **changes: Any) -> tuple[Numbers, Paced]:
    clock = Clock()
    task = task_on(recipe(*BERT), BERT[1])
    endpoint = Paced(Cpu().lower(task.checkpoint, None), clock, slowness)
    endpoint.__dict__.update(changes)
    handler = Handler(Case(*BERT, "cpu"), task, endpoint)
    form = forms_of(task)["unpadded"]
    alone = handler.handle(form.natural, form.encoded)
    case = replace(benched(*BERT, "cpu"), measure=Measure(batches=(1, 4), seconds=0.2, workers=3))
    opening = Opening(load_s=2.0, export_s=None, lower_s=1.0, resident=0)
    numbers = measure(case, handler, form, alone, opening, clock)
    return replace(numbers, waited=0.0), endpoint  # whatever else this machine does just now


def test_latency_and_throughput_by_batch() -> None:
    numbers, endpoint = numbers_of()
    assert [speed.batch for speed in numbers.speeds] == [1, 4]
    assert [round(speed.latency.median, 6) for speed in numbers.speeds] == [1, 4]
    assert [round(speed.throughput, 3) for speed in numbers.speeds] == [1000, 1000]
    assert all(speed.latency.settled for speed in numbers.speeds)
    assert numbers.speeds[1].inputs["input_ids"][0] == 4
    assert all(speed.tokens is None for speed in numbers.speeds)
    assert (numbers.load_s, numbers.export_s, numbers.lower_s) == (2.0, None, 1.0)
    assert (numbers.threads, numbers.workers, numbers.untimed) == (1, 3, {})
    assert endpoint.peaks == [True, False], "the peak of the device is that of the timed calls"
    assert numbers.device_peak_bytes == 123
    assert numbers.processing_ms == 0, "it is timed apart, on the same clock, which only the endpoint moves"
    assert numbers.decoding_ms == 0
    if Path("/proc/self/clear_refs").exists():
        assert numbers.host_peak_bytes == numbers.host_grown_bytes != 0


def test_a_slower_endpoint_fails_the_comparison_and_an_equal_one_does_not() -> None:
    before, _ = numbers_of()
    case = {"model": BERT[0], "task": BERT[1], "hardware": "cpu"}
    verdict = Verdict(**case, outcome=Outcome.PASSED, stage=Stage.MEASURE, numbers=before)  # type: ignore[arg-type]
    baseline = Baseline(Path("base.json"), this_machine(), {Case(**case).nodeid: row_of(verdict, TODAY)})
    equal = baseline.hold(replace(verdict, numbers=numbers_of()[0]), 0.1)
    assert equal.ok
    assert [change.trend for change in equal.changes] == [Trend.SAME] * 2
    slower = baseline.hold(replace(verdict, numbers=numbers_of(slowness=1.5)[0]), 0.1)
    assert (slower.outcome, slower.exception) == (Outcome.FAILED, "Slower")
    assert [change.trend for change in slower.changes] == [Trend.SLOWER] * 2
    assert "1.50×, batch of 1" in slower.reason
    assert baseline.hold(replace(verdict, numbers=numbers_of(slowness=1.05)[0]), 0.1).ok
    faster = baseline.hold(replace(verdict, numbers=numbers_of(slowness=0.5)[0]), 0.1)
    assert [change.trend for change in faster.changes] == [Trend.FASTER] * 2


def test_what_is_no_real_device_has_no_speed() -> None:
    numbers, endpoint = numbers_of(implementation=Implementation.SIMULATOR)
    assert numbers.speeds == ()
    assert numbers.untimed == {"all": "simulator: its time is not that of the device"}
    assert endpoint.calls == 1, "it was called for the result alone"
    assert numbers.device_peak_bytes is None


def test_a_model_of_one_input_at_a_time() -> None:
    task = task_on(recipe(*BERT), BERT[1])
    task.options = {**task.options, "single": "it says so"}
    clock = Clock()
    handler = Handler(Case(*BERT, "cpu"), task, Paced(Cpu().lower(task.checkpoint, None), clock))
    form = Form(*(lambda natural: (natural, task.encode(natural)))([task.samples()[0]]))
    alone = handler.handle(form.natural, form.encoded)
    numbers = measure(benched(*BERT, "cpu"), handler, form, alone, Opening(), clock)
    assert [speed.batch for speed in numbers.speeds] == [1]
    assert numbers.untimed == {"4": "takes one input at a time: it says so"}
    assert numbers.host_grown_bytes is None, "nobody looked before"


# Through the stages of a case


def test_a_case_that_passes_is_timed_where_that_is_asked_for() -> None:
    verdict = run(benched(*BERT, "cpu"))
    assert (verdict.outcome, verdict.stage) == (Outcome.PASSED, Stage.MEASURE)
    assert verdict.numbers is not None
    assert [speed.batch for speed in verdict.numbers.speeds] == [1, 4]
    assert all(0 < each.latency.low <= each.latency.median <= each.latency.high for each in verdict.numbers.speeds)
    assert verdict.numbers.load_s
    assert verdict.numbers.lower_s
    assert verdict.numbers.export_s is None, "torch exports nothing"
    plain = run(job(*BERT, "cpu"))
    assert (plain.stage, plain.numbers) == (Stage.BATCH, None)
    assert "measure" not in plain.seconds


def test_the_tokens_of_a_generation() -> None:
    verdict = run(benched(*GPT2, "cpu", batches=(2,)))
    assert verdict.numbers is not None
    (speed,) = verdict.numbers.speeds
    tokens = speed.tokens
    assert tokens is not None
    assert tokens.decode is not None
    assert tokens.decode_steps == verdict.evidence["generation"]["decode steps"]
    assert tokens.prompt_length == speed.inputs["input_ids"][1]
    assert tokens.decode_rate == pytest.approx(1000 * 2 * tokens.decode_steps / tokens.decode.median)
    assert tokens.prefill_rate == pytest.approx(1000 * 2 * tokens.prompt_length / tokens.prefill.median)
    assert tokens.prefill.runs == tokens.decode.runs == speed.latency.runs


def test_the_prefill_of_an_encoder_has_a_time_and_no_rate() -> None:
    verdict = run(benched("t5", "text2text-generation", "cpu", batches=(1,)))
    assert verdict.numbers is not None
    tokens = verdict.numbers.speeds[0].tokens
    assert tokens is not None
    assert tokens.prefill.median > 0
    assert tokens.prefill_rate is None


def test_the_time_of_an_export_is_that_of_this_run_or_none(tmp_path: Path) -> None:
    kept = {"cache_dir": str(tmp_path), "cache_size": 10**9}
    case = replace(benched("bert", "next-sentence-prediction", "onnxruntime", batches=(1,)), **kept)  # type: ignore[arg-type]
    first, again = run(case), run(case)
    assert first.numbers is not None
    assert again.numbers is not None
    assert first.numbers.export_s
    assert again.numbers.export_s == first.numbers.export_s, "this process exported it, for an earlier case"
    from pytest_ipfs_accelerate.opening import shared_bench

    shared_bench().programs._values.clear()
    later = run(case)
    assert later.numbers is not None
    assert later.numbers.export_s is None


def test_a_case_that_fails_is_not_timed() -> None:
    verdict = run(benched(*GPT2, "cpu", "sabotage:MasklessBatch"))
    assert (verdict.outcome, verdict.stage, verdict.numbers) == (Outcome.FAILED, Stage.BATCH, None)


def test_a_larger_batch_that_computes_something_else_fails() -> None:
    assert run(job(*BERT, "cpu", "sabotage:WrongInFours")).ok, "two inputs do not show it"
    verdict = run(benched(*BERT, "cpu", "sabotage:WrongInFours"))
    assert (verdict.outcome, verdict.stage, verdict.numbers) == (Outcome.FAILED, Stage.MEASURE, None)
    assert "a batch of 4 is not timed" in verdict.reason
    assert "alone, in a batch of 4" in verdict.reason


def test_a_larger_batch_that_raises_fails_and_names_its_size() -> None:
    verdict = run(benched(*BERT, "cpu", "sabotage:NoRoomForFour"))
    assert (verdict.outcome, verdict.stage, verdict.exception) == (Outcome.FAILED, Stage.MEASURE, BatchFailed.__name__)
    assert "a batch of 4 could not be computed, caused by OutOfMemoryError" in verdict.reason


# Memory


@pytest.mark.skipif(memory.resident() is None, reason="this system does not say how much memory a process holds")
def test_the_peak_of_memory_is_of_the_time_since_it_was_restarted() -> None:
    if not memory.restart_peak():
        pytest.skip("this system restarts no peak")
    before = memory.peak()
    assert before is not None
    big = bytearray(64 * 2**20)
    big[::4096] = b"x" * len(big[::4096])
    assert (memory.peak() or 0) - before > 60 * 2**20
    del big
    assert memory.restart_peak()
    assert (memory.peak() or 0) - before < 32 * 2**20


def test_a_system_that_says_nothing_of_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "none" / "either")
    assert memory.resident() is None
    assert memory.restart_peak() is False
    assert (memory.peak() or 0) > 0, "getrusage still knows the peak of the process"
