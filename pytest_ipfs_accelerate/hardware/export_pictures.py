"""Pictures of several sizes packed into one sequence of patches, which models take apart in Python loops, for the time of a
trace.

A trace unrolls such a loop for its own number of pictures and takes their sizes for constants. Where each patch lies is
computed here from the table of sizes (``grid``: pictures × frames, rows, columns) for all pictures at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.exporters.utils import patch_attributes, register_export_input_preparer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs
from transformers.vision_utils import (
    get_vision_attention_seqlens,
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from .export_registry import replaces
from .export_resize import weights_of

Block = int | Tensor
"""The side of the blocks in which the patches of a picture follow one another, 1 for row after row; of a tensor, that of each
patch."""


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Patches of packed pictures, all of (patches): the number of the picture, of the frame, the row and the column."""

    grid: Tensor
    picture: Tensor
    frame: Tensor
    row: Tensor
    column: Tensor

    def sides(self) -> tuple[Tensor, Tensor]:
        """Rows and columns of the picture of each patch."""
        return self.grid[:, 1][self.picture], self.grid[:, 2][self.picture]

    def at(self, row: Tensor, column: Tensor) -> Patches:
        """The patches at other places of the same frames."""
        return Patches(self.grid, self.picture, self.frame, row, column)

    def of(self, grid: Tensor) -> Patches:
        """The patches at the same places of pictures of other sizes."""
        return Patches(grid, self.picture, self.frame, self.row, self.column)

    def index(self, block: Block) -> Tensor:
        """Where each lies in a sequence of such blocks."""
        first = self.grid.prod(1).cumsum(0) - self.grid.prod(1)
        height, width = self.sides()
        start = first[self.picture] + self.frame * height * width
        whole = (self.row // block) * (width // block) + self.column // block
        return start + whole * block * block + (self.row % block) * block + self.column % block


def patches_of(grid: Tensor, count: Any, block: int = 1) -> Patches:
    """What lies where in a sequence of ``count`` patches in such blocks."""
    place = torch.arange(count, device=grid.device)
    length = grid.prod(1)
    ends = length.cumsum(0)
    picture = (place[:, None] >= ends[None, :]).sum(-1)
    inside = place - (ends - length)[picture]
    height, width = grid[:, 1][picture], grid[:, 2][picture]
    frame, inside = inside // (height * width), inside % (height * width)
    whole, inside = inside // (block * block), inside % (block * block)
    across = width // block
    row = (whole // across) * block + inside // block
    column = (whole % across) * block + inside % block
    return Patches(grid, picture, frame, row, column)


@replaces("paddleocr_vl.modeling_paddleocr_vl.PaddleOCRProjector.forward")
def blocks_projected_at_once(original: Any) -> Any:
    """The patches of each picture are merged by blocks in a loop over the pictures."""

    def forward(self: Any, image_features: Tensor, image_grid_thw: Tensor) -> Any:
        (side, _), width = self.merge_kernel_size, image_features.shape[-1]
        order = patches_of(image_grid_thw, image_features.shape[0], side).index(1)
        merged = self.pre_norm(image_features)[order].reshape(-1, side * side * width)
        return self.linear_2(self.act(self.linear_1(merged)))

    return forward


@replaces("video_llama_3.modeling_video_llama_3.VideoLlama3VisionModel.pixel_unshuffle")
def unshuffled_at_once(original: Any) -> Any:
    """Each picture is made smaller by its own factor in a loop. A bilinear sample of every ``n`` patches is the middle one, or
    between the two in the middle."""

    def pixel_unshuffle(self: Any, hidden_states: Tensor, grid_thw: Tensor, merge_sizes: Tensor) -> Tensor:
        smaller = torch.cat([grid_thw[:, :1], grid_thw[:, 1:] // merge_sizes[:, None]], dim=1)
        count = smaller.prod(1).sum().item()
        torch._check(count > 1)  # type: ignore[no-untyped-call]
        patches = patches_of(smaller, count)
        factor = merge_sizes[patches.picture]
        rows, columns = (
            [place * factor + (factor - 1) // 2, place * factor + factor // 2]
            for place in (patches.row, patches.column)
        )
        larger = patches.of(grid_thw)
        read = [hidden_states[larger.at(row, column).index(factor)] for row in rows for column in columns]
        return torch.stack(read).mean(0)

    return pixel_unshuffle


@replaces("lfm3_vl.modeling_lfm3_vl.Lfm3VlVisionShortConv.forward")
def convolved_at_once(original: Any) -> Any:
    """Each picture is convolved on its own grid, in a loop. Each patch reads its neighbours instead, which may lie anywhere in
    the sequence. ``grid_thw`` is the table here: see :func:`grid_stays_a_table`."""

    def forward(self: Any, hidden_states: Tensor, grid_thw: Tensor, **kwargs: Any) -> Any:
        input_gate, output_gate, conv_input = self.in_proj(hidden_states).chunk(3, dim=-1)
        gated, block = input_gate * conv_input, self.spatial_merge_size
        patches = patches_of(grid_thw, gated.shape[0], block)
        weight = self.spatial_conv.weight[:, 0]
        reach, (height, width) = weight.shape[-1] // 2, patches.sides()
        found = torch.zeros_like(gated)
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                row, column = patches.row + down, patches.column + right
                inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                neighbour = patches.at(torch.where(inside, row, 0), torch.where(inside, column, 0)).index(block)
                read = torch.where(inside[:, None], gated[neighbour], 0.0)
                found = found + read * weight[:, reach + down, reach + right]
        return self.out_proj(output_gate * found)

    return forward


@replaces("lfm3_vl.modeling_lfm3_vl.Lfm3VlVisionModel.forward")
def grid_stays_a_table(original: Any) -> Any:
    """The table of sizes is read with ``tolist()`` for the convolutions: :func:`convolved_at_once` takes it as it is."""

    @merge_with_config_defaults  # type: ignore[untyped-decorator]
    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(self: Any, pixel_values: Tensor, grid_thw: Tensor, **kwargs: Any) -> Any:
        position_ids = get_vision_position_ids(grid_thw, self.spatial_merge_size, kwargs=kwargs)
        lengths, longest = get_vision_attention_seqlens(grid_thw, self.config, kwargs=kwargs)
        hidden = self.embedding_norm(self.patch_embed(pixel_values))
        positions = self.rotary_pos_emb(hidden, position_ids)
        for layer in self.layers:
            hidden = layer(
                hidden,
                cu_seqlens=lengths,
                grid_thw=grid_thw,
                max_seqlen=longest,
                position_embeddings=positions,
                **kwargs,
            )
        return BaseModelOutputWithPooling(last_hidden_state=hidden)

    return forward


@register_export_input_preparer("pixel_values", "image_grid_thw")  # type: ignore[untyped-decorator]
def prepare_inkling2(model: Any, inputs: dict[str, Any]) -> None:
    """The exporter works out before a trace what follows from the table of sizes of a tower that calls it ``grid_thw``. That of
    inkling2 calls it ``image_grid_thw``, in blocks, and puts a class token in front of each picture."""
    if type(model).__name__ != "Inkling2VisionModel":
        return
    merge, embeddings = model.config.spatial_merge_size, model.embeddings
    grid = inputs["image_grid_thw"].cpu() * torch.tensor([1, merge, merge])
    inputs["cu_seqlens"] = F.pad((grid.prod(-1) + 1).cumsum(0), (1, 0)).to(torch.int32)
    inputs["position_ids"] = get_vision_position_ids(grid, merge)
    inputs["interp_indices"], inputs["interp_weights"] = get_vision_interpolation_indices_and_weights(
        grid, num_grid_per_side=embeddings.grid_size, mode="bilinear", align_corners=False, spatial_merge_size=merge
    )


@replaces("inkling2.modeling_inkling2.Inkling2VisionModel.forward")
def pictures_numbered_by_place(original: Any) -> Any:
    """``repeat_interleave`` by the patches of each picture gives the number of the picture of each patch, and its length is not
    known to the trace: in the graph it was 0 patches. It is as long as there are patches."""

    @wraps(original)
    def forward(self: Any, pixel_values: Tensor, image_grid_thw: Tensor, **kwargs: Any) -> Any:
        place = torch.arange(pixel_values.shape[0] * self.config.spatial_merge_size**2)

        def by_place(repeat_interleave: Any) -> Any:
            def repeated(values: Tensor, repeats: Any, *args: Any, **kwargs: Any) -> Any:
                if not isinstance(repeats, Tensor):
                    return repeat_interleave(values, repeats, *args, **kwargs)
                return values[(place[:, None] >= repeats.cumsum(0)).sum(-1)]

            return repeated

        with patch_attributes([(torch, "repeat_interleave", by_place)]):
            return original(self, pixel_values, image_grid_thw, **kwargs)

    return forward


def sampled(table: Tensor, row: Tensor, column: Tensor, resized: tuple[Tensor, Tensor]) -> Tensor:
    """What a table (rows, columns, width) has at these places when it is resized, bilinear, to ``resized`` rows and columns:
    (places, width), of ``row``, ``column`` and the two of ``resized`` (places)."""
    (top, bottom, down), (left, right, across) = (
        (low := at.floor().long(), (low + 1).clamp(max=size - 1), (at - low)[:, None])
        for at, size in (
            (((place + 0.5) * size / side - 0.5).clamp(min=0), size)
            for place, side, size in zip((row, column), resized, table.shape[:2], strict=True)
        )
    )
    above = table[top, left] * (1 - across) + table[top, right] * across
    below = table[bottom, left] * (1 - across) + table[bottom, right] * across
    return above * (1 - down) + below * down


@replaces("radio.modeling_radio.RadioPatchEmbeddings._embed_packed_patches")
def embedded_at_once(original: Any) -> Any:
    """The positions of each picture are resized in a loop to its longer side and cut to its sides, read with ``tolist()``, and
    class tokens are put in front of each (nemotron_h_omni)."""

    def embed(self: Any, pixel_values: Tensor, image_grid_hw: Tensor) -> Tensor:
        patches, prefix = self.patch_projection(pixel_values), self.cls_register_token
        count, tokens = patches.shape[0], prefix.shape[0]
        at = patches_of(F.pad(image_grid_hw, (1, 0), value=1), count)
        table = self.position_embedding[0].float().reshape(self.max_rows, self.max_cols, -1)
        longer = image_grid_hw.amax(1)[at.picture]
        positions = sampled(table, at.row, at.column, (longer, longer))
        embedded = patches + positions.to(patches.dtype)
        place = torch.arange(count + image_grid_hw.shape[0] * tokens, device=patches.device)
        lengths = image_grid_hw.prod(1) + tokens
        ends = lengths.cumsum(0)
        picture = (place[:, None] >= ends[None, :]).sum(-1)
        inside = place - (ends - lengths)[picture]
        first = inside < tokens
        token = prefix[torch.where(first, inside, 0)]
        patch = embedded[torch.where(first, 0, place - (picture + 1) * tokens)]
        return torch.where(first[:, None], token, patch)[None]

    return embed


@replaces(
    "minicpm_ocr.modeling_minicpm_ocr.MiniCPMOcrMerger.forward",
    "minicpmv4_6.modeling_minicpmv4_6.MiniCPMV4_6Merger.forward",
    "minicpmv4_7.modeling_minicpmv4_7.MiniCPMV4_7Merger.forward",
)
def merged_in_one_list(original: Any) -> Any:
    """The patches of each picture are merged by blocks, and again, in a loop that gives a list for the model to concatenate.
    The list has one tensor here, of all pictures."""

    def forward(self: Any, hidden_states: Tensor, target_sizes: Tensor) -> list[Tensor]:
        (side, _), hidden = self.merge_kernel_size, hidden_states[0]
        grid = F.pad(target_sizes.long(), (1, 0), value=1)
        for mlp in self.mlp:
            order = patches_of(grid, hidden.shape[0], side).index(1)
            hidden = mlp(hidden[order].reshape(-1, side * side * hidden.shape[-1]))
            grid = torch.cat([grid[:, :1], grid[:, 1:] // side], dim=1)
        return [hidden]

    return forward


@replaces("hunyuan_vl.modeling_hunyuan_vl.HunYuanVLVisionPatchEmbed.forward")
def positions_sampled_at_once(original: Any) -> Any:
    """The positions of each picture are resized to its sides in a loop."""

    @wraps(original)
    def forward(self: Any, pixel_values: Tensor, grid_thw: Tensor) -> Any:
        if self.config.interpolate_mode != "bilinear":
            return original(self, pixel_values, grid_thw)
        conv, edge = self.patch_embedding, self.position_edge
        pixels = pixel_values.reshape(-1, conv.in_channels, self.patch_size, self.patch_size)
        patches = conv(pixels.to(conv.weight.dtype)).flatten(1)
        at = patches_of(grid_thw, patches.shape[0])
        table = self.position_embedding.weight[1:].reshape(edge, edge, -1).float()
        return (patches + sampled(table, at.row, at.column, at.sides()).to(patches.dtype))[None]

    return forward


@replaces("hunyuan_vl.modeling_hunyuan_vl.HunYuanVLVisionTransformer.forward")
def pictures_written_in_rows(original: Any) -> Any:
    """The patches of each picture are merged by blocks in a loop, and written as rows that end with a token of their own,
    between a first and a last one."""

    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(self: Any, pixel_values: Tensor, grid_thw: Tensor, **kwargs: Any) -> Any:
        hidden = self.embeddings(pixel_values, grid_thw)
        lengths, longest = get_vision_attention_seqlens(grid_thw, self.config, kwargs=kwargs)
        for layer in self.layers:
            hidden = layer(hidden, cu_seqlens=lengths, max_seqlen=longest, attention_mask=None, **kwargs)
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden, pooler_output=written_in_rows(self.patch_merger, hidden[0], grid_thw)[None]
        )

    return forward


def written_in_rows(merger: Any, patches: Tensor, grid: Tensor) -> Tensor:
    """What hunyuan_vl's ``merger`` makes of the patches (patches, width) of all pictures, which are stills of whole blocks:
    (tokens, width of the text)."""
    side = merger.spatial_merge_size
    order = patches_of(grid, patches.shape[0], side).index(1)
    blocks = merger.before_rms(patches)[order].reshape(-1, side, side, patches.shape[-1]).permute(0, 3, 1, 2)
    words = merger.mlp(merger.proj_out(merger.proj_act(merger.proj_conv(blocks))).flatten(1))
    height, width = grid[:, 1] // side, grid[:, 2] // side
    lengths = height * (width + 1) + 2
    count = lengths.sum().item()
    torch._check(count > 1)  # type: ignore[no-untyped-call]
    place, ends = torch.arange(count, device=grid.device), lengths.cumsum(0)
    picture = (place[:, None] >= ends[None, :]).sum(-1)
    inside = place - (ends - lengths)[picture] - 1
    first, last = inside < 0, inside == lengths[picture] - 2
    row, column = inside // (width[picture] + 1), inside % (width[picture] + 1)
    newline = column == width[picture]
    start = (height * width).cumsum(0) - height * width
    block = torch.where(first | last | newline, 0, start[picture] + row * width[picture] + column)
    text = torch.where(newline[:, None], merger.mlp(merger.image_newline), words[block])
    text = torch.where(last[:, None], merger.image_end, text)
    return merger.after_rms(torch.where(first[:, None], merger.image_begin, text))  # type: ignore[no-any-return]


@replaces("ernie4_5_vl_moe.modeling_ernie4_5_vl_moe.Ernie4_5_VLMoeVariableResolutionResamplerModel._temporal_slicing")
def frames_paired_at_once(original: Any) -> Any:
    """Every second frame of a film is put beside the one before it, and a still beside itself, in loops over both."""

    def slicing(self: Any, hidden_states: Tensor, grid_thw: Tensor) -> Tensor:
        frames = grid_thw[:, :1]
        words = grid_thw[:, 1:].prod(1, keepdim=True) // self.spatial_merge_size**2
        pairs = torch.cat([torch.where(frames == 1, 1, frames // 2), words, torch.ones_like(words)], dim=1)
        count = pairs.prod(1).sum().item()
        torch._check(count > 1)  # type: ignore[no-untyped-call]
        at = patches_of(pairs, count)
        words, frames = words[at.picture, 0], frames[at.picture, 0]
        ends = (grid_thw[:, 0] * (grid_thw[:, 1:].prod(1) // self.spatial_merge_size**2)).cumsum(0)
        first = (ends[at.picture] - frames * words) + 2 * at.frame * words + at.row
        return torch.cat([hidden_states[first], hidden_states[first + torch.where(frames > 1, words, 0)]], dim=-1)

    return slicing


@replaces("cosmos3_edge.modeling_cosmos3_edge.Cosmos3EdgeVisionEmbeddings.forward")
def positions_weighted_at_once(original: Any) -> Any:
    """The positions of each picture are resized to its sides in a loop, antialiased."""

    def forward(self: Any, pixel_values: Tensor, grid_thw: Tensor) -> Tensor:
        size = self.position_embedding_size
        embedded = self.patch_embedding(pixel_values.to(self.patch_embedding.weight.dtype))
        patches = patches_of(grid_thw, pixel_values.shape[0], self.config.spatial_merge_size)
        height, width = patches.sides()
        rows, columns = weights_of(patches.row, height, size), weights_of(patches.column, width, size)
        table = self.position_embedding.weight.reshape(size, size, -1)
        positions = torch.einsum("pr,pc,rcd->pd", rows, columns, table.float())
        return embedded + positions.to(table.dtype)  # type: ignore[no-any-return]

    return forward
