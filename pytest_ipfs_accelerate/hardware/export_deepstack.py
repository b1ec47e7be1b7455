"""What a picture gives to later layers of a language model (deepstack), which is picked by a mask, for the time of a trace.

How many tokens a mask picks depends on data: Qualcomm's HTP has no ``NonZero``. Here nothing is picked.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor

from .export_registry import replaces


@replaces(
    "qwen3_vl.modeling_qwen3_vl.Qwen3VLTextModel._deepstack_process",
    "qwen3_vl_moe.modeling_qwen3_vl_moe.Qwen3VLMoeTextModel._deepstack_process",
    "qwen3_omni_moe.modeling_qwen3_omni_moe.Qwen3OmniMoeThinkerTextModel._deepstack_process",
    "qwen3_omni_moe.modeling_qwen3_omni_moe.Qwen3OmniMoeTalkerModel._deepstack_process",
    "cohere_compass.modeling_cohere_compass.CohereCompassTextModel._deepstack_process",
    "granite_docling.modeling_granite_docling.GraniteDoclingTextModel._deepstack_process",
)
def added_in_place(original: Any) -> Any:
    """It is added to the tokens where a mask is true."""

    def process(self: Any, hidden_states: Tensor, visual_pos_masks: Tensor, visual_embeds: Tensor) -> Tensor:
        number = visual_pos_masks.flatten().cumsum(0) - 1
        given = visual_embeds.to(hidden_states.dtype)[number.clamp(min=0)].view_as(hidden_states)
        return torch.where(visual_pos_masks[..., None], hidden_states + given, hidden_states)

    return process


@replaces("granite4_vision.modeling_granite4_vision.Granite4VisionTextModel.forward")
def added_before_layers(original: Any) -> Any:
    """As :func:`added_in_place`, in the loop over the layers: each layer that is given something adds it to its input."""

    @wraps(original)
    def forward(self: Any, *args: Any, vision_mask: Any = None, deepstack_features: Any = None, **kwargs: Any) -> Any:
        process, given = added_in_place(None), deepstack_features or {}

        def added(features: Tensor, layer: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return process(layer, inputs[0], vision_mask[..., 0], features), *inputs[1:]

        with ExitStack() as hooks:
            for place, layer in enumerate(self.layers):
                if place in given:
                    hooks.callback(layer.register_forward_pre_hook(partial(added, given[place])).remove)
            return original(self, *args, **kwargs)

    return forward
