"""``--ipfs-explain`` names the place of each fault: one is put inside a model on the hardware's side, and found there."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import job

from pytest_ipfs_accelerate.explain import error_of
from pytest_ipfs_accelerate.hardware.inductor import InductorEndpoint
from pytest_ipfs_accelerate.hardware.operators import EVALUATOR, PLAIN
from pytest_ipfs_accelerate.parity import Tolerance
from pytest_ipfs_accelerate.reports.failure import failure_text
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.verdict import DEPARTURE, Outcome, Stage, Verdict

RUNTIMES = {"onnxruntime": ("OnnxRuntime", EVALUATOR), "openvino": ("OpenVino", PLAIN)}
NORM = "bert.encoder.layer.0.attention.output.LayerNorm"
FILL_MASK = ("bert", "fill-mask")


def run(hardware: str, fault: str, case: tuple[str, str] = FILL_MASK, **options: Any) -> Verdict:
    wanted = replace(job(*case, hardware, f"faults:{fault}"), explain=True, **options)
    verdict = run_case(wanted, lambda entered: None)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.PARITY), verdict.reason
    return verdict


def found(hardware: str, fault: str, case: tuple[str, str] = FILL_MASK, **options: Any) -> dict[str, Any]:
    departure: dict[str, Any] = run(hardware, fault, case, **options).evidence[DEPARTURE]
    assert json.loads(json.dumps(departure, allow_nan=False)) == departure, "builtin values alone"
    return departure


@pytest.mark.parametrize("hardware", RUNTIMES)
def test_one_wrong_operator_is_named(hardware: str) -> None:
    runtime, judge = RUNTIMES[hardware]
    departure = found(hardware, f"ScaledNorm{runtime}")
    assert departure["operator"] == "LayerNormalization"
    assert departure["node"] == "node_layer_norm_1"
    assert departure["module"] == NORM
    assert (departure["component"], departure["call"], departure["form"]) == ("model", 1, "unpadded")
    assert departure["judged by"] == judge, "never by itself"
    assert departure["relative l2"] == pytest.approx(0.01, rel=1e-3)
    assert departure["relative l2 of the inputs"] < departure["bound"] == 1e-5
    assert departure["inputs"] == departure["outputs"] == [[1, 11, 64]]
    assert departure["operators compared"] > 50


@pytest.mark.parametrize("hardware", RUNTIMES)
def test_an_operator_with_another_constant_is_named(hardware: str) -> None:
    departure = found(hardware, f"SwappedConstant{RUNTIMES[hardware][0]}")
    assert (departure["node"], departure["module"]) == ("node_layer_norm", "bert.embeddings.LayerNorm")


@pytest.mark.parametrize("hardware", RUNTIMES)
def test_a_fault_that_goes_when_it_is_looked_at_is_closed_in_on(hardware: str) -> None:
    departure = found(hardware, f"BadFusion{RUNTIMES[hardware][0]}")
    assert departure["fused"] is True
    assert (departure["node"], departure["module"]) == ("node_layer_norm_1", NORM)


@pytest.mark.parametrize("hardware", RUNTIMES)
def test_a_generation_names_the_first_call_that_departs(hardware: str) -> None:
    departure = found(hardware, f"ScaledDecode{RUNTIMES[hardware][0]}", ("gpt2", "text-generation"))
    assert (departure["component"], departure["call"]) == ("decode", 1)
    assert (departure["operator"], departure["module"]) == ("MatMul", "lm_head")


def test_what_departs_after_the_graph_is_no_operators() -> None:
    departure = found("openvino", "ScaledAfterwardsOpenVino")
    assert "node" not in departure
    assert departure["text"].startswith("none inside: what 1 call of the model's parts gave agrees with torch")
    assert departure["relative l2"] < departure["bound"]


def test_a_wrong_export_is_not_the_hardwares() -> None:
    departure = found("onnxruntime", "BadExport")
    assert departure["export"] is True
    assert departure["text"].startswith("the exported graph departs from torch, before any hardware")
    assert set(departure["relative l2"]) == {EVALUATOR, PLAIN}
    assert (departure["operator"], departure["module"]) == ("LayerNorm", "bert.embeddings.LayerNorm")


def test_a_wrong_operator_on_the_htp_is_named() -> None:
    pytest.importorskip("onnxruntime_qnn")
    departure = found("qualcomm", "ScaledNormQualcomm")
    assert (departure["node"], departure["module"]) == ("node_layer_norm_1", NORM)
    assert departure["judged by"] == PLAIN
    assert departure["relative l2 of the inputs"] < departure["bound"] == 1e-2


def test_a_compiled_forward_lets_nobody_look_inside() -> None:
    with pytest.raises(NotImplementedError, match="compiled as one graph"):
        InductorEndpoint.parts(None, None, lambda each: None)  # type: ignore[arg-type]


def test_a_hardware_that_gives_another_answer_the_second_time() -> None:
    wanted = replace(job(*FILL_MASK, "openvino", "sabotage:FrozenOpenVino"), explain=True)
    departure = run_case(wanted, lambda entered: None).evidence[DEPARTURE]
    assert departure["form"] == "altered"
    assert "made a second time, the call agrees with torch" in departure["text"]


@pytest.mark.parametrize("precision", ["", "bf16"])
def test_one_wrong_layer_of_torch_is_named(precision: str) -> None:
    departure = found("cpu", "ScaledLayer", precision=precision)
    assert (departure["operator"], departure["module"]) == ("Linear", "bert.encoder.layer.1.output.dense")
    assert departure["relative l2"] == pytest.approx(1, rel=0.01)
    assert departure["bound"] == (0.05 if precision else 1e-5)


def test_wrong_code_between_right_layers_is_that_of_the_module_around_them() -> None:
    departure = found("cpu", "WrongAttention")
    assert (departure["operator"], departure["module"]) == ("BertSelfAttention", "bert.encoder.layer.1.attention.self")


def test_what_departs_after_the_model_is_no_layers() -> None:
    assert found("cpu", "ScaledOutside")["text"].startswith("none inside")


@pytest.mark.parametrize(
    ("hardware", "fault", "why"),
    [
        ("cpu", "Closed", "NotImplementedError: nobody looks inside"),
        ("onnxruntime", "UnreadableOnnxRuntime", "ValueError: one output is enough"),
    ],
)
def test_an_explanation_that_fails_takes_nothing_away(hardware: str, fault: str, why: str) -> None:
    verdict = run(hardware, fault)
    assert verdict.evidence[DEPARTURE]["text"] == f"explanation failed: {why}"
    assert (verdict.exception, verdict.detail) == ("Fault", "")
    assert "the output departs from the reference" in verdict.reason


def test_it_stands_in_the_failure_and_is_suggested_where_it_does_not() -> None:
    verdict = replace(run("cpu", "ScaledLayer"), reproduce="pytest ipfs/bert::fill-mask-cpu")
    text = failure_text(verdict, full=False)
    assert "    departs:   Linear bert.encoder.layer.1.output.dense, in call 1 of model: relative L2 1.00e+00" in text
    assert "judged by torch" in text
    assert "--ipfs-explain" not in text
    evidence = {key: value for key, value in verdict.evidence.items() if key != DEPARTURE}
    unexplained = failure_text(replace(verdict, evidence=evidence), full=False).splitlines()
    hint = unexplained.index("               --ipfs-explain names the first operator that departs")
    assert unexplained[hint - 1] == "    again:     pytest ipfs/bert::fill-mask-cpu"
    crashed = failure_text(replace(verdict, stage=Stage.RUN, comparisons=(), evidence={}), full=False)
    assert "--ipfs-explain" not in crashed


def test_nothing_is_explained_unasked() -> None:
    verdict = run_case(job(*FILL_MASK, "cpu", "faults:ScaledLayer"), lambda entered: None)
    assert not verdict.ok
    assert DEPARTURE not in verdict.evidence


@pytest.mark.parametrize(
    ("expected", "actual", "error", "ok"),
    [
        ([1.0, -3.4e38], [1.0, -6e4], 0.0, True),  # both masked
        ([1.0, -3.4e38], [1.1, -3.4e38], 0.1, False),  # which hides nothing
        ([1.0, -3.4e38], [1.0, 0.0], 1.0, False),  # one of them alone is
        ([1.0, torch.nan], [1.0, torch.nan], 0.0, True),
        ([1.0, 2.0], [1.0, torch.nan], torch.inf, False),
        ([1.0, torch.inf], [1.0, torch.inf], 0.0, True),
        ([1.0, 2.0], [1.0, torch.inf], torch.inf, False),
        ([0.0, 0.0], [0.0, 1e-9], torch.inf, True),  # a number close to zero
        ([1.0], [1.0, 2.0], torch.inf, False),
    ],
)
def test_masked_numbers_are_left_out(expected: list[float], actual: list[float], error: float, ok: bool) -> None:
    tolerance = Tolerance(relative_l2=1e-5, max_abs=1e-6, source="")
    held = error_of(torch.tensor(expected), torch.tensor(actual), tolerance)
    assert held.relative == pytest.approx(error, rel=1e-3)
    assert held.ok is ok
