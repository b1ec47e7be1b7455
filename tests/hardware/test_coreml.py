"""Core ML off a Mac: whole it passes, with evidence, and converts once; broken it fails where it shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import job

from pytest_ipfs_accelerate.hardware.probes import CORE_ML_EVALUATED
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.verdict import DEPARTURE, Implementation, Outcome, Stage, Verdict

pytest.importorskip("coremltools")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


NORM = "bert.encoder.layer.0.attention.output.LayerNorm"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the tests of this file: what one of them converts the others read."""
    return tmp_path_factory.mktemp("store")


def run(
    kept: Path,
    fault: str = "",
    precision: str = "",
    *,
    model: str = "bert",
    task: str = "fill-mask",
    explain: bool = False,
) -> Verdict:
    target = f"coreml_sabotage:{fault}CoreMl" if fault else "pytest_ipfs_accelerate.hardware.coreml:CoreMl"
    asked = replace(
        job(model, task, "apple", target),
        precision=precision,
        explain=explain,
        cache_dir=str(kept),
        cache_size=1_000_000_000,
    )
    return run_case(asked, lambda stage: None)


def test_a_conversion_is_evaluated_and_kept(kept: Path) -> None:
    verdict = run(kept)
    assert verdict.outcome is Outcome.PASSED, verdict
    assert verdict.implementation is Implementation.CONVERTED
    assert verdict.device == CORE_ML_EVALUATED
    assert (verdict.precision, verdict.evidence["backend"]["Core ML ran"]) == ("fp32", False)
    component = verdict.evidence["backend"]["components"]["model"]
    assert set(component["ops by precision"]) == {"fp32"}
    assert component["ops by MIL's value inference"]["linear"] > 10
    assert component["ops by our evaluation"]["select"] > 0
    shapes = len(component["programs"])
    assert shapes >= 2
    again = run(kept).evidence["backend"]["components"]["model"]["programs"]
    assert [program["kept"] for program in again] == [True] * shapes
    assert [program["cid"] for program in again] == [program["cid"] for program in component["programs"]]


@pytest.mark.parametrize(
    ("fault", "stage", "words"),
    [
        ("Scaled", Stage.PARITY, "departs from the reference"),
        ("Maskless", Stage.PARITY, "padded"),
        ("Constant", Stage.RUN, "is constant"),
        ("RowMixing", Stage.BATCH, "of a batch of two departs"),
        ("WrongOp", Stage.PARITY, "departs from the reference"),
    ],
)
def test_a_fault_fails_where_it_shows(kept: Path, fault: str, stage: Stage, words: str) -> None:
    verdict = run(kept, fault)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, stage), verdict.reason
    assert words in verdict.reason


def test_another_precision_than_was_asked_for(kept: Path) -> None:
    verdict = run(kept, "DeafToPrecision", "fp16")
    assert (verdict.outcome, verdict.stage, verdict.exception) == (Outcome.FAILED, Stage.RUN, "NotOnHardware")
    assert "fp16 was asked for; ops by precision are {'fp32':" in verdict.reason
    assert run(kept, precision="bf16").reason == "not on apple: Core ML has no bf16"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_op_that_departs_is_named(kept: Path, precision: str) -> None:
    departure = run(kept, "ScaledNorm", precision, explain=True).evidence[DEPARTURE]
    assert (departure["operator"], departure["node"], departure["module"]) == ("layer_norm", "layer_norm_1", NORM)
    assert departure["judged by"] == f"torch {torch.__version__} on the CPU, node by node of its trace"
    assert departure["relative l2"] == pytest.approx(1, rel=0.01)
    assert departure["relative l2 of the inputs"] < departure["bound"]
    assert departure["inputs"] == departure["outputs"] == [[1, 11, 64]]
    assert departure["operators compared"] > 25


def test_the_step_that_departs_is_named(kept: Path) -> None:
    verdict = run(kept, "ScaledDecode", model="gpt2", task="text-generation", explain=True)
    departure = verdict.evidence[DEPARTURE]
    assert (departure["component"], departure["call"]) == ("decode", 1)
    assert (departure["operator"], departure["module"]) == ("layer_norm", "transformer.ln_f")


def test_half_precision(kept: Path) -> None:
    verdict = run(kept, precision="fp16")
    assert verdict.outcome is Outcome.PASSED, verdict
    assert verdict.precision == "fp16"


def test_a_damaged_program_is_converted_again(kept: Path) -> None:
    programs = run(kept).evidence["backend"]["components"]["model"]["programs"]
    for file in kept.glob(f"blobs/*/{programs[0]['cid']}"):
        file.write_bytes(b"damaged")
    again = run(kept)
    assert again.outcome is Outcome.PASSED
    (warning,) = again.evidence["warnings"]
    assert f"the artifact {programs[0]['cid']}" in warning
    assert "was damaged; it is made again" in warning
    assert [program["kept"] for program in again.evidence["backend"]["components"]["model"]["programs"]] == [
        False,
        *[True] * (len(programs) - 1),
    ]
