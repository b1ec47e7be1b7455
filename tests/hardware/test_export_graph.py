"""What is mended in a graph gives torch's numbers on ONNX Runtime, and is still needed."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest

from pytest_ipfs_accelerate.hardware.export_graph import make_nothing_anew, restore_initializers


def test_a_constant_that_lost_its_place_is_put_back() -> None:
    """onnxscript names both bounds ``x_min``, and the graph keeps the last; once it does better, this fix can go."""
    bounds = [onnx_ir.Value(name="x_min", const_value=onnx_ir.tensor([bound])) for bound in (1.0, 2.0)]
    x = onnx_ir.Value(name="x", type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT), shape=onnx_ir.Shape([1]))
    nodes = [onnx_ir.node("Max", [x, bound]) for bound in bounds]
    graph = onnx_ir.Graph([x], [node.outputs[0] for node in nodes], nodes=nodes, initializers=[bounds[1]])
    assert restore_initializers(graph) == 1
    assert bounds[1] in graph.initializers.values()
    assert bounds[0] in graph.initializers.values()
    assert bounds[0].name != bounds[1].name
    assert restore_initializers(graph) == 0


def reshaped(sizes: str, batch: str = "n", allowzero: int = 1) -> onnx_ir.Model:
    return onnx_ir.from_proto(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 18]> agraph (float[n, 1, 0] x) => (float[y] sum) '
            f"<int64[4] sizes = {{{sizes}}}, float[{batch}, 1, 1, 0] kept, int64[1] axes = {{3}}> "
            f"{{ kept = Reshape<allowzero = {allowzero}>(x, sizes)\n sum = ReduceSum<keepdims = 1>(kept, axes) }}"
        )
    )


def opened(model: onnx_ir.Model) -> onnxruntime.InferenceSession:
    proto = onnx_ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(proto, providers=["CPUExecutionProvider"])


def test_nothing_is_made_anew_with_all_of_its_sizes() -> None:
    """Where ONNX Runtime takes the graph as it is, the fix can go."""
    model = reshaped("-1, 1, 1, 0")
    with pytest.raises(Exception, match="Product cannot be 0 in combination with -1"):
        opened(model)
    assert make_nothing_anew(model.graph) == 1
    assert "Reshape" not in {node.op_type for node in model.graph}
    (found,) = opened(model).run(None, {"x": np.zeros((3, 1, 0), np.float32)})
    assert found.shape == (3, 1, 1, 1)
    assert not found.any()


@pytest.mark.parametrize(
    "model", [reshaped("-1, 1, 1, 2"), reshaped("-1, 1, 1, 0", allowzero=0), reshaped("-1, 1, 1, 0", batch="other")]
)
def test_other_shapes_stay(model: onnx_ir.Model) -> None:
    assert make_nothing_anew(model.graph) == 0
