"""The calibration of tolerances reads runs, leaves faults out of its quantiles and judges each bound."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

ROUNDED = 2.5e-5
"""An error that is held to another bound: three times what rounding alone makes of its model."""

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "calibration.py"


def comparison(error: float | None, against: str = "reference, unpadded") -> dict[str, Any]:
    bound = 3e-5 if error == ROUNDED else 1e-5
    numbers = {"relative_l2": error, "max_abs": 1.0, "bound": bound, "absolute_bound": 1e-6}
    return {"against": against, "output": "logits", "ok": True, **numbers}


def calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *errors: float | None
) -> str:
    comparisons = [*map(comparison, errors), comparison(0.5, "alone, in a batch of two")]
    verdict = {
        "model": "ant",
        "task": "fill-mask",
        "hardware": "onnxruntime",
        "precision": "fp32",
        "outcome": "passed",
        "comparisons": comparisons,
    }
    path = tmp_path / "run.json"
    known = {**verdict, "outcome": "known", "comparisons": [comparison(2e-4)]}
    path.write_text(json.dumps({"verdicts": [verdict, known]}))
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("largest", "word"), [(8e-6, "calibrated"), (1e-6, "too wide"), (9e-5, "too narrow"), (0.0, "exact")]
)
def test_a_bound_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], largest: float, word: str
) -> None:
    out = calibrated(tmp_path, monkeypatch, capsys, *[largest] * 10, None)
    (line,) = [line for line in out.splitlines() if line.startswith("onnxruntime")]
    assert line.split()[2:5] == ["10", "0", "0"]
    assert line.endswith(word)


def test_a_fault_is_no_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = calibrated(tmp_path, monkeypatch, capsys, *[8e-6] * 9, 0.3)
    (line,) = [line for line in out.splitlines() if line.startswith("onnxruntime")]
    assert line.split()[2:5] == ["10", "0", "1"]
    assert line.endswith("calibrated")
    assert "8.0e-06  ant::fill-mask, logits (reference, unpadded)" in out
    assert "3.0e-01" not in out


def test_what_rounding_takes_far_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = calibrated(tmp_path, monkeypatch, capsys, *[8e-6] * 9, ROUNDED)
    (line,) = [line for line in out.splitlines() if line.startswith("onnxruntime")]
    assert line.split()[2:5] == ["10", "1", "0"]
    assert line.endswith("too narrow")
