"""Packed pictures taken at once: the numbers of the loop over them, for another number of pictures and other sizes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import recipe
from torch import Tensor, nn
from traces import Call, Inputs, Make, check_needed, check_numbers
from transformers import RadioConfig
from transformers.exporters.utils import precompute_export_inputs
from transformers.models.cosmos3_edge.configuration_cosmos3_edge import Cosmos3EdgeVisionConfig
from transformers.models.cosmos3_edge.modeling_cosmos3_edge import Cosmos3EdgeVisionEmbeddings
from transformers.models.hunyuan_vl.configuration_hunyuan_vl import HunYuanVLVisionConfig
from transformers.models.hunyuan_vl.modeling_hunyuan_vl import HunYuanVLVisionPatchEmbed, HunYuanVLVisionTransformer
from transformers.models.lfm3_vl.configuration_lfm3_vl import Lfm3VlVisionConfig
from transformers.models.lfm3_vl.modeling_lfm3_vl import Lfm3VlVisionShortConv
from transformers.models.minicpm_ocr.modeling_minicpm_ocr import MiniCPMOcrMerger
from transformers.models.minicpmv4_6.modeling_minicpmv4_6 import MiniCPMV4_6Merger
from transformers.models.minicpmv4_7.modeling_minicpmv4_7 import MiniCPMV4_7Merger
from transformers.models.paddleocr_vl.modeling_paddleocr_vl import PaddleOCRProjector
from transformers.models.radio.modeling_radio import RadioPatchEmbeddings

from pytest_ipfs_accelerate.hardware.export_pictures import patches_of, prepare_inkling2
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint


def grid_of(pictures: int, length: int) -> Tensor:
    sizes = [(1, 4, 6), (2, 6, 4), (1, 2, 2)] if length < 10 else [(3, 2, 8), (1, 4, 4), (1, 2, 6)]
    return torch.tensor(sizes[:pictures])


def patches(pictures: int, length: int) -> tuple[Tensor, ...]:
    grid = grid_of(pictures, length)
    return torch.randn(int(grid.prod(1).sum()), 4), grid


def pictures_without_frames(pictures: int, length: int) -> tuple[Tensor, ...]:
    grid = grid_of(pictures, length)[:, 1:]
    return torch.randn(int(grid.prod(1).sum()), 12), grid


def paddle(function: Any) -> Call:
    vision, text = SimpleNamespace(spatial_merge_size=2, hidden_size=4), SimpleNamespace(hidden_size=8)
    projector = PaddleOCRProjector(SimpleNamespace(vision_config=vision, text_config=text))  # type: ignore[arg-type]
    return lambda features, grid: function(projector, features, grid)


def unshuffle(function: Any) -> Call:
    return lambda hidden, grid, factors: function(None, hidden, grid, factors)


def convolution(function: Any) -> Call:
    config = Lfm3VlVisionConfig(hidden_size=4, spatial_merge_size=2, num_attention_heads=1)
    module = Lfm3VlVisionShortConv(config, 0)
    ours = function.__module__.startswith("pytest_ipfs")
    return lambda hidden, grid: function(module, hidden, grid if ours else grid.tolist())


def minicpm(function: Any, kind: Any = MiniCPMOcrMerger) -> Call:
    vision, text = SimpleNamespace(hidden_size=4), SimpleNamespace(hidden_size=8)
    config = SimpleNamespace(merge_kernel_size=(2, 2), merger_times=2, vision_config=vision, text_config=text)
    merger = kind(config)
    return lambda hidden, sizes: torch.cat(function(merger, hidden, sizes))


def pictures_of_fours(pictures: int, length: int) -> tuple[Tensor, ...]:
    sizes = torch.tensor([(4, 8), (8, 4), (12, 4)][:pictures], dtype=torch.int32)
    return torch.randn(1, int(sizes.prod(1).sum()), 4), sizes


def radio(function: Any) -> Call:
    module = RadioPatchEmbeddings(RadioConfig(hidden_size=8, patch_size=2, max_img_size=10, num_registers=2))
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return lambda pixels, grid: function(module, pixels, grid)


def hunyuan_config() -> HunYuanVLVisionConfig:
    sizes = {"hidden_size": 4, "text_hidden_size": 8, "patch_size": 2, "max_image_size": 10, "num_hidden_layers": 0}
    return HunYuanVLVisionConfig(**sizes)  # type: ignore[arg-type]


def drawn(module: nn.Module) -> Any:
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def hunyuan_embeddings(function: Any) -> Call:
    module = drawn(HunYuanVLVisionPatchEmbed(hunyuan_config()))
    return lambda pixels, grid: function(module, pixels, grid)


class Given(nn.Module):
    """Embeddings that are given."""

    def forward(self, hidden: Tensor, grid: Tensor) -> Tensor:
        return hidden[None]


def hunyuan(function: Any) -> Call:
    """The tower without the layers whose attention takes pictures apart, which is replaced by itself."""
    tower = drawn(HunYuanVLVisionTransformer(hunyuan_config()))
    tower.embeddings = Given()
    return lambda hidden, grid: function(tower, hidden, grid)["pooler_output"]


def cosmos(function: Any) -> Call:
    config = Cosmos3EdgeVisionConfig(hidden_size=4, num_channels=3, patch_size=2, num_patches=25, spatial_merge_size=2)
    module = drawn(Cosmos3EdgeVisionEmbeddings(config))
    return lambda pixels, grid: function(module, pixels, grid)


def stills(pictures: int, length: int) -> tuple[Tensor, ...]:
    sizes = [(1, 4, 6), (1, 6, 4), (1, 4, 4)] if length < 10 else [(1, 4, 8), (1, 6, 6), (1, 4, 6)]
    grid = torch.tensor(sizes[:pictures])
    return torch.randn(int(grid.prod(1).sum()), 12), grid


def films(pictures: int, length: int) -> tuple[Tensor, ...]:
    """Films and a still, merged two by two; of an odd number of frames the last one is left out."""
    sizes = [(2, 4, 6), (1, 2, 4), (4, 2, 2)] if length < 10 else [(4, 2, 6), (3, 2, 2), (1, 2, 4)]
    grid = torch.tensor(sizes[:pictures])
    return torch.randn(int(grid.prod(1).sum()) // 4, 5), grid


CASES: dict[str, tuple[Make, Inputs]] = {
    "paddleocr_vl.modeling_paddleocr_vl.PaddleOCRProjector.forward": (paddle, patches),
    "video_llama_3.modeling_video_llama_3.VideoLlama3VisionModel.pixel_unshuffle": (
        unshuffle,
        lambda pictures, length: (*patches(pictures, length), torch.tensor([2, 1, 2])[:pictures]),
    ),
    "lfm3_vl.modeling_lfm3_vl.Lfm3VlVisionShortConv.forward": (convolution, patches),
    "minicpm_ocr.modeling_minicpm_ocr.MiniCPMOcrMerger.forward": (minicpm, pictures_of_fours),
    "minicpmv4_6.modeling_minicpmv4_6.MiniCPMV4_6Merger.forward": (
        lambda function: minicpm(function, MiniCPMV4_6Merger),
        pictures_of_fours,
    ),
    "minicpmv4_7.modeling_minicpmv4_7.MiniCPMV4_7Merger.forward": (
        lambda function: minicpm(function, MiniCPMV4_7Merger),
        pictures_of_fours,
    ),
    "hunyuan_vl.modeling_hunyuan_vl.HunYuanVLVisionPatchEmbed.forward": (hunyuan_embeddings, stills),
    "hunyuan_vl.modeling_hunyuan_vl.HunYuanVLVisionTransformer.forward": (
        hunyuan,
        lambda pictures, length: (stills(pictures, length)[0][:, :4], stills(pictures, length)[1]),
    ),
    "ernie4_5_vl_moe.modeling_ernie4_5_vl_moe.Ernie4_5_VLMoeVariableResolutionResamplerModel._temporal_slicing": (
        lambda function: lambda hidden, grid: function(SimpleNamespace(spatial_merge_size=2), hidden, grid),
        films,
    ),
    "cosmos3_edge.modeling_cosmos3_edge.Cosmos3EdgeVisionEmbeddings.forward": (
        cosmos,
        lambda pictures, length: (patches(pictures, length)[0].repeat(1, 3), grid_of(pictures, length)),
    ),
    "radio.modeling_radio.RadioPatchEmbeddings._embed_packed_patches": (radio, pictures_without_frames),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


@pytest.mark.parametrize("path", CASES)
@torch.no_grad()
def test_pictures_at_once_are_those_of_the_loop(path: str) -> None:
    check_numbers(path, *CASES[path], [(1, 5), (3, 5), (3, 37)])


@pytest.mark.parametrize("path", CASES)
@torch.no_grad()
def test_the_loop_takes_no_other_pictures(path: str) -> None:
    check_needed(path, *CASES[path])


@pytest.mark.parametrize("block", [1, 2])
def test_a_patch_lies_where_its_index_says(block: int) -> None:
    grid = grid_of(3, 5)
    count = int(grid.prod(1).sum())
    found = patches_of(grid, count, block)
    assert found.index(block).tolist() == list(range(count))
    assert sorted(found.index(1).tolist()) == list(range(count))
    assert (found.index(1).tolist() == list(range(count))) is (block == 1)


@torch.no_grad()
def test_inkling2_is_prepared_as_it_prepares_itself() -> None:
    tower = build_checkpoint(recipe("inkling2", "feature-extraction")).model.vision_tower
    side = tower.config.patch_size * tower.config.spatial_merge_size
    inputs = {"pixel_values": torch.randn(10, side, side, 3), "image_grid_thw": torch.tensor([[1, 2, 3], [1, 2, 2]])}
    prepared = dict(inputs)
    prepare_inkling2(tower, prepared)
    assert prepared.keys() - inputs.keys() == {"cu_seqlens", "position_ids", "interp_indices", "interp_weights"}
    assert torch.equal(tower(**prepared).pooler_output, tower(**inputs).pooler_output)
    found = dict(inputs)
    precompute_export_inputs(tower, found)
    assert found.keys() == prepared.keys()
