"""Two sets of numbers beside each other: a change is one that the noise cannot make."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import timing_of

from pytest_ipfs_accelerate.baseline import Baseline, dump_baseline, merged, read_baseline, row_of, trend
from pytest_ipfs_accelerate.machine import Machine, this_machine
from pytest_ipfs_accelerate.speed import Numbers, Speed, Trend
from pytest_ipfs_accelerate.verdict import Outcome, Stage, Verdict

TODAY = datetime.date(2026, 1, 1)
NODE = "ipfs/ant::fill-mask-cpu"


def verdict_of(median: float = 10.0, noise: float = 0.01, **changes: Any) -> Verdict:
    speed = Speed(batch=1, latency=timing_of(median, noise), throughput=1000 / median, inputs={"x": (1, 4)})
    verdict = Verdict(
        model="ant",
        task="fill-mask",
        hardware="cpu",
        outcome=Outcome.PASSED,
        stage=Stage.MEASURE,
        precision="fp32",
        device="a device",
        evidence={"checkpoint": {"weights sha256": "abc"}},
        versions={"torch": "1.0"},
        numbers=Numbers(speeds=(speed,), threads=2),
    )
    return replace(verdict, **changes)


def baseline_of(verdict: Verdict) -> Baseline:
    return Baseline(Path("base.json"), this_machine(), {NODE: row_of(verdict, TODAY)})


@pytest.mark.parametrize(
    ("before", "now", "noise", "expected"),
    [
        (10, 10, 0.01, Trend.SAME),
        (10, 10.9, 0.01, Trend.SAME),  # beyond the noise, within the threshold
        (10, 9.2, 0.01, Trend.SAME),
        (10, 11.5, 0.01, Trend.SLOWER),
        (10, 8.7, 0.01, Trend.FASTER),
        (10, 11.5, 0.08, Trend.NOISE),  # beyond the threshold, within the noise
        (10, 8.7, 0.08, Trend.NOISE),
        (10, 10, 0.2, Trend.NOISE),  # nobody could tell
        (10, 30, 0.2, Trend.SLOWER),
        (10, 3, 0.2, Trend.FASTER),
    ],
)
def test_a_change_is_beyond_the_noise_and_the_threshold(
    before: float, now: float, noise: float, expected: Trend
) -> None:
    assert trend(timing_of(before, noise), timing_of(now, noise), 0.1) is expected


def test_one_noisy_side_is_enough_to_say_nothing() -> None:
    assert trend(timing_of(10, 0.001), timing_of(11.5, 0.2), 0.1) is Trend.NOISE
    assert trend(timing_of(10, 0.2), timing_of(11.5, 0.001), 0.1) is Trend.NOISE


def test_a_case_that_is_slower_has_failed_and_says_by_how_much() -> None:
    verdict = baseline_of(verdict_of(10)).hold(verdict_of(15), 0.1)
    assert (verdict.outcome, verdict.stage, verdict.exception) == (Outcome.FAILED, Stage.MEASURE, "Slower")
    assert (
        verdict.reason
        == "slower than base.json by more than 10%: 15 ms [14.8, 15.2], was 10 ms [9.9, 10.1]: 1.50×, batch of 1"
    )
    assert baseline_of(verdict_of(10)).hold(verdict_of(15), 0.6).ok
    crashed = verdict_of(15, outcome=Outcome.CRASHED, reason="why")
    assert baseline_of(verdict_of(10)).hold(crashed, 0.1).reason == "why"


def test_a_case_without_numbers_is_left_as_it_is() -> None:
    verdict = verdict_of(numbers=None)
    assert baseline_of(verdict_of()).hold(verdict, 0.1) == verdict


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"precision": "bf16"}, "precision fp32, now bf16"),
        ({"device": "another"}, "device a device, now another"),
        ({"evidence": {"checkpoint": {"weights sha256": "def"}}}, "another checkpoint"),
        ({"evidence": {}}, "another checkpoint"),
    ],
)
def test_what_is_not_the_same_is_not_compared(changes: dict[str, Any], words: str) -> None:
    verdict = baseline_of(verdict_of(10)).hold(verdict_of(99, **changes), 0.1)
    assert verdict.ok
    assert [(change.trend, change.note) for change in verdict.changes] == [(Trend.INCOMPARABLE, words)]


@pytest.mark.parametrize(
    ("changes", "words"), [({"threads": 1}, "threads 2, now 1"), ({"workers": 2}, "workers 1, now 2")]
)
def test_threads_and_workers_count(changes: dict[str, int], words: str) -> None:
    numbers = verdict_of(99).numbers
    assert numbers is not None
    verdict = baseline_of(verdict_of(10)).hold(verdict_of(numbers=replace(numbers, **changes)), 0.1)  # type: ignore[arg-type]
    assert [(change.trend, change.note) for change in verdict.changes] == [(Trend.INCOMPARABLE, words)]


def test_inputs_of_another_shape_are_not_compared() -> None:
    numbers = verdict_of(99).numbers
    assert numbers is not None
    longer = replace(numbers, speeds=(replace(numbers.speeds[0], inputs={"x": (1, 5)}),))
    (change,) = baseline_of(verdict_of(10)).hold(verdict_of(numbers=longer), 0.1).changes
    assert (change.trend, change.note) == (Trend.INCOMPARABLE, "inputs of another shape")


def test_other_versions_are_compared() -> None:
    verdict = baseline_of(verdict_of(10)).hold(verdict_of(15, versions={"torch": "2.0"}), 0.1)
    assert not verdict.ok


@pytest.mark.parametrize(
    ("then", "now", "others", "expected"),
    [
        (0.4, 0.0, 1.5, (Trend.BUSY, "busy then")),
        (0.0, 0.4, 1.5, (Trend.BUSY, "busy now")),
        (0.4, 0.4, None, (Trend.BUSY, "busy then and now")),
        (0.04, 0.04, 1.5, (Trend.SLOWER, "")),
        (None, None, None, (Trend.SLOWER, "")),
        (0.4, 0.4, 0.0, (Trend.SLOWER, "")),  # it waited for threads of its own
    ],
)
def test_where_others_took_the_machine_away_no_change_is_told(
    then: float | None, now: float | None, others: float | None, expected: tuple[Trend, str]
) -> None:
    sides = [verdict_of(median) for median in (10, 15)]
    busy = [
        replace(side, numbers=replace(side.numbers, waited=waited, others=others))  # type: ignore[type-var]
        for side, waited in zip(sides, (then, now), strict=True)
    ]
    verdict = baseline_of(busy[0]).hold(busy[1], 0.1)
    assert [(change.trend, change.note) for change in verdict.changes] == [expected]
    assert verdict.ok is (expected[0] is Trend.BUSY)
    equal = baseline_of(busy[0]).hold(replace(busy[1], numbers=busy[0].numbers), 0.1)
    assert [change.trend for change in equal.changes] == [Trend.SAME]


def test_what_the_baseline_lacks_is_new() -> None:
    elsewhere = baseline_of(verdict_of()).hold(verdict_of(model="bee"), 0.1)
    assert [(change.trend, change.note) for change in elsewhere.changes] == [(Trend.NEW, "the case is not there")]
    numbers = verdict_of().numbers
    assert numbers is not None
    larger = replace(numbers, speeds=(replace(numbers.speeds[0], batch=8),))
    (change,) = baseline_of(verdict_of()).hold(verdict_of(numbers=larger), 0.1).changes
    assert (change.trend, change.note) == (Trend.NEW, "no batch of 8 there")


# The file


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    rows = merged(None, [verdict_of()], TODAY)
    path.write_bytes(dump_baseline(rows))
    found = read_baseline(path, "--ipfs-bench-compare")
    assert dict(found.rows) == rows
    assert found.machine == this_machine()


def test_a_later_run_replaces_its_cases_and_keeps_the_others(tmp_path: Path) -> None:
    existing = baseline_of(verdict_of(10))
    rows = merged(existing, [verdict_of(20, model="bee"), verdict_of(30, hardware="cuda")], TODAY)
    medians = {nodeid: row.numbers.speeds[0].latency.median for nodeid, row in rows.items()}
    assert medians == {NODE: 10, "ipfs/bee::fill-mask-cpu": 20, "ipfs/ant::fill-mask-cuda": 30}
    assert merged(existing, [verdict_of(12)], TODAY)[NODE].numbers.speeds[0].latency.median == 12
    assert merged(None, [verdict_of(outcome=Outcome.FAILED), verdict_of(numbers=None)], TODAY) == {}


def change_at(raw: dict[str, Any], keys: str, value: Any) -> None:
    *path, last = keys.split(".")
    for key in path:
        raw = raw[NODE if key == "CASE" else int(key) if key.isdecimal() else key]
    raw[last] = value


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        ("kind", "pytest-benchmark", ["base.json:1", "no baseline", "--ipfs-bench-save"]),
        ("schema", 7, ["base.json:3", "schema 7", "read here, 1"]),
        ("machine.cpu", "Abacus", ["base.json:4", "another machine", "cpu 'Abacus', here", "--ipfs-bench-save"]),
        ("machine.cores", "many", ["base.json:4", "Expected `int`"]),
        ("cases.CASE.precison", "fp32", ["base.json:10", NODE, "precison", "'precision'"]),
        ("cases.CASE.saved", "yesterday", ["base.json:10", NODE, "saved"]),
        (
            "cases.CASE.numbers.speeds.0.latency.median",
            "fast",
            ["base.json:10", NODE, "numbers.speeds[0].latency.median"],
        ),
        ("cases.CASE.numbers.speeds.0.latency.median", 99.0, ["base.json:10", "does not lie in its interval"]),
        ("cases.CASE.numbers.speeds.0.latency.low", 0.0, ["base.json:10", "does not lie in its interval"]),
    ],
)
def test_a_file_that_is_no_baseline_is_named_with_its_line(
    tmp_path: Path, keys: str, value: Any, words: list[str]
) -> None:
    path = tmp_path / "base.json"
    path.write_bytes(dump_baseline(merged(None, [verdict_of()], TODAY)))
    raw = json.loads(path.read_text())
    change_at(raw, keys, value)
    path.write_text(json.dumps(raw, indent=1))
    with pytest.raises(pytest.UsageError) as caught:
        read_baseline(path, "--ipfs-bench-compare")
    for word in ["--ipfs-bench-compare", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"kind": ', ["base.json:1:10", "not JSON"]),
        ("[1, 2]", ["base.json:1", "no baseline"]),
        ('{"kind": "a", "kind": "b"}', ["stands twice"]),
        (None, ["No such file"]),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str | None, words: list[str]) -> None:
    path = tmp_path / "base.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(pytest.UsageError) as caught:
        read_baseline(path, "ini key ipfs_bench_compare")
    for word in words:
        assert word in str(caught.value)


def test_a_machine_is_known_by_its_processor_cores_and_system() -> None:
    here = this_machine()
    assert here.cpu
    assert here.cores >= 1
    assert here.differences(Machine(cpu=here.cpu, cores=here.cores, system=here.system)) == []
    other = replace(here, cores=here.cores + 1, system="Plan 9 sparc")
    assert len(other.differences(here)) == 2
