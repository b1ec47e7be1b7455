"""Time series that a model takes one by one, and sounds that it cuts, for the time of a trace, which would unroll its own batch
and keep its own length."""

from __future__ import annotations

import inspect
import math
import sys
from functools import partial, wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.exporters.utils import patch_attributes
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .export_registry import replaces


@replaces(
    "timesfm.modeling_timesfm.TimesFmModelForPrediction.forward",
    "timesfm2_5.modeling_timesfm2_5.TimesFm2_5ModelForPrediction.forward",
)
def series_in_one_tensor(original: Any) -> Any:
    """The series of a batch are taken apart (``for ts in past_values``), padded one by one and stacked again. Series in one
    tensor stand here for one series whose steps hold the whole batch: see :func:`padded_at_once`."""

    @wraps(original)
    def forward(self: Any, past_values: Any, *args: Any, window_size: int | None = None, **kwargs: Any) -> Any:
        if isinstance(past_values, Tensor) and window_size is None:
            past_values = [past_values.T]
        return original(self, past_values, *args, window_size=window_size, **kwargs)

    return forward


@replaces(
    "timesfm.modeling_timesfm.TimesFmModelForPrediction._preprocess",
    "timesfm2_5.modeling_timesfm2_5.TimesFm2_5ModelForPrediction._preprocess",
)
def padded_at_once(original: Any) -> Any:
    """One series of steps × batch is padded to the context as every series of the batch is alone."""

    @wraps(original)
    def preprocess(self: Any, inputs: Any, freq: Any = None, context_len: int | None = None) -> Any:
        if len(inputs) != 1 or inputs[0].dim() == 1:
            return original(self, inputs, freq, context_len)
        series, context = inputs[0].T, context_len or self.context_len
        (batch, steps), horizon = series.shape, self.horizon_len
        front = max(context - steps, 0)
        padded = F.pad(series, (front, 0))[:, -context:]
        padding = F.pad(series.new_zeros(batch, steps + horizon), (front, 0), value=1.0)[:, -(context + horizon) :]
        if freq is None:
            return padded, padding
        return padded, padding, torch.as_tensor(freq, dtype=torch.int32).reshape(-1, 1).expand(batch, 1)

    return preprocess


@replaces(
    "autoformer.modeling_autoformer.create_bidirectional_mask", "informer.modeling_informer.create_bidirectional_mask"
)
def no_mask_of_nothing(original: Any) -> Any:
    """A trace gets a mask of zeros where the model itself has none. The encoder of informer makes its series shorter from layer
    to layer and never its mask, which is then of another size."""

    @wraps(original)
    def create_bidirectional_mask(*args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(original).bind(*args, **kwargs).arguments
        return None if given.get("attention_mask") is None else original(*args, **kwargs)

    return create_bidirectional_mask


@replaces("mimi.modeling_mimi.MimiModel.decode")
def cut_always(original: Any) -> Any:
    """A sound is cut to the length of its mask where it came out longer (``if``), which a trace of whole frames takes for
    never; so it does with a slice that cuts nothing there. The samples are picked."""

    @wraps(original)
    def decode(self: Any, audio_codes: Tensor, padding_mask: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        if padding_mask is None or not kwargs.get("return_dict", True):
            return original(self, audio_codes, padding_mask, *args, **kwargs)
        outputs = original(self, audio_codes, None, *args, **kwargs)
        length = padding_mask.shape[-1]
        if length <= outputs.audio_values.shape[-1]:
            outputs.audio_values = outputs.audio_values[..., torch.arange(length, device=audio_codes.device)]
        return outputs

    return decode


def running_statistics(patches: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the values of each patch and of those before it that are not masked: (batch, patches), of
    (batch, patches, length). Where there is none yet, 0."""
    valid = (~masked).to(patches.dtype)
    count = valid.sum(-1)
    mean = (patches * valid).sum(-1) / count.clamp(min=1.0)
    variance = ((patches - mean[..., None]) * valid).square().sum(-1) / count.clamp(min=1.0)
    total = count.cumsum(1).clamp(min=1.0)
    running = (count * mean).cumsum(1) / total
    # The spread within each patch and of the means of the patches: squares of large numbers would cancel each other.
    spread = count[:, None] * (variance[:, None] + (mean[:, None] - running[..., None]).square())
    return running, (spread.tril().sum(-1) / total).sqrt()


@replaces("timesfm2_5.modeling_timesfm2_5.TimesFm2_5Model.forward")
def statistics_at_once(original: Any) -> Any:
    """The statistics of a series up to each of its patches are updated in a loop over the patches, of which its context has
    512: the trace of it did not end within ten minutes."""
    module = sys.modules[original.__module__]

    @merge_with_config_defaults  # type: ignore[untyped-decorator]
    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(self: Any, past_values: Tensor, past_values_padding: Tensor | None = None, **kwargs: Any) -> Any:
        batch, steps = past_values.shape
        patches = past_values.view(batch, -1, self.config.patch_length)
        padding = torch.zeros_like(past_values) if past_values_padding is None else past_values_padding
        masked = padding[:, :steps].view(patches.shape) >= 0.5
        mean, deviation = running_statistics(patches, masked)
        normed = self._revin(patches, mean, deviation, reverse=False, mask=masked)
        hidden = self.input_ff_layer(torch.cat([normed, masked.to(normed.dtype)], dim=-1))
        behind = masked[..., -1]
        first = behind.int().sum(-1, keepdim=True)
        position_ids = torch.arange(hidden.shape[1], device=hidden.device)[None] - first
        attention_mask = module.create_causal_mask(self.config, hidden, (~behind).long(), past_key_values=None)
        positions = self.rotary_emb(hidden, position_ids)
        for layer in self.layers:
            hidden = layer(
                hidden,
                position_embeddings=positions,
                attention_mask=attention_mask,
                position_ids=position_ids,
                **kwargs,
            )
        return module.TimesFm2_5Output(
            last_hidden_state=hidden,
            loc=mean[:, -1],
            scale=deviation[:, -1].clamp(min=self.tolerance),
            context_mu=mean,
            context_sigma=deviation,
        )

    return forward


@replaces("vits.modeling_vits._unconstrained_rational_quadratic_spline")
def spline_of_all(original: Any) -> Any:
    """The spline is worked out of those inputs alone that lie within its bounds, as many as the data says, and ONNX Runtime
    gathers from none in the runs that have none. It is worked out of all, and where it has no bounds the input stays."""
    signature = inspect.signature(original)

    @wraps(original)
    def spline(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        inputs, bound, least = (given.arguments[name] for name in ("inputs", "tail_bound", "min_derivative"))
        inside = (inputs >= -bound) & (inputs <= bound)
        given.arguments["inputs"] = torch.where(inside, inputs, 0.0)
        derivatives = F.pad(given.arguments["unnormalized_derivatives"], (1, 1), value=math.log(math.expm1(1 - least)))
        given.arguments["unnormalized_derivatives"] = derivatives
        outputs, log_determinant = sys.modules[original.__module__]._rational_quadratic_spline(**given.arguments)
        return torch.where(inside, outputs, inputs), torch.where(inside, log_determinant, 0.0)

    return spline


@replaces("qwen3_omni_moe.modeling_qwen3_omni_moe.Qwen3OmniMoeAudioEncoder.forward")
def convolved_in_one_piece(original: Any) -> Any:
    """The windows of a sound are convolved a few hundred at a time, to save memory; a trace takes their number for that of its
    own sound, and OpenVINO splits no axis of which it does not know the length. They are convolved together."""

    def whole(split: Any, pieces: int) -> Any:
        def pieces_of(self: Tensor, size: Any, dim: int = 0) -> Any:
            return (self,) if (size, dim) == (pieces, 0) else split(self, size, dim)

        return pieces_of

    @wraps(original)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        with patch_attributes([(Tensor, "split", partial(whole, pieces=self.conv_chunksize))]):
            return original(self, *args, **kwargs)

    return forward
