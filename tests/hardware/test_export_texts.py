"""Texts taken at once: the numbers of the original, for another batch and another length."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from cases import recipe
from torch import Tensor
from traces import (
    Call,
    Inputs,
    Make,
    check_needed,
    check_numbers,
    original_of,
    same,
    shapes_depend_on_data,
    takes_another,
)
from transformers import XmodConfig
from transformers.models.udop.modeling_udop import get_visual_bbox
from transformers.models.xmod.modeling_xmod import XmodOutput

from pytest_ipfs_accelerate.hardware import export_texts  # noqa: F401 (registers what it replaces)
from pytest_ipfs_accelerate.hardware.export_patches import patched
from pytest_ipfs_accelerate.hardware.export_registry import PATCHES
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint


def texts(pictures: int, length: int) -> tuple[Tensor, ...]:
    """Classes of each picture, of which there are more or fewer, and a task that fills its length in the first one alone."""
    classes = torch.tensor([2, 3, 1][:pictures])
    count = int(classes.sum())
    tokens = torch.randint(5, 90, (count + pictures, length))
    lengths = torch.tensor([length, *range(2, 2 + pictures)][:pictures])
    mask = (torch.arange(length) < lengths[:, None]).long()
    return tokens[:count], torch.ones(count, length, dtype=torch.long), tokens[count:], mask, classes


@torch.no_grad()
def test_texts_are_embedded_as_one_by_one() -> None:
    torch.manual_seed(7)
    model: Any = build_checkpoint(recipe("omdet-turbo", "feature-extraction")).model
    for pictures, length in ((2, 4), (3, 6)):
        given = texts(pictures, length)
        expected = model.get_language_embedding(*given)
        with patched():
            assert same(model.get_language_embedding(*given), expected)
            assert not same(model.get_language_embedding(*texts(pictures, length))[:1], expected[:1])


@torch.no_grad()
def test_the_cache_takes_no_other_texts() -> None:
    """Where this fails, transformers or torch no longer has the fault: the replacement can go."""
    model: Any = build_checkpoint(recipe("omdet-turbo", "feature-extraction")).model
    with patched():
        assert takes_another(model.get_language_embedding, texts)
    assert not takes_another(model.get_language_embedding, texts)


@torch.no_grad()
@pytest.mark.parametrize("settings", [{}, {"ln_before_adapter": False}, {"adapter_layer_norm": True}])
def test_every_language_is_adapted_as_by_itself(settings: dict[str, bool]) -> None:
    config = XmodConfig(hidden_size=8, intermediate_size=8, languages=("en_XX", "de_DE", "fr_XX"), **settings)
    output = XmodOutput(config).eval()
    states = torch.randn(4, 3, 8)
    for languages in ([0, 2, 0, 1], [1, 1, 1, 1], [2, 0, 3, 3]):  # the last one has no adapter
        expected = output.lang_adapter(torch.tensor(languages), states.clone())
        with patched():
            assert same([output.lang_adapter(torch.tensor(languages), states.clone())], [expected])
        other = output.lang_adapter(torch.tensor(languages).flip(0), states.clone())
        assert torch.equal(other, expected) == (languages == languages[::-1])


@pytest.mark.parametrize("replaced", [True, False])
def test_how_many_texts_have_a_language_is_no_shape(replaced: bool) -> None:
    """Where this fails for the original, transformers no longer picks them: the replacement can go."""
    output = XmodOutput(XmodConfig(hidden_size=8, intermediate_size=8, languages=("en_XX", "de_DE"))).eval()
    with patched() if replaced else nullcontext():
        assert shapes_depend_on_data(output.lang_adapter, (torch.tensor([0, 1]), torch.randn(2, 3, 8))) is not replaced


def pooled(function: Any) -> Call:
    return lambda mask: function(None, mask, 4)


def pages(function: Any) -> Call:
    """Words on pages of nine patches."""
    return lambda patches, words, boxes, mask: function(
        patches, words.clone(), boxes, None, mask, num_patches=3, image_size=6, patch_size=2
    )


def words(batch: int, length: int) -> tuple[Tensor, ...]:
    """Two words stand nowhere, at 0 and at 1."""
    boxes = torch.rand(batch, length, 4)
    boxes[:, 0], boxes[:, 1] = 0.0, 1.0
    return torch.randn(batch, 9, 4), torch.randn(batch, length, 4), boxes, torch.ones(batch, length)


TEXTS: dict[str, tuple[Make, Inputs]] = {
    "canine.modeling_canine.CanineModel._downsample_attention_mask": (
        pooled,
        lambda batch, length: (torch.rand(batch, 4 * length + 3),),
    ),
    "udop.modeling_udop.combine_image_text_embeddings": (pages, words),
}


@pytest.mark.parametrize("path", TEXTS)
@torch.no_grad()
def test_a_text_at_once_is_that_of_the_loop(path: str) -> None:
    check_numbers(path, *TEXTS[path], [(1, 2), (2, 3), (3, 17)])


@pytest.mark.parametrize("path", TEXTS)
@torch.no_grad()
def test_the_loop_takes_no_other_text(path: str) -> None:
    check_needed(path, *TEXTS[path])


def test_a_word_gets_the_patch_it_stands_on_and_the_others_follow() -> None:
    combine = PATCHES["udop.modeling_udop.combine_image_text_embeddings"](
        original_of("udop.modeling_udop.pad_sequence")
    )
    patches = torch.arange(1.0, 10.0).view(1, 9, 1)
    embedded, boxes, mask = combine(
        patches, torch.zeros(1, 1, 1), torch.tensor([[[0.4, 0.4, 0.6, 0.6]]]), None, torch.ones(1, 1), 3, 0, 6, 2
    )
    assert embedded.flatten().tolist() == [5, 1, 2, 3, 4, 6, 7, 8, 9, 0]
    assert mask.tolist() == [[1] * 9 + [0]]
    assert torch.allclose(boxes[0, 1].float(), get_visual_bbox(6, 2)[0])


def test_a_mask_that_masks_nothing_is_written_out() -> None:
    """Where the last line fails, transformers no longer has the fault: the replacement can go."""
    path = "diffusion_gemma.modeling_diffusion_gemma.DiffusionGemmaDecoderModel.forward"
    asked: list[bool] = []
    forward = PATCHES[path](lambda self, mask: asked.append(bool(mask.all())))
    forward(None, torch.ones(2))
    assert asked == [False]
    assert bool(torch.ones(2).all())
    assert "decoder_attention_mask.all()" in inspect.getsource(
        original_of(path.replace("forward", "create_diffusion_decoder_attention_mask"))
    )
