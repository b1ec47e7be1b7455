"""An antialiased resize in weights is torch's own; it is needed as long as OpenVINO antialiases otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

from pytest_ipfs_accelerate.hardware.export import _export
from pytest_ipfs_accelerate.hardware.export_patches import patched
from pytest_ipfs_accelerate.hardware.export_registry import PATCHES
from pytest_ipfs_accelerate.hardware.export_resize import FILTERS, resized_by_weights, summed_rows

SIZES = [(3, 4), (7, 9), (12, 20), (1, 1)]


@pytest.mark.parametrize("mode", FILTERS)
@pytest.mark.parametrize("size", SIZES)
def test_the_weights_are_those_of_torch(mode: str, size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, 7, 9)
    mine = resized_by_weights(F.interpolate)(image, size, mode=mode, antialias=True)
    assert torch.allclose(mine, F.interpolate(image, size, mode=mode, antialias=True), atol=1e-5)
    if size == (3, 4):
        assert not torch.allclose(mine, F.interpolate(image, size, mode=mode), atol=1e-2)


def test_what_is_not_antialiased_goes_the_old_way() -> None:
    calls: list[Any] = []
    interpolate = resized_by_weights(lambda *args, **kwargs: calls.append(kwargs))
    interpolate(torch.zeros(1, 1, 2, 2), size=(3, 3), mode="bicubic")
    interpolate(torch.zeros(1, 1, 2, 2), scale_factor=2.0, mode="bicubic", antialias=True)
    interpolate(torch.zeros(1, 2, 2), size=3, mode="nearest")
    assert len(calls) == 3


def test_it_is_replaced_for_the_time_of_a_trace() -> None:
    original = F.interpolate
    with patched():
        assert F.interpolate is not original
    assert F.interpolate is original


class Resize(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return F.interpolate(torch.ones(1, 1, 3, 3), size=image.shape[-2:], mode="bicubic", antialias=True)


def test_a_trace_keeps_the_size_free() -> None:
    with patched():
        program = torch.export.export(
            Resize(), (torch.zeros(1, 1, 4, 5),), dynamic_shapes=({2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
        )
    other = torch.zeros(1, 1, 6, 8)
    assert torch.allclose(program.module()(other), Resize()(other), atol=1e-6)


class Bag(torch.nn.Module):
    def forward(self, index: torch.Tensor, weights: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return F.embedding_bag(index, table, per_sample_weights=weights, mode="sum")


def bag() -> dict[str, torch.Tensor]:
    return {"index": torch.randint(5, (6, 4)), "weights": torch.randn(6, 4), "table": torch.randn(5, 3)}


def test_a_bag_is_a_weighted_sum_of_rows() -> None:
    given, calls = bag(), []
    expected = Bag()(**given)
    with patched():
        assert torch.allclose(Bag()(**given), expected, atol=1e-6)
        assert not torch.allclose(Bag()(**{**given, "weights": given["weights"].flip(0)}), expected, atol=1e-2)
    embedding_bag = summed_rows(lambda *args, **kwargs: calls.append(kwargs))
    embedding_bag(given["index"], given["table"], mode="mean", per_sample_weights=None)
    embedding_bag(given["index"], given["table"], mode="sum", per_sample_weights=None)
    embedding_bag(given["index"].flatten(), given["table"], torch.tensor([0, 3]), mode="sum")
    assert len(calls) == 3


def test_openvino_takes_no_bag() -> None:
    """Where this fails, OpenVINO takes it: the replacement can go."""
    given = bag()
    with patched():
        found = openvino.compile_model(openvino.Core().read_model(_export(Bag(), given, "").onnx), "CPU")
    assert np.allclose(found([*given.values()])[0], Bag()(**given), atol=1e-5)
    with pytest.raises(RuntimeError, match="Conversion is failed"):
        openvino.Core().read_model(_export(Bag(), given, "").onnx)


@pytest.mark.parametrize("path", [path for path in PATCHES if "efficientnet" in path or "align" in path])
def test_a_window_wider_than_the_picture_is_a_mean(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pooler, original, calls = torch.nn.AvgPool2d(8, ceil_mode=True), F.avg_pool2d, []

    def pooled(*args: Any) -> Any:
        calls.append(args)
        return original(*args)

    monkeypatch.setattr(F, "avg_pool2d", pooled)
    forward = PATCHES[path](pooler.__call__)
    for size, called in (((3, 5), 0), ((8, 8), 0), ((1, 1), 0), ((9, 20), 1)):
        image = torch.randn(2, 4, *size)
        calls.clear()
        found = forward(image)
        assert len(calls) == called
        assert torch.allclose(found, pooler(image), atol=1e-6)
        assert not torch.allclose(found, pooler(image + 0.1), atol=1e-2)
    assert F.avg_pool2d is pooled


def test_openvino_takes_no_window_wider_than_the_picture() -> None:
    """Where this fails, OpenVINO reads it: the replacement can go."""
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[8, 8], strides=[8, 8], ceil_mode=1)
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, *size])
        for name, size in zip("xy", ([3, 5], [1, 1]), strict=True)
    ]
    model = helper.make_model(
        helper.make_graph([node], "pool", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=9,
    ).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    image = np.ones((1, 1, 3, 5), "float32")
    assert session.run(None, {"x": image})[0].item() == pytest.approx(1)
    with pytest.raises(RuntimeError, match="AveragePool"):
        openvino.compile_model(openvino.Core().read_model(model), "CPU")


def test_the_antialias_of_openvino_is_another() -> None:
    """Fails when OpenVINO antialiases as ONNX Runtime does: then nothing has to be replaced for it."""
    node = helper.make_node(
        "Resize", ["x", "", "", "s"], ["y"], mode="cubic", antialias=1, cubic_coeff_a=-0.5, exclude_outside=1
    )
    image, shape = np.random.default_rng(0).normal(size=(1, 1, 7, 7)).astype("float32"), [1, 1, None, None]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    size = helper.make_tensor("s", TensorProto.INT64, [4], [1, 1, 3, 3])
    graph = helper.make_graph([node], "resize", values[:1], values[1:], [size])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()
    (right,) = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": image})
    core = openvino.Core()
    found = core.compile_model(core.read_model(model), "CPU")([image])[0]
    assert np.abs(found - right).max() > 0.1
