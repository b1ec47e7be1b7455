"""Masks that are always made: the numbers of those that a model makes when its data says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from traces import both, check_needed, same, shapes_depend_on_data
from transformers import (
    EomtConfig,
    EomtDinov3Config,
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
    OneFormerConfig,
)
from transformers.models.oneformer.modeling_oneformer import OneFormerTransformerDecoderLayer

from pytest_ipfs_accelerate.hardware import export_masks
from pytest_ipfs_accelerate.hardware.export_registry import PATCHES

KINDS = {
    "eomt.modeling_eomt.EomtForUniversalSegmentation.forward": (EomtForUniversalSegmentation, EomtConfig),
    "eomt_dinov3.modeling_eomt_dinov3.EomtDinov3ForUniversalSegmentation.forward": (
        EomtDinov3ForUniversalSegmentation,
        EomtDinov3Config,
    ),
}
OUTPUTS = ("masks_queries_logits", "class_queries_logits", "last_hidden_state")


def segmenter(path: str, *probabilities: float) -> Any:
    """What makes a call of three blocks, the last two of which mask what their queries see with these probabilities."""
    kind, config = KINDS[path]
    sizes = {"image_size": 32, "patch_size": 8, "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2}
    depth = {"num_hidden_layers": 3, "num_blocks": 2, "num_upscale_blocks": 1, "num_queries": 3}

    def make(function: Any) -> Any:
        model = kind(config(**sizes, **depth)).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
        model.attn_mask_probs.copy_(torch.tensor(probabilities))

        def call(pictures: Tensor) -> list[Tensor]:
            torch.manual_seed(3)
            found = function(model, pictures)
            assert not model.training
            assert "_disable_attention_mask" not in vars(model)
            return [found[name] for name in OUTPUTS]

        return call

    return make


def pictures(batch: int, length: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, 3, 32, 32),)


@pytest.mark.parametrize("path", KINDS)
@torch.no_grad()
def test_the_masks_are_those_that_the_checkpoint_asks_for(path: str) -> None:
    given, seen = pictures(2, 1), []
    for probabilities in ((1.0, 1.0), (0.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.5, 0.5)):
        expected, found = both(path, segmenter(path, *probabilities))
        seen.append(found(*given))
        assert same(seen[-1], expected(*given))
    assert not same(seen[0], seen[2])
    assert not same(seen[1], seen[2])
    assert not same(seen[3], seen[2])


@pytest.mark.parametrize("path", KINDS)
def test_a_model_is_left_as_it_was(path: str) -> None:
    model = KINDS[path][0].__new__(KINDS[path][0])
    nn.Module.__init__(model)

    def fails(self: Any) -> None:
        assert self.training
        assert isinstance(self._disable_attention_mask, export_masks.Masked)
        raise RuntimeError

    for training in (True, False):
        with pytest.raises(RuntimeError):
            PATCHES[path](fails)(model.train(training))
        assert model.training is training
        assert "_disable_attention_mask" not in vars(model)


@pytest.mark.parametrize("path", KINDS)
@torch.no_grad()
def test_a_trace_does_not_read_what_the_checkpoint_asks_for(path: str) -> None:
    check_needed(path, segmenter(path, 1.0, 1.0), pictures)


CPMANT = "cpmant.modeling_cpmant.CpmAntModel._prepare_attention_mask"


def masked(function: Any) -> Any:
    """The mask of texts behind a prompt of two tokens."""
    return lambda *inputs: function(SimpleNamespace(prompt_length=2), *inputs)


def texts(batch: int, length: int) -> tuple[Tensor, ...]:
    """Tokens, spans, what is context and lengths; the first text has padding on its left."""
    count = length + 2
    lengths = torch.tensor([length - 1] + [length] * (batch - 1))
    return (
        torch.zeros(batch, count),
        torch.arange(batch * count).view(batch, count) % 2,
        torch.ones(batch, count).int(),
        lengths,
    )


def test_cpmant_masks_texts_of_any_length() -> None:
    expected, found = both(CPMANT, masked)
    for batch, length in ((1, 4), (2, 3), (3, 9)):
        tokens, span, context, lengths = texts(batch, length)
        for given in (context, context * 0, context * (torch.rand(context.shape) > 0.5)):
            assert torch.equal(found(tokens, span, given, lengths), expected(tokens, span, given, lengths))
        assert not torch.equal(found(tokens, span, context, lengths - 1), expected(tokens, span, context, lengths))
    check_needed(CPMANT, masked, texts)


def decoder_layer(function: Any) -> Any:
    config = OneFormerConfig(hidden_dim=8, num_attention_heads=2, dim_feedforward=16)
    layer = OneFormerTransformerDecoderLayer(config).eval()

    def call(queries: Tensor, features: Tensor, hidden: Tensor) -> Any:
        return function(layer, 4, queries, [features] * 3, [features * 2] * 3, hidden > 0, queries, True)

    return call


def queries(batch: int, length: int) -> tuple[Tensor, ...]:
    """Of one of them all features are hidden in every head."""
    hidden = torch.randn(2 * batch, 3, length)
    hidden[1] = 1
    return torch.randn(3, batch, 8), torch.randn(length, batch, 8), hidden


@torch.no_grad()
def test_a_query_that_sees_nothing_sees_all() -> None:
    path = "oneformer.modeling_oneformer.OneFormerTransformerDecoderLayer.forward"
    expected, found = both(path, decoder_layer)
    given = queries(2, 5)
    assert same(found(*given), expected(*given))
    assert not same(found(*given), found(*given[:2], torch.ones_like(given[2])))
    assert not shapes_depend_on_data(found, given)
    assert shapes_depend_on_data(expected, given), "it asks for no places any more"
