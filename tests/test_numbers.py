"""``--ipfs-bench`` as a user sees it: the table, the baseline, the comparison that fails a run. The host is one of ``fakes``,
whose milliseconds stand in a file, so that nothing here depends on how fast this machine is."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conftest import Run
from pytest_ipfs_accelerate.reports.json_report import Report

CPU = "ipfs/ant::fill-mask-cpu"
OPENVINO = "ipfs/ant::fill-mask-openvino"
SELECTION = ("--ipfs-models=ant", "--ipfs-tasks=fill-mask", "--ipfs-hardware=cpu,openvino,cuda")


@pytest.fixture
def pace(clean: pytest.Pytester) -> Any:
    def pace(**milliseconds: tuple[float, float]) -> None:
        nodes = {"cpu": CPU, "openvino": OPENVINO}
        (clean.path / "pace.json").write_text(json.dumps({nodes[name]: pace for name, pace in milliseconds.items()}))

    return pace


def section(result: pytest.RunResult, title: str) -> list[str]:
    """The lines of a section of the terminal, up to the next."""
    start = next(number for number, line in enumerate(result.outlines) if title in line and line.startswith("=="))
    rest = result.outlines[start + 1 :]
    return rest[: next((number for number, line in enumerate(rest) if line.startswith("==")), len(rest))]


def cells(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def medians(path: Path) -> dict[str, list[float]]:
    cases = json.loads(path.read_text())["cases"]
    return {nodeid: [speed["latency"]["median"] for speed in row["numbers"]["speeds"]] for nodeid, row in cases.items()}


def test_the_table(run: Run, pace: Any) -> None:
    pace(cpu=(1234.5, 0.25))
    result = run(*SELECTION, "--ipfs-bench", "--ipfs-bench-batch=1,4")
    assert result.ret == 0
    lines = section(result, "ipfs: numbers")
    table = cells(lines[:6])
    assert table[0] == [
        "case",
        "batch",
        "median ms",
        "±",
        "p95 ms",
        "inputs/s",
        "peak MB",
        "load s",
        "compile s",
        "first s",
    ]
    assert table[2] == ["ant::fill-mask-cpu", "1", "1,234", "25.0%", "1,852", "0.81", "100", "0.50", "0.25", "0.75"]
    assert table[3][:3] == ["ant::fill-mask-cpu", "4", "4,938"]
    assert table[4][:3] == ["ant::fill-mask-openvino", "1", "1.00"]
    assert len(table[3]) == 6, "what holds for a case stands once"
    assert any(line.startswith("2 of 4 medians did not settle") for line in lines)


def test_without_it_there_is_none(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "pytest.ini").write_text("[pytest]\nipfs_bench_batch = 4\nipfs_bench_save = base.json\n")
    result = run(*SELECTION, "--ipfs-json=out.json")
    assert "ipfs: numbers" not in result.stdout.str()
    assert not (clean.path / "base.json").exists()
    report = json.loads((clean.path / "out.json").read_text())
    assert {verdict["numbers"] for verdict in report["verdicts"]} == {None}
    assert "--ipfs-bench" not in report["verdicts"][0]["reproduce"]
    run(*SELECTION, "--ipfs-bench")
    assert medians(clean.path / "base.json") == {CPU: [4.0], OPENVINO: [4.0]}, "the ini file says how"


def test_numbers_are_in_the_json_and_the_command_times_again(run: Run, clean: pytest.Pytester) -> None:
    run(*SELECTION, "--ipfs-bench-batch=2", "--ipfs-bench-seconds=7", "--ipfs-json=out.json")
    raw = (clean.path / "out.json").read_bytes()
    report = msgspec.json.decode(raw, type=Report)
    timed = [verdict.numbers for verdict in report.verdicts if verdict.numbers is not None]
    assert [[speed.batch for speed in numbers.speeds] for numbers in timed] == [[2], [2]]
    assert report.machine.cores >= 1
    again = f"pytest {CPU} --ipfs-bench --ipfs-bench-batch=2 --ipfs-bench-seconds=7"
    assert report.verdicts[0].reproduce == again
    assert run(*shlex.split(again)[1:]).parseoutcomes() == {"passed": 1}


def test_an_equal_run_passes_and_a_slower_one_fails_and_is_named(run: Run, pace: Any, clean: pytest.Pytester) -> None:
    saved = run(*SELECTION, "--ipfs-bench-save=base.json")
    assert f"baseline {clean.path / 'base.json'}: 2 cases saved, 2 in all" in saved.outlines
    equal = run(*SELECTION, "--ipfs-bench-compare=base.json")
    assert equal.ret == 0
    assert [row[-1] for row in cells(section(equal, "ipfs: against"))[2:4]] == ["same", "same"]
    pace(openvino=(1.5, 0.02))
    slower = run(*SELECTION, "--ipfs-bench-compare=base.json", "--ipfs-json=out.json")
    assert slower.ret == pytest.ExitCode.TESTS_FAILED
    slower.assert_outcomes(passed=1, failed=1, skipped=1)
    words = "slower than {} by more than 10%: 1.5 ms [1.47, 1.53], was 1 ms [0.99, 1.01]: 1.50×, batch of 1"
    assert f"    {words.format(clean.path / 'base.json')}" in slower.outlines
    assert "failed in stage measure: ant, fill-mask, on openvino" in slower.outlines
    head, _, first, second = cells(section(slower, "ipfs: against"))[:4]
    assert head == ["case", "batch", "before ms", "now ms", "ratio", "interval before", "interval now"]
    assert (first[0], first[-1]) == ("ant::fill-mask-cpu", "same")
    assert second == ["ant::fill-mask-openvino", "1", "1.00", "1.50", "1.50×", "0.990 – 1.01", "1.47 – 1.53", "slower"]
    failed = next(v for v in json.loads((clean.path / "out.json").read_text())["verdicts"] if v["outcome"] == "failed")
    assert (failed["exception"], failed["changes"][0]["trend"]) == ("Slower", "slower")
    again = shlex.split(failed["reproduce"])[1:]
    assert "--ipfs-bench-threshold=10%" in again
    assert run(*again).parseoutcomes() == {"failed": 1}
    assert run(*SELECTION, "--ipfs-bench-compare=base.json", "--ipfs-bench-threshold=60%").ret == 0


def test_what_the_noise_hides_is_said_and_fails_nothing(run: Run, pace: Any) -> None:
    pace(cpu=(1.0, 0.3))
    run(*SELECTION, "--ipfs-bench-save=base.json")
    pace(cpu=(1.4, 0.3))
    result = run(*SELECTION, "--ipfs-bench-compare=base.json")
    assert result.ret == 0
    lines = section(result, "ipfs: against")
    assert cells(lines)[2][-1] == "same, within the noise"
    assert any(line.startswith("the noise of 1 median is larger than 10%: such a change could not") for line in lines)


def test_what_one_side_lacks_is_named(run: Run, pace: Any) -> None:
    run(*SELECTION, "--ipfs-bench-save=base.json")
    result = run(
        "--ipfs-models=ant,bee", "--ipfs-hardware=cpu", "--ipfs-bench-batch=1,2", "--ipfs-bench-compare=base.json"
    )
    assert result.ret == 0
    lines = section(result, "ipfs: against")
    new = next(line for line in lines if line.startswith("not in the baseline: "))
    assert new.partition(": ")[2].split(", ") == [
        "ant::fill-mask-cpu (batch of 2)",
        "ant::text-classification-cpu",
        "bee::image-classification-cpu",
    ]
    assert f"in the baseline and not timed now: {OPENVINO}" in lines


def test_another_precision_is_not_compared(run: Run, clean: pytest.Pytester) -> None:
    run(*SELECTION, "--ipfs-bench-save=base.json")
    text = (clean.path / "base.json").read_text().replace('"fp32"', '"bf16"').replace('"torch": "0.0"', '"torch": "9"')
    (clean.path / "base.json").write_text(text)
    result = run(*SELECTION, "--ipfs-bench-compare=base.json")
    assert result.ret == 0
    lines = section(result, "ipfs: against")
    assert lines[0] == "nothing could be compared"
    words = "not comparable (precision bf16, now fp32): ant::fill-mask-cpu, ant::fill-mask-openvino"
    assert words in lines
    assert "versions: torch 9, now 0.0" in lines


def test_another_machine_is_refused_before_the_run(run: Run, clean: pytest.Pytester) -> None:
    run(*SELECTION, "--ipfs-bench-save=base.json")
    raw = json.loads((clean.path / "base.json").read_text())
    raw["machine"]["cpu"] = "Abacus"
    before = json.dumps(raw, indent=1)
    for option in ("compare", "save"):
        (clean.path / "base.json").write_text(before)
        result = run(*SELECTION, f"--ipfs-bench-{option}=base.json")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert f"--ipfs-bench-{option}: {clean.path / 'base.json'}:4: of another machine" in result.stderr.str()
        assert (clean.path / "base.json").read_text() == before


def test_saving_keeps_what_it_did_not_time_and_leaves_out_what_failed(
    run: Run, pace: Any, clean: pytest.Pytester
) -> None:
    run(*SELECTION, "--ipfs-bench-save=base.json")
    pace(cpu=(2.0, 0.01))
    run(*SELECTION, "--ipfs-hardware=cpu", "--ipfs-bench-save=base.json")
    assert medians(clean.path / "base.json") == {CPU: [2.0], OPENVINO: [1.0]}
    pace(cpu=(9.0, 0.01), openvino=(1.01, 0.01))
    result = run(*SELECTION, "--ipfs-bench-compare=base.json", "--ipfs-bench-save=base.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "not saved, since they failed: 1 case" in result.outlines
    assert medians(clean.path / "base.json") == {CPU: [2.0], OPENVINO: [1.01]}, "a slower case is no new standard"


def test_nothing_is_written_where_nothing_was_timed(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "broken.txt").write_text(CPU)
    result = run(CPU, "--ipfs-bench-save=base.json")
    assert "no case that passed was timed, so nothing was written" in result.stdout.str()
    assert not (clean.path / "base.json").exists()


def test_the_numbers_of_workers(run: Run, clean: pytest.Pytester) -> None:
    run(*SELECTION, "--ipfs-bench-save=alone.json")
    result = run(*SELECTION, "--ipfs-bench-save=base.json", "--ipfs-bench-batch=1,4", "-n", "2")
    warning = "timed by 2 workers at once, which disturb each other: numbers to keep come from a run without -n"
    assert result.outlines.count(f"ipfs: {warning}") == 1, "above the run, while it can still be stopped"
    assert warning in section(result, "ipfs: numbers")
    assert medians(clean.path / "base.json") == {CPU: [1.0, 4.0], OPENVINO: [1.0, 4.0]}
    apart = run(*SELECTION, "--ipfs-bench-compare=alone.json", "-n", "2")
    assert "not comparable (workers 1, now 2): ant::fill-mask-cpu, ant::fill-mask-openvino" in apart.outlines


def test_a_slower_case_fails_in_a_worker_too(run: Run, pace: Any) -> None:
    run(*SELECTION, "--ipfs-bench-save=base.json", "-n", "2")
    pace(cpu=(2.0, 0.01))
    result = run(*SELECTION, "--ipfs-bench-compare=base.json", "-n", "2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert [row[-1] for row in cells(section(result, "ipfs: against"))[2:4]] == ["slower", "same"]


def test_a_change_on_a_busy_machine_is_not_told(run: Run, pace: Any, clean: pytest.Pytester) -> None:
    run(*SELECTION, "--ipfs-bench-save=base.json")
    (clean.path / "busy.txt").touch()
    pace(cpu=(2.0, 0.01))
    result = run(*SELECTION, "--ipfs-bench-compare=base.json")
    assert result.ret == 0
    lines = section(result, "ipfs: against")
    assert [row[-1] for row in cells(lines)[2:4]] == ["not told: the machine was busy", "same"]
    assert "not told, since the machine was busy now: ant::fill-mask-cpu" in lines
    told = [
        line for line in section(result, "ipfs: numbers") if line.startswith("the machine was busy while 2 cases ran")
    ]
    assert len(told) == 1
    assert "up to 0.40 s in a second; other processes used up to 1.5 cores" in told[0]
