"""Equal numbers keep their order; it is needed as long as OpenVINO sorts them otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from onnx import TensorProto, helper

from pytest_ipfs_accelerate.hardware.export_patches import patched
from pytest_ipfs_accelerate.hardware.export_ties import sorted_in_order


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("kind", [torch.long, torch.int32, torch.bool])
def test_the_order_is_that_of_a_stable_sort(descending: bool, dim: int, kind: torch.dtype) -> None:
    torch.manual_seed(7)
    numbers = torch.randint(-2, 3, (5, 40)).to(kind)
    found = sorted_in_order(torch.argsort)(numbers, dim=dim, descending=descending)
    assert torch.equal(found, torch.argsort(numbers.int(), dim=dim, descending=descending, stable=True))


@pytest.mark.parametrize("descending", [False, True])
def test_the_largest_number_stays_the_largest(descending: bool) -> None:
    numbers = torch.tensor([torch.iinfo(torch.int64).max, 0, 7, torch.iinfo(torch.int64).min + 1])
    found = sorted_in_order(torch.argsort)(numbers, descending=descending)
    assert torch.equal(found, torch.argsort(numbers, descending=descending))


def test_a_sort_of_keys_that_differ_need_not_be_stable() -> None:
    """The exporter leaves a stable one without its shape, and onnxscript does not translate it."""
    calls: list[Any] = []
    argsort = sorted_in_order(lambda *args, **kwargs: calls.append(kwargs))  # type: ignore[arg-type, return-value]
    argsort(torch.tensor([1, 0, 1]), stable=True)
    assert calls == [{"dim": -1, "descending": False}]


def test_other_numbers_go_the_old_way() -> None:
    calls: list[Any] = []
    argsort = sorted_in_order(lambda *args, **kwargs: calls.append((args, kwargs)))  # type: ignore[arg-type, return-value]
    numbers = torch.randn(4)
    argsort(numbers, descending=True)
    assert calls == [((numbers,), {"dim": -1, "descending": True})]


def test_it_is_replaced_for_the_time_of_a_trace() -> None:
    original = torch.argsort
    with patched():
        assert torch.argsort is not original
    assert torch.argsort is original


def test_openvino_orders_equal_numbers_otherwise() -> None:
    """Where this fails, OpenVINO keeps them in order: the replacement can go."""
    count, random = 20, np.random.default_rng(7)
    node = helper.make_node("TopK", ["x", "k"], ["values", "order"], axis=1)
    graph = helper.make_graph(
        [node],
        "sort",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [2, count])],
        [helper.make_tensor_value_info("order", TensorProto.INT64, [2, count])],
        [helper.make_tensor("k", TensorProto.INT64, [1], [count])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    reference = onnxruntime.InferenceSession(model)
    compiled = openvino.compile_model(openvino.Core().read_model(model), "CPU")
    same = []
    for mask in random.integers(0, 2, (10, 2, count)):
        order = np.argsort(-mask, axis=1, kind="stable").tolist()
        assert reference.run(None, {"x": mask})[0].tolist() == order
        same.append(compiled([mask])[0].tolist() == order)
    assert not all(same)
