"""The ledger is strict: what passes against it, fails otherwise than it says, or is expired, fails the run."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conftest import Run
from pytest_ipfs_accelerate import Outcome, Stage, Verdict
from pytest_ipfs_accelerate.ledger import (
    FILE,
    Entry,
    Ledger,
    Row,
    dump_ledger,
    load_ledger,
    read_ledger,
    shipped_ledger,
)
from pytest_ipfs_accelerate.matrix import Case
from pytest_ipfs_accelerate.registry import load_registry
from pytest_ipfs_accelerate.reports.ledger_update import updated

TODAY = datetime.date(2026, 11, 23)
CPU = "ipfs/ant::fill-mask-cpu"
PARITY = {"stage": "parity", "exception": "failed", "reason": "its matrix is too small"}


def row(pattern: str = "ant::fill-mask-cpu", **changes: Any) -> Row:
    fields = {"stage": Stage.PARITY, "exception": "Fault", "reason": "it is an ant", **changes}
    return Row(pattern=pattern, entry=Entry(**fields), file=FILE, line=4)


def verdict(outcome: Outcome = Outcome.FAILED, task: str = "fill-mask", **changes: Any) -> Verdict:
    fields = {"stage": Stage.PARITY, "exception": "Fault", "reason": "3 of 9 differ", **changes}
    return Verdict(model="ant", task=task, hardware="cpu", outcome=outcome, **fields)


def judged(given: Verdict, *rows: Row, versions: dict[str, str] | None = None) -> Verdict:
    return Ledger(rows).judge(given, versions or {}, TODAY)


def test_the_same_failure_is_known() -> None:
    found = judged(verdict(), row(link="https://example.org/1"))
    assert found.outcome is Outcome.KNOWN
    assert found.reason == "it is an ant (https://example.org/1)"
    assert found.evidence["ledger"] == {"row": f"{FILE}:4", "failed": "3 of 9 differ"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stage": Stage.EXPORT}, "knows another failure: Fault at export"),
        ({"exception": "ValueError"}, "knows another failure: ValueError at parity"),
        ({"message": "4 of 9"}, "knows another failure: Fault at parity, '4 of 9'"),
        ({"expires": TODAY - datetime.timedelta(days=1)}, "knew this until 2026-11-22"),
    ],
)
def test_any_other_failure_fails(change: dict[str, Any], words: str) -> None:
    found = judged(verdict(), row(**change))
    assert found.outcome is Outcome.FAILED
    assert found.reason.startswith("3 of 9 differ (")
    assert words in found.reason


@pytest.mark.parametrize("stage", [Stage.BUILD, Stage.PROCESS, Stage.REFERENCE])
def test_a_model_that_fails_on_the_cpu_is_known_before_any_hardware(stage: Stage) -> None:
    elsewhere = replace(verdict(stage=stage, exception="ValueError"), hardware="onnxruntime")
    assert judged(elsewhere, row(stage=stage, exception="ValueError")).outcome is Outcome.KNOWN
    assert judged(elsewhere, row(stage=stage, exception="TypeError")) == elsewhere
    assert judged(elsewhere, row("bee::fill-mask-cpu", stage=stage, exception="ValueError")) == elsewhere
    own = row("ant::fill-mask-onnxruntime", stage=stage, exception="TypeError")
    assert judged(elsewhere, own, row(stage=stage, exception="ValueError")).outcome is Outcome.FAILED


def test_what_fails_on_the_hardware_is_not_known_from_the_cpu() -> None:
    elsewhere = replace(verdict(), hardware="onnxruntime")
    assert judged(elsewhere, row()) == elsewhere


def test_the_last_day_still_holds() -> None:
    assert judged(verdict(), row(expires=TODAY)).outcome is Outcome.KNOWN


def test_a_pass_against_the_ledger_is_fixed_and_names_the_line() -> None:
    found = judged(verdict(Outcome.PASSED, reason="", exception=""), row())
    assert found.outcome is Outcome.FIXED
    assert not found.ok
    assert found.reason == f"it passed, and {FILE}:4 says that 'ant::fill-mask-cpu' fails: delete it"


@pytest.mark.parametrize("outcome", [Outcome.CRASHED, Outcome.TIMED_OUT])
def test_an_end_without_an_exception_has_the_name_of_its_outcome(outcome: Outcome) -> None:
    given = verdict(outcome, exception="")
    assert judged(given, row(exception=outcome.value)).outcome is Outcome.KNOWN
    assert judged(given, row()).outcome is outcome


def test_unavailable_is_no_business_of_the_ledger() -> None:
    given = verdict(Outcome.UNAVAILABLE, exception="")
    assert judged(given, row()) is given


def test_versions_bound_a_row() -> None:
    bounded = row(versions={"torch": ">=2.13,<2.14"})
    assert judged(verdict(), bounded, versions={"torch": "2.13.0"}).outcome is Outcome.KNOWN
    assert judged(verdict(), bounded, versions={"torch": "2.14.0"}).outcome is Outcome.FAILED
    assert judged(verdict(), bounded, versions={}).outcome is Outcome.FAILED


def test_a_precision_bounds_a_row() -> None:
    bounded = row(precision="fp16")
    assert judged(verdict(precision="fp16"), bounded).outcome is Outcome.KNOWN
    assert judged(verdict(precision="a16w8"), bounded).outcome is Outcome.FAILED
    assert judged(verdict(Outcome.PASSED, precision="a16w8"), bounded).outcome is Outcome.PASSED
    assert judged(verdict(Outcome.PASSED, precision="fp16"), bounded).outcome is Outcome.FIXED
    assert judged(verdict(precision="bf16"), bounded, row("ant::*", reason="wild")).reason == "wild"


@pytest.mark.parametrize(
    ("asked", "found", "precision"), [("its own", "fp16", ""), ("fp16", "fp16", "fp16"), ("a8w8", "", "")]
)
def test_a_failure_in_a_precision_that_was_asked_for_is_kept_as_such(asked: str, found: str, precision: str) -> None:
    failed = verdict(precision=found, evidence={"asked": {"precision": asked}})
    kept, _ = updated([], [failed], CASES)
    assert kept["ant::fill-mask-cpu"].precision == precision
    again = Row(pattern="ant::fill-mask-cpu", entry=kept["ant::fill-mask-cpu"], file=FILE, line=4)
    assert judged(failed, again).outcome is Outcome.KNOWN


def test_a_row_of_another_precision_is_not_touched() -> None:
    bounded = row(precision="fp16")
    kept, lines = updated([bounded], [verdict(precision="a8w8")], CASES)
    assert kept == {bounded.pattern: bounded.entry}
    assert lines == ["! ant::fill-mask-cpu: failed in a8w8, and its row is of fp16"]


def test_an_exact_row_comes_before_a_wildcard() -> None:
    ledger = Ledger((row("ant::*", reason="wild"), row(reason="exact")))
    found = ledger.row(Case("ant", "fill-mask", "cpu"), {})
    assert found is not None
    assert found.entry.reason == "exact"
    assert ledger.row(Case("antelope", "fill-mask", "cpu"), {}) is None


def ledger_file(path: Path, failures: dict[str, Any]) -> Path:
    file = path / "mine.json"
    file.write_text(json.dumps({"schema": 1, "failures": failures}, indent=1))
    return file


def test_a_known_failure_does_not_fail_a_run(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "broken.txt").write_text(CPU)
    ledger_file(clean.path, {"ant::fill-mask-cpu": PARITY})
    result = run("--ipfs-models=ant", "--ipfs-hardware=cpu", "--ipfs-ledger=mine.json", "--ipfs-json=out.json", "-rx")
    result.assert_outcomes(passed=1, xfailed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["known: 1 case", f"XFAIL {CPU} - its matrix is too small"])
    outcomes = {v["task"]: v["outcome"] for v in json.loads((clean.path / "out.json").read_text())["verdicts"]}
    assert outcomes == {"fill-mask": "known", "text-classification": "passed"}


def test_a_fixed_case_fails_a_run_and_names_the_line(run: Run, clean: pytest.Pytester) -> None:
    ledger_file(clean.path, {"ant::fill-mask-cpu": PARITY})
    result = run("--ipfs-models=ant", "--ipfs-hardware=cpu", "--ipfs-ledger=mine.json")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*it passed, and mine.json:4 says that 'ant::fill-mask-cpu' fails: delete it"])


def test_the_ledger_is_rewritten_from_a_run(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "broken.txt").write_text(CPU)
    options = ("--ipfs-models=ant", "--ipfs-hardware=cpu", "--ipfs-ledger=mine.json")
    result = run(*options, "--ipfs-update-ledger")
    result.stdout.fnmatch_lines(["ledger *mine.json:", "  + ant::fill-mask-cpu: failed at parity"])
    assert run(*options).ret == 0
    (clean.path / "broken.txt").unlink()
    run(*options, "--ipfs-update-ledger").stdout.fnmatch_lines(["  - ant::fill-mask-cpu: fixed"])
    assert json.loads((clean.path / "mine.json").read_text())["failures"] == {}
    run(*options, "--ipfs-update-ledger").stdout.fnmatch_lines(["  nothing changed"])


CASES = [Case("ant", task, "cpu") for task in ("fill-mask", "text-classification")]


def test_a_wildcard_is_narrowed_only_when_all_of_it_ran() -> None:
    wild = row("ant::*-cpu")
    fixed, known = verdict(Outcome.FIXED), verdict(Outcome.KNOWN, "text-classification")
    kept, lines = updated([wild], [fixed, known], CASES)
    assert list(kept) == ["ant::text-classification-cpu"]
    assert lines == ["- ant::*-cpu: fixed; 1 of its cases fail still"]
    kept, lines = updated([wild], [fixed], CASES)
    assert list(kept) == ["ant::*-cpu"]
    assert lines == ["! ant::*-cpu: 1 fixed, but 1 of its cases did not run: left as it is"]


def test_rows_that_a_run_did_not_reach_stay() -> None:
    kept, lines = updated([row("bee::*"), row()], [verdict(Outcome.KNOWN)], CASES)
    assert set(kept) == {"bee::*", "ant::fill-mask-cpu"}
    assert not lines


def test_another_failure_changes_the_row() -> None:
    kept, lines = updated([row(link="there")], [verdict(stage=Stage.EXPORT, exception="ValueError")], CASES)
    assert kept["ant::fill-mask-cpu"].stage is Stage.EXPORT
    assert kept["ant::fill-mask-cpu"].link == "there"
    assert lines == ["~ ant::fill-mask-cpu: ValueError at export, was Fault at parity"]


def test_what_is_written_is_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "ledger.json"
    rows = [row("ant::*", expires=TODAY, versions={"torch": ">=2"}), row("bee::a-cpu")]
    file.write_text(dump_ledger({each.pattern: each.entry for each in rows}))
    assert {each.pattern: each.entry for each in read_ledger(file, "")} == {each.pattern: each.entry for each in rows}


BAD = {
    "not a stage": (
        {"ant::a-cpu": {**PARITY, "stage": "parrot"}},
        "mine.json:4: failures.ant::a-cpu.stage: Invalid enum value 'parrot'; did you mean 'parity'?",
    ),
    "no reason": ({"ant::a-cpu": {"stage": "parity", "exception": "E"}}, "`reason`"),
    "no case": ({"ant": PARITY}, "mine.json:4: 'ant' is not model::task-hardware"),
    "no version": ({"ant::a-cpu": {**PARITY, "versions": {"torch": "about 2"}}}, "'about 2' is no version specifier"),
    "unknown key": ({"ant::a-cpu": {**PARITY, "resaon": "x"}}, "unknown field"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_ledger_that_is_not_one(name: str, run: Run, clean: pytest.Pytester) -> None:
    failures, words = BAD[name]
    ledger_file(clean.path, failures)
    result = run("--ipfs-models=ant", "--ipfs-ledger=mine.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()
    assert "--ipfs-ledger: " in result.stderr.str()


def test_updating_needs_a_file(run: Run) -> None:
    result = run("--ipfs-models=ant", "--ipfs-update-ledger")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--ipfs-update-ledger: which one? name it with --ipfs-ledger=FILE"])


def test_every_shipped_row_covers_a_case_and_says_why() -> None:
    registry = load_registry()
    cases = [
        Case(model, task, hardware)
        for model in registry
        for task in registry.tasks(model)
        for hardware in ("cpu", "onnxruntime", "openvino", "cuda", "apple", "qualcomm")
    ]
    for each in load_ledger().rows:
        assert any(each.covers(case) for case in cases), f"{each.place}: {each.pattern} covers no case"
        assert each.entry.reason
    assert shipped_ledger().exists()
