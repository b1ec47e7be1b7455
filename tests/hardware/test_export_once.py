"""A graph that is not traced again gives what one that is gives; what it cannot take goes the old way."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.onnx._internal.exporter import _fx_passes
from torch.onnx._internal.exporter._registration import ONNXRegistry
from torch.onnx._internal.fx.passes import type_promotion

from pytest_ipfs_accelerate.hardware import export_once
from pytest_ipfs_accelerate.hardware.export_patches import patched


class Spelled(torch.nn.Module):
    """Every spelling, casts that do something and that do nothing, and types that must be made explicit."""

    def forward(self, x: Tensor, whole: Tensor) -> dict[str, Tensor]:
        even, small = whole % 2 == 0, whole < 3
        return {
            "and": even & small,
            "or": even | small,
            "xor": even ^ small,
            "least": torch.min(x, x.flip(-1)),
            "most": torch.max(x, x.flip(-1)),
            "cast": x.to(torch.float16).to(torch.float32) + whole.to(x.dtype),
            "nothing": x.to(torch.float32).to("cpu") * 2,
            "divided": whole / 2,
            "mixed": x * whole + 1,
            "summed": even.sum(-1),
        }


class Given(torch.nn.Module):
    """One whose outputs are what a cast or a ``detach`` makes of another."""

    def forward(self, x: Tensor, whole: Tensor) -> dict[str, Tensor]:
        y = x * 2
        return {
            "y": y,
            "float": (x + 1).float(),
            "detached": (y - 1).detach(),
            "twice": y.to(torch.float32),
            "whole": whole.to(torch.int64),
        }


class Written(torch.nn.Module):
    """One that writes in place, into a view."""

    def forward(self, x: Tensor, whole: Tensor) -> dict[str, Tensor]:
        y = x * 2
        y[:, 1:].add_(whole[:, :1])
        return {"y": y}


INPUTS = (torch.randn(2, 5), torch.arange(10).reshape(2, 5))
OTHER = (torch.randn(3, 4), torch.arange(12).reshape(3, 4) * 3)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often torch's own code is called in a trace: a second trace, and a node that is run."""
    counts: Counter[str] = Counter()
    for owner, name in (
        (_fx_passes, "decompose_with_registry"),
        (type_promotion._TypePromotionInterpreter, "run_node"),
    ):
        original = getattr(owner, name)

        def counted(*args: Any, name: str = name, original: Any = original) -> Any:
            counts[name] += 1
            return original(*args)

        monkeypatch.setattr(owner, name, counted)
    return counts


def exported(module: torch.nn.Module) -> Any:
    free = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    program = torch.export.export(module, INPUTS, dynamic_shapes=(free, free), strict=False)
    return torch.onnx.export(program, args=(), verbose=False, optimize=False)


def outputs(program: Any, inputs: tuple[Tensor, ...]) -> list[Any]:
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return list(session.run(None, {name: given.numpy() for name, given in zip(names, inputs, strict=True)}))


def agree(found: list[Any], expected: list[Any]) -> bool:
    return all(
        one.dtype == other.dtype and one.shape == other.shape and np.allclose(one, other, atol=1e-6)
        for one, other in zip(found, expected, strict=True)
    )


@torch.no_grad()
def test_a_graph_that_is_respelled_gives_the_same_and_is_not_traced_again(calls: Counter[str]) -> None:
    with patched():
        program = exported(Spelled())
    assert calls["decompose_with_registry"] == 0
    assert calls["run_node"] <= len(INPUTS) + 2  # the placeholders and the outputs
    expected = [value.numpy() for value in Spelled()(*OTHER).values()]
    assert agree(outputs(program, OTHER), expected)
    calls.clear()
    without = exported(Spelled())
    assert calls["decompose_with_registry"] == 1
    assert calls["run_node"] > 20
    assert agree(outputs(without, OTHER), expected)
    kinds = [Counter(node.op_type for node in each.model.graph) for each in (program, without)]
    assert kinds[0] - kinds[1] == Counter()


@torch.no_grad()
def test_what_is_given_is_found_by_its_name(calls: Counter[str]) -> None:
    with patched():
        program = exported(Given())
    assert calls["decompose_with_registry"] == 0
    assert agree(outputs(program, OTHER), [value.numpy() for value in Given()(*OTHER).values()])


@torch.no_grad()
def test_what_writes_in_place_is_traced_again(calls: Counter[str]) -> None:
    with patched():
        program = exported(Written())
    assert calls["decompose_with_registry"] == 1
    assert agree(outputs(program, OTHER), [Written()(*OTHER)["y"].numpy()])


@pytest.mark.parametrize(("name", "stays"), [("_native_batch_norm_legit", False), ("relu", True)])
def test_what_is_translated_and_writes_in_place_is_traced_again(name: str, stays: bool) -> None:
    """A batch normalisation in training moves its running mean."""
    target = getattr(torch.ops.aten, name).default
    translated = {found[0].fx_target for found in ONNXRegistry.from_torchlib().functions.values()}
    assert target in translated
    graph = torch.fx.Graph()
    node = graph.call_function(target, (graph.placeholder("x"),))
    node.meta["val"] = torch.zeros(1)
    assert export_once.respelled_or_translated(node, translated) is stays


@pytest.mark.parametrize("spelling", export_once.SPELLINGS)
def test_a_spelling_is_one_that_onnxscript_lacks(spelling: Any) -> None:
    """Where this fails, onnxscript translates the operator itself, and the spelling can go."""
    translated = {found[0].fx_target for found in ONNXRegistry.from_torchlib().functions.values()}
    assert spelling not in translated
    assert export_once.SPELLINGS[spelling] in translated
    assert not {*export_once.CASTS} & translated


def test_what_is_removed_is_what_torch_removes() -> None:
    graph = torch.fx.Graph()
    value = graph.placeholder("x")
    for target in export_once.REMOVED:
        graph.call_function(target, (value,))
    graph.output(value)
    left = _fx_passes.remove_assertion_nodes(torch.fx.GraphModule(torch.nn.Module(), graph))
    assert [node.op for node in left.graph.nodes] == ["placeholder", "output"]
