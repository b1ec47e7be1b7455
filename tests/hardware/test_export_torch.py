"""The components of a model for hardware that exports them when they are called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import job
from torch import nn
from torch.utils import _pytree as pytree
from transformers.exporters.metadata import ExportMetadata

from pytest_ipfs_accelerate.hardware import export_torch
from pytest_ipfs_accelerate.hardware.export_torch import (
    TorchComponent,
    TorchProgram,
    export_call,
    flat_call,
    in_order,
    torch_program,
)
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.opening import open_task


def program_of(model: str, task: str) -> TorchProgram:
    case = job(model, task, "apple")
    found = open_task(case, build_checkpoint(case.recipe))
    return torch_program(found.checkpoint, found.encode(list(found.samples())), generates=found.generates)


def test_inputs_keep_the_order_of_the_call() -> None:
    def exporter(model: Any, inputs: dict[str, Any]) -> Any:
        return model, {"positions": 2, "more": 4, "lengths": inputs["lengths"]}, {}

    given = {"lengths": 1, "positions": 2, "more": 3}
    assert list(exporter(None, given)[1]) != list(given)
    _, prepared, _ = in_order(exporter)(None, given)
    assert list(prepared.items()) == [("lengths", 1), ("positions", 2), ("more", 4)]


class RNNTDecoderCache:
    """As parakeet's: of no base class, and not of the module of the model that takes it."""

    def __init__(self) -> None:
        self.state = torch.ones(2, 3)


def test_a_cache_of_another_module_is_tensors() -> None:
    module, metadata = nn.Identity(), ExportMetadata(kwargs={"cache": {"container": "Cache"}})
    component = TorchComponent(module, "", metadata, {}, module)
    assert pytree.tree_leaves(cache := RNNTDecoderCache()) == [cache]
    assert [tensor.shape for tensor in flat_call(component, {"cache": cache}).tensors] == [(2, 3)]


def test_a_part_inside_another_is_no_component(monkeypatch: pytest.MonkeyPatch) -> None:
    """idefics' tower for pictures lies in its language model: the driver would never call it. pp_formulanet's decoder lies in
    what is taken for its tower for pictures, and for one for sound."""
    assert set(program_of("idefics", "image-text-to-text").components) == {"language_model", "lm_head", "decode"}
    formulas = {"image_encoder", "lm_head", "decode", "encoder"}
    assert set(program_of("pp_formulanet", "image-text-to-text").components) == formulas
    monkeypatch.setattr(export_torch, "_outermost", lambda model, parts: parts)
    assert "image_encoder" in program_of("idefics", "image-text-to-text").components
    assert "language_model" in program_of("pp_formulanet", "image-text-to-text").components


def test_a_step_that_reads_no_cache_is_no_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    """evolla's forward gives its cache to nobody: each step reads all that there is so far."""
    assert "decode" not in program_of("evolla", "image-text-to-text").components
    assert "decode" in program_of("idefics", "image-text-to-text").components
    monkeypatch.setattr(export_torch, "in_decode", lambda arguments: True)
    assert "decode" in program_of("evolla", "image-text-to-text").components


@torch.no_grad()
def test_the_experts_of_a_decoder_alone_are_multiplied_in_batches() -> None:
    """How diffusion_gemma's are stands in the config of its text, which its decoder does not know: grouped ones count their
    tokens by a histogram."""
    case = job("diffusion_gemma", "feature-extraction", "apple")
    task = open_task(case, build_checkpoint(case.recipe))
    inputs = task.encode(list(task.samples()))
    components = torch_program(task.checkpoint, inputs, generates=False).components.values()
    (component,) = (each for each in components if each.module == "decoder")
    calls: list[Any] = []
    hook = component.model.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append(kwargs), with_kwargs=True
    )
    task.checkpoint.model(**inputs)
    hook.remove()

    def counts(component: TorchComponent) -> bool:
        program, _ = export_call(component, flat_call(component, calls[0]))
        return any("histc" in str(node.target) for node in program.graph.nodes)

    assert not counts(component)
    assert counts(replace(component, root=component.model)), "the decoder alone knows its experts now"
