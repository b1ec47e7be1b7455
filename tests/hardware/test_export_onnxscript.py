"""Where onnxscript gives other numbers: the replacement gives torch's, and is still needed."""

from __future__ import annotations

import inspect
from importlib import import_module
from traceback import format_exception
from typing import Any

import onnx
import onnx_ir
import pytest
import torch
from onnxscript import optimizer, rewriter
from torch import Tensor, nn
from torch.onnx._internal.exporter._errors import ConversionError
from torch.onnx._internal.exporter._registration import ONNXRegistry
from traces import same

from pytest_ipfs_accelerate.hardware.export import _export
from pytest_ipfs_accelerate.hardware.export_onnxscript import (
    mean_of_a_sum,
    no_op_constants,
    onnxscript_faults,
    sized_states,
    squeezed_if_one,
)
from pytest_ipfs_accelerate.hardware.export_patches import patched


@pytest.mark.parametrize("include_self", [False, True])
def test_a_mean_is_a_sum_over_a_count(include_self: bool) -> None:
    original = Tensor.scatter_reduce
    into, index, numbers = torch.randn(4, 3), torch.randint(0, 3, (5, 3)), torch.randn(5, 3)
    for reduce in ("mean", "amax"):
        arguments = (into, 0, index, numbers, reduce)
        found = mean_of_a_sum(original)(*arguments, include_self=include_self)
        assert same(found, original(*arguments, include_self=include_self))


def test_the_mean_of_onnxscript_is_needed() -> None:
    """Where this fails, ``mean_of_a_sum`` can go."""
    core = import_module("onnxscript.function_libs.torch_lib.ops.core")
    assert "'mean' doesn't support" in inspect.getsource(core.aten_scatter_reduce)


def optimised(number: float) -> list[str]:
    """The operators that are left of adding a number."""
    graph = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> agraph (float[n] x) => (float[n] y) '
        f"<float added = {{{number}}}> {{ z = Add(x, added)\n y = Neg(z) }}"
    )
    model = onnx_ir.from_proto(graph)
    optimizer.optimize_ir(model)
    rewriter.rewrite(model)
    return [node.op_type for node in model.graph]


def test_only_what_is_nothing_is_taken_for_nothing() -> None:
    """Where the first fails, the replacement can go."""
    assert optimised(1e-10) == ["Neg"]
    with patched():
        assert optimised(1e-10) == ["Add", "Neg"]
        assert optimised(0.0) == ["Neg"]
    assert optimised(1e-10) == ["Neg"]
    assert len(list(no_op_constants())) >= 6


@pytest.mark.parametrize("original", [Tensor.squeeze, torch.squeeze])
@pytest.mark.parametrize("given", [(1,), (0,), (-1,), (), ((0, 1),), {"dim": 1}, {"dim": -1}, {"dim": (0, 2)}])
def test_an_axis_that_is_longer_stays(original: Any, given: Any) -> None:
    numbers = torch.randn(1, 3, 1)
    axes, named = ((), given) if isinstance(given, dict) else (given, {})
    assert same(squeezed_if_one(original)(numbers, *axes, **named), original(numbers, *axes, **named))


def test_the_squeeze_of_onnxscript_is_needed() -> None:
    """Where onnxscript asks for the size of the axis, ``squeezed_if_one`` can go."""
    core = import_module("onnxscript.function_libs.torch_lib.ops.core")
    assert "op.Squeeze(self, [dim])" in inspect.getsource(core.aten_squeeze_dim)


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "batch_first": True}, {"bidirectional": True}, {"proj_size": 3}]
)
def test_the_states_of_an_lstm_are_viewed_as_they_are(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    lstm, numbers = nn.LSTM(4, 5, **options), torch.randn(2, 3, 4)
    layers, batch = lstm.num_layers * (1 + lstm.bidirectional), 2 if lstm.batch_first else 3
    states = torch.randn(layers, batch, lstm.proj_size or 5), torch.randn(layers, batch, 5)
    viewed = sized_states(nn.LSTM.forward)
    assert same(viewed(lstm, numbers, states), lstm(numbers, states))
    assert not same(viewed(lstm, numbers, (states[0] + 1, states[1])), lstm(numbers, states))
    assert same(viewed(lstm, numbers), lstm(numbers))
    assert same(viewed(lstm, numbers[0]), lstm(numbers[0]))


def test_the_view_of_the_states_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where onnxscript reads the width from what it is, ``sized_states`` can go."""
    step = {"input": torch.randn(2, 1, 4), "hx": (torch.randn(2, 2, 5), torch.randn(2, 2, 5))}
    with patched():
        assert b"LSTM" in _export(nn.LSTM(4, 5, 2, batch_first=True), step, "").onnx
    others = [fault for fault in onnxscript_faults() if fault[0] is not nn.LSTM]
    monkeypatch.setattr("pytest_ipfs_accelerate.hardware.export_patches.onnxscript_faults", lambda: iter(others))
    with patched(), pytest.raises(ConversionError) as failed:
        _export(nn.LSTM(4, 5, 2, batch_first=True), step, "")
    assert "Unsupported attribute type: '<class 'onnx_ir.SymbolicDim'>'" in "".join(format_exception(failed.value))


def test_what_one_export_registers_reaches_no_other() -> None:
    add = torch.ops.aten.add.Tensor
    plain = ONNXRegistry.from_torchlib()
    with patched():
        first, second = ONNXRegistry.from_torchlib(), ONNXRegistry.from_torchlib(opset_version=18)
        first.register_op(add, lambda x, y: x)
        assert len(first.get_decomps(add)) == len(ONNXRegistry.from_torchlib().get_decomps(add)) + 1
    assert first.functions.keys() == plain.functions.keys()
    assert second.opset_version == 18
