"""The page of what runs cannot go stale unseen."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from pytest_ipfs_accelerate.ledger import load_ledger
from pytest_ipfs_accelerate.registry import load_registry

ROOT = Path(__file__).parents[1]
COVERAGE = runpy.run_path(str(ROOT / "docs/coverage.py"))


@pytest.fixture
def data() -> Any:
    return json.loads((ROOT / "docs/coverage.json").read_text("utf-8"))


def report(**outcomes: str) -> dict[str, Any]:
    verdicts = [
        {
            "model": "gpt2",
            "task": task.replace("_", "-"),
            "hardware": "cpu",
            "outcome": outcome,
            "reason": "why",
            "evidence": {},
        }
        for task, outcome in outcomes.items()
    ]
    return {"verdicts": verdicts, "versions": {"torch": "2", "transformers": "5"}}


def test_a_case_that_is_left_out_is_named(data: Any) -> None:
    del data["verdicts"]["bert"]["fill-mask"]
    assert "no verdict: bert::fill-mask" in COVERAGE["faults"](data)


def test_a_case_that_is_no_more_is_named(data: Any) -> None:
    data["verdicts"]["bert"]["juggling"] = ["passed"]
    assert "no such case: bert::juggling" in COVERAGE["faults"](data)


def test_a_verdict_on_another_recipe_is_named(data: Any) -> None:
    data["recipes"]["bert"] = "0" * 12
    assert COVERAGE["faults"](data) == ["bert: its recipes have changed since the run; run it again"]


def test_a_verdict_that_was_written_by_hand_shows_in_the_page(data: Any) -> None:
    data["verdicts"]["bark"]["text-to-audio"] = ["passed"]
    assert COVERAGE["faults"](data) == ["coverage.md is not what coverage.json gives"]


def test_a_run_of_part_of_a_model_type_is_refused() -> None:
    with pytest.raises(SystemExit, match="left out gpt2::feature-extraction"):
        COVERAGE["taken"](report(text_generation="passed", text_classification="passed"))


def test_a_run_of_some_model_types_takes_the_place_of_their_verdicts(data: Any) -> None:
    tasks = dict.fromkeys(data["verdicts"]["gpt2"], "failed")
    new = {**COVERAGE["taken"](report(**tasks)), "versions": data["versions"]}
    found = COVERAGE["laid_over"](data, new)
    assert found["verdicts"]["gpt2"]["text-generation"] == ["failed", "why"]
    assert {**found["verdicts"], "gpt2": 0} == {**data["verdicts"], "gpt2": 0}
    with pytest.raises(SystemExit, match="run them all"):
        COVERAGE["laid_over"](data, {**new, "versions": {"torch": "3"}})


HARDWARE = runpy.run_path(str(ROOT / "docs/hardware.py"))


def run_on(hardware: str, model: str = "gpt2", **outcomes: str) -> dict[str, Any]:
    found = report(**outcomes)
    for verdict in found["verdicts"]:
        verdict |= {"hardware": hardware, "model": model, "stage": "parity", "implementation": "real"}
        verdict |= {"precision": "fp32", "versions": {"torch": "2"}}
    return found


def test_the_share_is_of_what_ran_there_and_passes_on_the_cpu() -> None:
    registry = load_registry()
    runs = [
        run_on("onnxruntime", text_generation="passed", text_classification="failed", pretraining="unavailable"),
        run_on("onnxruntime", model="bark", text_to_audio="failed"),  # fails on the CPU, too
        run_on("cpu", text_generation="passed"),
    ]
    data: dict[str, Any] = {}
    for found in runs:
        data = HARDWARE["laid_over"](data, HARDWARE["taken"](found, registry))
    assert list(data) == ["onnxruntime"]
    page = HARDWARE["page"](data)
    assert "| onnxruntime | fp32 | real | 2 | 1 | 50.0% | 0 | 1 |" in page
    assert "| gpt2::text-classification | failed | parity | why |" in page
    assert "bark" not in page
    data["onnxruntime"]["recipes"]["gpt2"] = "another"
    assert "| onnxruntime | fp32 | real | 0 | 0 | - | 0 | 0 |" in HARDWARE["page"](data)


def test_a_later_run_takes_the_place_of_the_same_cases_alone() -> None:
    registry = load_registry()
    first = HARDWARE["taken"](run_on("openvino", text_generation="failed", pretraining="passed"), registry)
    second = HARDWARE["taken"](run_on("openvino", text_generation="passed"), registry)
    verdicts = HARDWARE["laid_over"](first, second)["openvino"]["verdicts"]
    assert verdicts == {"gpt2": {"text-generation": ["passed"], "pretraining": ["passed"]}}
    assert json.loads(HARDWARE["dumped"](first)) == first


def test_a_known_failure_counts_while_its_reason_is_in_the_ledger() -> None:
    registry = load_registry()
    data = HARDWARE["taken"](run_on("onnxruntime", model="blt", feature_extraction="known"), registry)
    assert list(HARDWARE["results"](data, registry)) == []
    (row,) = [row for row in load_ledger().rows if row.pattern == "blt::feature-extraction-onnxruntime"]
    data["onnxruntime"]["verdicts"]["blt"]["feature-extraction"][2] = row.entry.reason
    assert [(found.model, found.outcome) for found in HARDWARE["results"](data, registry)] == [("blt", "known")]
    elsewhere = {"executorch": data["onnxruntime"]}  # which has no row of this case
    assert list(HARDWARE["results"](elsewhere, registry)) == []
