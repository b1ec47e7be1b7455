"""Qualcomm's HTP, on its simulator where there is no NPU: whole, it passes; broken, it fails where it shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from cases import job, recipe, task_on
from onnx import TensorProto, helper, numpy_helper

from pytest_ipfs_accelerate.hardware.export import Program, export_program
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.verdict import Implementation, Outcome, Stage, Verdict

pytest.importorskip("onnxruntime_qnn", reason="pip install 'pytest-ipfs-accelerate[qualcomm]'")

from pytest_ipfs_accelerate.hardware.qualcomm_rewrites import MASKED, rewrite
from pytest_ipfs_accelerate.hardware.quantise import (
    RewritingFault,
    quantised_program,
    quantised_tensors,
    scheme_found,
)


def run(target: str = "", precision: str = "") -> Verdict:
    target = f"sabotage_qualcomm:{target}" if target else ""
    asked = replace(job("bert", "fill-mask", "qualcomm", target or None), precision=precision)
    return run_case(asked, lambda stage: None)


def test_fp16_passes_on_the_htp_alone() -> None:
    verdict = run()
    assert verdict.outcome is Outcome.PASSED, verdict.reason
    assert verdict.precision == "fp16"
    assert verdict.implementation in (Implementation.SIMULATOR, Implementation.REAL)
    nodes = verdict.evidence["backend"]["components"]["model"]["nodes by provider"]
    assert list(nodes) == ["QNNExecutionProvider"]
    assert "held against" not in verdict.evidence


def test_a_quantised_case_is_held_against_the_same_graph_elsewhere() -> None:
    verdict = run(precision="a16w8")
    assert verdict.outcome is Outcome.PASSED, verdict.reason
    assert verdict.precision == "a16w8"
    assert verdict.evidence["held against"] == "OnnxRuntimeEndpoint on the same program"
    assert 0 < verdict.evidence["distance from fp32, relative L2"]["logits"] < 0.2
    assert set(verdict.evidence["backend"]["quantised tensors"]) == {"uint16"}


@pytest.mark.parametrize(
    ("target", "precision", "stage", "words"),
    [
        ("ScaledQualcomm", "", Stage.PARITY, "departs from the reference"),
        ("ScaledQualcomm", "a16w8", Stage.PARITY, "departs from the reference"),
        ("MasklessQualcomm", "", Stage.PARITY, "padded"),
        ("ConstantQualcomm", "", Stage.RUN, "is constant"),
        ("FallenBack", "", Stage.RUN, "all of them belong on QNNExecutionProvider"),
        ("DeafToPrecision", "a16w8", Stage.RUN, "a16w8 was asked for; the graphs are in a8w8"),
        ("DeafToQuantising", "a16w8", Stage.RUN, "a16w8 was asked for; the graphs are in fp16"),
    ],
)
def test_each_fault_is_named_at_its_stage(target: str, precision: str, stage: Stage, words: str) -> None:
    verdict = run(target, precision)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, stage), verdict.reason
    assert words in verdict.reason


@pytest.fixture(scope="module")
def program() -> Program:
    task = task_on(recipe("vit", "image-classification"), "image-classification")
    return export_program(task.checkpoint, task.encode(list(task.samples())), generates=False)


@pytest.mark.parametrize(("scheme", "integer"), [("a16w8", "uint16"), ("a8w8", "uint8")])
def test_a_program_is_quantised_as_asked(program: Program, scheme: str, integer: str) -> None:
    models = {name: onnx.load_from_string(part.onnx) for name, part in program.components.items()}
    assert scheme_found(quantised_tensors(models.values())) == "", "fp32 quantises nothing"
    found = quantised_program(program, models, scheme, threads=1)
    tensors = quantised_tensors(onnx.load_from_string(part.onnx) for part in found.components.values())
    assert max(tensors, key=tensors.__getitem__) == integer
    assert scheme_found(tensors) == scheme
    assert f"quantised to {scheme} in QDQ form" in found.notes


def test_a_mask_leaves_the_scores_their_steps() -> None:
    """In a quantised graph the mask shares its scale with the scores, and -3.4e38 or -6e4 would take all of it."""
    mask = numpy_helper.from_array(np.array([0, np.finfo(np.float32).min, -7], np.float32), "mask")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "mask"], ["y"])],
        "masked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
        [mask],
    )
    data = helper.make_model(graph).SerializeToString()
    for quantised, lowest in ((False, -6e4), (True, MASKED)):
        model, counts = rewrite(data, quantised=quantised)
        assert counts == {"clamped mask constants": 1}
        assert numpy_helper.to_array(model.graph.initializer[0]).tolist() == [0, lowest, -7]


def test_a_rewriting_that_changes_the_numbers_is_found_before_both_sides_share_it(
    program: Program,
) -> None:
    models = {name: onnx.load_from_string(part.onnx) for name, part in program.components.items()}
    weight = next(t for t in models["model"].graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) > 1)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    with pytest.raises(RewritingFault, match=r"model: logits .before it was rewritten.: relative L2"):
        quantised_program(program, models, "a16w8", threads=1)
