"""What a picture gives to later layers: added where the original adds it, and nothing is picked."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn
from traces import Call, both, original_of, same, shapes_depend_on_data
from transformers import Granite4VisionTextConfig
from transformers.models.granite4_vision.modeling_granite4_vision import Granite4VisionTextModel

from pytest_ipfs_accelerate.hardware import export_deepstack  # noqa: F401 (registers what it replaces)
from pytest_ipfs_accelerate.hardware.export import _export
from pytest_ipfs_accelerate.hardware.export_patches import patched
from pytest_ipfs_accelerate.hardware.export_registry import PATCHES

DEEPSTACK = [path for path in PATCHES if path.endswith("._deepstack_process")]


class Deepstack(nn.Module):
    """What a picture gives is added to three of eight tokens, between two layers."""

    def __init__(self, process: Any) -> None:
        super().__init__()
        self.process = process
        torch.manual_seed(1)
        self.layer = nn.Linear(6, 6)

    def forward(self, hidden: Tensor, mask: Tensor, embeds: Tensor) -> Tensor:
        return self.layer(self.process(None, self.layer(hidden), mask, embeds))  # type: ignore[no-any-return]


def deepstack() -> dict[str, Tensor]:
    mask = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 0]]).bool()
    return {"hidden": torch.randn(2, 4, 6), "mask": mask, "embeds": torch.randn(3, 6)}


@pytest.mark.parametrize("path", DEEPSTACK)
def test_what_a_picture_gives_is_added_in_place(path: str) -> None:
    given, original = deepstack(), original_of(path)
    added = Deepstack(PATCHES[path](original))
    assert same(added(**given), Deepstack(original)(**given))
    assert not same(added(**given | {"embeds": given["embeds"].flip(0)}), Deepstack(original)(**given))
    given["mask"] = given["mask"].flip(1)
    assert same(added(**given), Deepstack(original)(**given))


def test_what_is_added_in_place_is_no_nonzero() -> None:
    """Where the first has none, the replacement can go."""
    path = DEEPSTACK[0]
    original = original_of(path)
    for process, found in ((original, True), (PATCHES[path](original), False)):
        with patched():
            graph = onnx.load_from_string(_export(Deepstack(process), deepstack(), "").onnx).graph
        assert any(node.op_type == "NonZero" for node in graph.node) is found


LAYERS = "granite4_vision.modeling_granite4_vision.Granite4VisionTextModel.forward"


def layered(function: Any) -> Call:
    """A language model of three layers, of which the first and the last are given something, and one that is not there."""
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 3, "vocab_size": 20}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    model = Granite4VisionTextModel(Granite4VisionTextConfig(**sizes, **heads)).eval()

    def call(embeds: Tensor, mask: Tensor, first: Tensor, last: Tensor) -> Tensor:
        given = {"vision_mask": mask[..., None], "deepstack_features": {0: first, 2: last, 3: first}}
        states: Tensor = function(model, inputs_embeds=embeds, use_cache=False, **given).last_hidden_state
        return states

    return call


@torch.no_grad()
def test_each_layer_adds_what_it_is_given() -> None:
    expected, replaced = both(LAYERS, layered)
    embeds, mask = torch.randn(2, 5, 8), torch.tensor([[0, 1, 1, 0, 1], [0, 0, 0, 1, 0]]).bool()
    first, last = torch.randn(4, 8), torch.randn(4, 8)
    assert same(replaced(embeds, mask, first, last), expected(embeds, mask, first, last))
    assert not same(replaced(embeds, mask, last, first), expected(embeds, mask, first, last))
    assert not same(replaced(embeds, mask.flip(1), first, last), expected(embeds, mask, first, last))


def test_how_many_tokens_a_layer_adds_to_is_no_shape() -> None:
    """Where this fails for the original, transformers no longer picks them: the replacement can go."""
    tensors = torch.randn(2, 4, 8), deepstack()["mask"], torch.randn(3, 8), torch.randn(3, 8)
    assert [shapes_depend_on_data(call, tensors) for call in both(LAYERS, layered)] == [True, False]
