"""What the user sees at the end: failure texts, the matrix, the list and the JSON file. Nothing vanishes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import msgspec
import pytest
from fakes import ABSENT, ANT, BEE, HERE

from conftest import Run
from pytest_ipfs_accelerate import Comparison, Outcome, Stage, Verdict
from pytest_ipfs_accelerate.reports.carry import properties_of, without_verdict
from pytest_ipfs_accelerate.reports.failure import SHOWN, failure_text
from pytest_ipfs_accelerate.reports.json_report import Report
from pytest_ipfs_accelerate.reports.terminal import fallback_lines
from pytest_ipfs_accelerate.skillset.findings import FINDINGS, Check, Finding, as_evidence
from pytest_ipfs_accelerate.specs import Job
from pytest_ipfs_accelerate.verdict import SCHEMA_VERSION

CPU = "ipfs/ant::fill-mask-cpu"


def report(path: Path) -> dict[str, Any]:
    """The JSON file of a run, checked against its form."""
    raw = (path / "out.json").read_bytes()
    msgspec.json.decode(raw, type=Report)
    decoded: dict[str, Any] = json.loads(raw)
    return decoded


def test_the_matrix(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "broken.txt").write_text(CPU)
    result = run("--ipfs-models=ant,bee")
    lines = result.outlines
    start = next(index for index, line in enumerate(lines) if "tasks passed of tasks run" in line)
    table = [line.split() for line in lines[start + 1 : start + 6]]
    assert table[0] == ["model", "cpu", "cuda", "onnxruntime", "openvino", "apple", "qualcomm"]
    assert table[2:] == [
        ["ant", "1/2", "-", "2/2", "2/2", "-", "-"],
        ["bee", "1/1", "-", "1/1", "1/1", "-", "-"],
        ["total", "2/3", "-", "3/3", "3/3", "-", "-"],
    ]
    assert lines.count("failed: 1 case") == 1
    assert lines.count("openvino: simulator, not the real device: a device (3 cases)") == 1
    for hardware in ABSENT:
        assert lines.count(f"unavailable, 3 cases: {hardware}: none in these tests") == 1


def test_the_failure_text_is_short_and_says_all(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "broken.txt").write_text(CPU)
    clean.makefile(".json", **{"a map": '{"ant": ["fill-mask"]}'})
    result = run(CPU, "--ipfs-pipeline-map=a map.json", "--ipfs-timeout=run=7", "--ipfs-require=cpu")
    lines = result.outlines
    start = next(index for index, line in enumerate(lines) if line.startswith("failed in stage parity"))
    text = "\n".join(lines[start : lines.index("", start + 8) if "" in lines[start + 8 :] else None])
    for words in ("1 of 1 comparisons differ", "2.50e-01", "bound 1e-04", "a device, fp32, real", "torch 0.0"):
        assert words in text
    again = f"pytest {CPU} '--ipfs-pipeline-map={clean.path}/a map.json' --ipfs-require=cpu --ipfs-timeout=run=7"
    assert f"    again:     {again}" in lines
    assert "the traceback of a case" not in result.stdout.str()
    assert "pytest_ipfs_accelerate/" not in result.stdout.str()


@pytest.mark.parametrize("option", ["-vv", "--full-trace"])
def test_the_traceback_on_request(run: Run, clean: pytest.Pytester, option: str) -> None:
    (clean.path / "broken.txt").write_text(CPU)
    result = run(CPU, option)
    assert "the traceback of a case" in result.outlines
    assert "more:" not in result.stdout.str()


def test_the_command_runs_the_case_again(run: Run, clean: pytest.Pytester) -> None:
    import shlex

    (clean.path / "broken.txt").write_text(CPU)
    clean.makefile(".json", tasks='{"ant": ["fill-mask"]}')
    result = run("--ipfs-models=ant", "--ipfs-pipeline-map=tasks.json", "--ipfs-timeout=export=9")
    again = next(line for line in result.outlines if line.startswith("    again:")).partition("pytest ")[2]
    assert run(*shlex.split(again)).parseoutcomes() == {"failed": 1}


def test_many_failing_comparisons_are_cut() -> None:
    some = tuple(Comparison(against="reference", output=f"out{i}", ok=False) for i in range(SHOWN + 3))
    passing = Comparison(against="reference", output="fine", ok=True)
    verdict = Verdict(
        model="m",
        task="t",
        hardware="h",
        outcome=Outcome.FAILED,
        stage=Stage.PARITY,
        reason="differ",
        comparisons=(passing, *some),
    )
    text = failure_text(verdict, full=False)
    assert text.count("(reference)") == SHOWN
    assert "and 3 more" in text
    assert "fine" not in text


def test_a_fallback_that_was_allowed_is_shown() -> None:
    counts = {"nodes elsewhere": 3, "nodes in all": 100}
    verdict = Verdict(
        model="m",
        task="t",
        hardware="h",
        outcome=Outcome.PASSED,
        stage=Stage.BATCH,
        evidence={"backend": {"fallback": counts}},
    )
    assert fallback_lines([verdict, verdict, replace(verdict, evidence={})]) == [
        "h: fallback allowed, in 2 cases: 6 nodes elsewhere, 200 nodes in all"
    ]


def _found(run_case: Any, outcome: Outcome, stage: Stage = Stage.PARITY) -> Any:
    """``run_case`` with another end for one case, as a skill class has it."""
    findings = [
        Finding(check=Check.REPEATS, says="another answer", file="hf_ant.py", line=7),
        Finding(check=Check.SWALLOWED, says="ValueError", file="hf_ant.py", line=9, note=True),
    ]

    def run_it(job: Job, enter: Callable[[Stage], None]) -> Verdict:
        verdict: Verdict = run_case(job, enter)
        if job.case.nodeid != CPU:
            return verdict
        evidence = {FINDINGS: as_evidence(findings)}
        reason = f"says real (a label), and is not: 1 finding; first: {findings[0]}"
        return replace(verdict, outcome=outcome, stage=stage, reason=reason, evidence=evidence, comparisons=())

    return run_it


def test_what_is_fake_has_its_own_word(run: Run, clean: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes, "run_case", _found(fakes.run_case, Outcome.FAKE))
    result = run("--ipfs-models=ant", "--ipfs-hardware=cpu", "--ipfs-json=out.json", "--junitxml=out.xml", "-v")
    assert result.parseoutcomes() == {"failed": 1, "passed": 1}
    lines = [" ".join(line.split()) for line in result.outlines]
    for line in (
        "ipfs/ant::fill-mask-cpu FAKE [ 50%]",
        "fake in stage parity: ant, fill-mask, on cpu",
        "says real (a label), and is not: 1 finding",
        "hf_ant.py:7: [repeats] another answer",
        "note: hf_ant.py:9: [swallowed] ValueError",
        "ant 1/2 1 fake",
        "fake: 1 case",
    ):
        assert line in lines
    assert report(clean.path)["counts"] == {"fake": 1, "passed": 1}
    assert '<property name="ipfs.outcome" value="fake"' in (clean.path / "out.xml").read_text()


def test_what_the_host_finds_unavailable_is_skipped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes, "run_case", _found(fakes.run_case, Outcome.UNAVAILABLE, Stage.BUILD))
    result = run("--ipfs-models=ant", "--ipfs-hardware=cpu")
    result.assert_outcomes(passed=1, skipped=1)


def test_required_hardware_fails_in_words(run: Run) -> None:
    result = run("--ipfs-models=bee", "--ipfs-require=cuda,cpu", "--ipfs-hardware=cpu,cuda,apple")
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    assert "    required by --ipfs-require: cuda: none in these tests" in result.outlines
    assert "Traceback" not in result.stdout.str()


def test_a_task_that_nobody_declares_fails_in_words(run_apart: Run, clean: pytest.Pytester) -> None:
    row = {
        "category": "language",
        "config_class": "BertConfig",
        "config": {},
        "processor": "bert-wordpiece",
        "tasks": {"fill-masks": {"class": "BertForMaskedLM"}},
    }
    (clean.path / "rows.json").write_text(json.dumps({"models": {"cow": row}}))
    result = run_apart("--ipfs-registry=rows.json", "ipfs/cow::fill-masks-cpu", "--strict-markers")
    result.assert_outcomes(failed=1)
    assert "failed in stage select: cow, fill-masks, on cpu" in result.outlines
    assert "nobody declares the task 'fill-masks'" in result.stdout.str()
    assert "'fill-mask'" in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_a_library_that_a_model_needs(run: Run, clean: pytest.Pytester) -> None:
    row = {
        "category": "language",
        "config_class": "BertConfig",
        "config": {},
        "processor": "bert-wordpiece",
        "tasks": {"fill-mask": {"class": "BertForMaskedLM"}},
        "needs": ["no_such_library"],
    }
    (clean.path / "rows.json").write_text(json.dumps({"models": {"cow": row}}))
    result = run("--ipfs-registry=rows.json", "ipfs/cow::fill-mask-cpu", "-rs")
    result.assert_outcomes(skipped=1)
    assert "cow needs no_such_library, not installed here" in result.stdout.str()


def test_the_list(run: Run) -> None:
    result = run("--ipfs-models=ant,bee", "--ipfs-list")
    assert result.ret == pytest.ExitCode.OK
    rows = [line.split("  ") for line in result.outlines]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert cells[0] == ["model", "category", "hardware", "available here", "implementation", "tasks"]
    assert ["ant", "language", "cpu", "yes: a device", "real", "fill-mask, text-classification"] in cells
    assert ["bee", "vision", "cuda", "no: none in these tests", "-", "image-classification"] in cells
    assert len([row for row in cells if row and row[0] in ("ant", "bee")]) == 2 * len((*HERE, *ABSENT))
    heads = [line.index(word) for line in result.outlines[:1] for word in ("category", "hardware", "tasks")]
    for line in result.outlines[2:14]:  # aligned: every column starts where its head does
        assert all(line[place - 1] == " " and line[place] != " " for place in heads)
    assert f"{ANT + BEE} cases of 2 model types" in result.outlines


# --ipfs-json


def test_the_json_file_holds_every_verdict(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "broken.txt").write_text(CPU)
    run("--ipfs-models=ant,bee", "--ipfs-json=out.json")
    found = report(clean.path)
    assert found["schema"] == SCHEMA_VERSION
    assert found["exit_status"] == 1
    assert found["counts"] == {"failed": 1, "passed": 8, "unavailable": 9}
    assert found["not_run"] == {}
    assert found["versions"]["pytest"] == pytest.__version__
    assert len(found["verdicts"]) == ANT + BEE
    first = found["verdicts"][0]
    assert (first["model"], first["outcome"], first["stage"]) == ("ant", "failed", "parity")
    assert first["comparisons"][0]["relative_l2"] == 0.25
    assert first["reproduce"] == f"pytest {CPU}"
    assert [path.name for path in clean.path.glob(".out.json*")] == []  # the temporary file became the report


def test_deselected_cases_are_named(run: Run, clean: pytest.Pytester) -> None:
    for workers in ((), ("-n", "2")):
        run("--ipfs-models=ant", "--ipfs-json=out.json", "-k", "cpu", *workers)
        found = report(clean.path)
        assert set(found["not_run"].values()) == {"deselected"}
        assert len(found["not_run"]) + len(found["verdicts"]) == ANT


def test_cases_behind_the_first_failure_are_named(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "broken.txt").write_text(CPU)
    run("--ipfs-models=ant", "--ipfs-json=out.json", "-x", "-k", "not openvino")
    found = report(clean.path)
    assert [verdict["outcome"] for verdict in found["verdicts"]] == ["failed"]
    assert set(found["not_run"].values()) == {"deselected", "not reached: stopping after 1 failures"}
    assert len(found["not_run"]) == ANT - 1


def test_a_run_that_a_plugin_ends_says_why(run: Run, clean: pytest.Pytester) -> None:
    clean.makeconftest(
        """
        import pytest

        @pytest.fixture(autouse=True)
        def ends(request):
            if request.node.case.hardware == "openvino":
                pytest.exit("enough is enough")
        """
    )
    run("--ipfs-models=bee", "--ipfs-hardware=cpu,openvino", "--ipfs-json=out.json")
    found = report(clean.path)
    assert found["counts"] == {"passed": 1}
    assert found["not_run"] == {"ipfs/bee::image-classification-openvino": "not reached: enough is enough"}


def test_xdist_writes_one_file(run: Run, clean: pytest.Pytester) -> None:
    run("--ipfs-models=ant,bee", "--ipfs-json=out.json", "-n", "2")
    found = report(clean.path)
    assert len(found["verdicts"]) == ANT + BEE
    assert [verdict["model"] for verdict in found["verdicts"]] == ["ant"] * ANT + ["bee"] * BEE


def test_a_worker_that_dies_leaves_a_verdict(run: Run, clean: pytest.Pytester) -> None:
    clean.makeconftest(
        """
        import os, pytest

        @pytest.fixture(autouse=True)
        def dies(request):
            if request.node.nodeid == "ipfs/ant::text-classification-openvino":
                os._exit(1)
        """
    )
    result = run("--ipfs-models=ant", "--ipfs-json=out.json", "-n", "2")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    found = report(clean.path)
    crashed = [verdict for verdict in found["verdicts"] if verdict["outcome"] == "crashed"]
    assert [verdict["task"] for verdict in crashed] == ["text-classification"]
    assert "crashed while running" in crashed[0]["reason"]
    assert len(found["verdicts"]) == ANT
    assert found["not_run"] == {}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fixture_of_the_users_that_fails(run: Run, clean: pytest.Pytester, when: str) -> None:
    clean.makeconftest(
        f"""
        import pytest

        @pytest.fixture(autouse=True)
        def around():
            assert {when == "after"}, "not today"
            yield
            assert {when == "before"}, "not today"
        """
    )
    run(CPU, "--ipfs-json=out.json")
    verdicts = report(clean.path)["verdicts"]
    if when == "before":
        assert (verdicts[0]["outcome"], verdicts[0]["stage"]) == ("failed", "select")
        assert "not today" in verdicts[0]["reason"]
    else:
        assert verdicts[0]["outcome"] == "passed"  # the case itself did


def test_what_stood_there_survives_a_run_that_cannot_start(run: Run, clean: pytest.Pytester) -> None:
    (clean.path / "out.json").write_text("old")
    assert run("--ipfs-models=brt", "--ipfs-json=out.json").ret == pytest.ExitCode.USAGE_ERROR
    assert (clean.path / "out.json").read_text() == "old"


def test_the_verdict_travels_in_builtin_values() -> None:
    verdict = Verdict(
        model="m", task="t", hardware="h", outcome=Outcome.PASSED, stage=Stage.BATCH, evidence={"path": Path("a")}
    )
    properties = properties_of(verdict)
    assert {type(value) for _, value in properties} == {str}
    assert without_verdict([*properties, ("mine", 1)]) == [("mine", 1)]
