"""A graph that OpenVINO does not compile as it reads it gives ONNX Runtime's numbers when it is mended."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch

from pytest_ipfs_accelerate.hardware.export import WHOLE, Program, _export
from pytest_ipfs_accelerate.hardware.openvino import OpenVinoEndpoint, compare_with_zero

SPLIT = onnx.parser.parse_model(
    '<ir_version: 9, opset_import: ["" : 18]> agraph (float[n, 5] x) => (float[n, 4] kept, bool[n, 1] valid) '
    "<int64[2] sizes = {4, 1}> { kept, last = Split<axis = 1>(x, sizes)\n valid = Cast<to = 9>(last) }"
).SerializeToString()


def test_one_of_several_outputs_becomes_booleans() -> None:
    """Where OpenVINO compiles the graph as it is, the rewrite can go."""
    core = openvino.Core()
    with pytest.raises(RuntimeError, match="Default output not supported"):
        core.compile_model(core.read_model(SPLIT), "CPU")
    model = core.read_model(SPLIT)
    assert compare_with_zero(model) == 1
    assert compare_with_zero(model) == 0
    x = np.array([[1, 2, 3, 4, 0], [5, 6, 7, 8, 0.5], [0, 0, 0, 0, -2]], np.float32)
    expected = onnxruntime.InferenceSession(SPLIT).run(None, {"x": x})
    found = core.compile_model(model, "CPU")([x])
    assert [found[index].tolist() for index in (0, 1)] == [each.tolist() for each in expected]
    assert found[1].flatten().tolist() == [False, True, True]


def test_the_only_output_of_a_node_is_left_alone() -> None:
    model = openvino.Core().read_model(
        onnx.parser.parse_model(
            '<ir_version: 9, opset_import: ["" : 18]> agraph (float[n] x) => (bool[n] y) { y = Cast<to = 9>(x) }'
        ).SerializeToString()
    )
    assert compare_with_zero(model) == 0


class Valid(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        kept, last = x.split([4, 1], dim=1)
        return {"kept": kept * 2, "valid": last.bool()}


def test_the_evidence_counts_what_was_rewritten() -> None:
    inputs = {"x": torch.randn(3, 5)}
    program = Program(SimpleNamespace(model=Valid()), {WHOLE: _export(Valid().eval(), inputs, "")}, inputs)  # type: ignore[arg-type]
    endpoint = OpenVinoEndpoint(program, 1)
    assert endpoint.forward(inputs)["valid"].all()
    assert endpoint.evidence()["rewritten"] == {"conversions to booleans": {WHOLE: 1}}
