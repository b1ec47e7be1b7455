"""What the exporter's own patches leave untraceable: code of model types, replaced for the time of a trace.

``transformers.exporters`` keeps a table of its own; these come on top (:func:`patched`). Each says which fault of a model's own
code it works around, and computes the same numbers; a case that passes compares them with the unpatched model, which is the
reference.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, reduce, wraps
from statistics import NormalDist
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel
from transformers.exporters import exporter_dynamo, utils
from transformers.exporters.utils import patch_attributes
from transformers.modeling_outputs import XVectorOutput
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .export_fourier import samples_by_waves, spectrum_by_waves
from .export_inputs import prepared_as_taken
from .export_once import traced_once
from .export_onnxscript import onnxscript_faults
from .export_registry import PATCHES, Factory, replaces
from .export_resize import resized_by_weights, summed_rows, weights_of
from .export_sizes import gathered, lengths_stay_symbols
from .export_ties import sorted_in_order


@contextmanager
def patched() -> Iterator[None]:
    """Every replacement of a module that is loaded, for a time. Not by the exporter's own table: it replaces nothing of the
    class whose forward it has wrapped before. Where that table has another replacement of the same path, ours counts."""
    ours = {f"transformers.models.{path}" for path in PATCHES} | {"torch.fft.irfft"}
    theirs = {
        backend: [patch for patch in utils._PATCHES.get(backend, ()) if f"{patch[0]}.{patch[1]}" not in ours]
        for backend in ("dynamo", "onnx")
    }
    found: list[tuple[Any, str, Factory]] = [
        (F, "interpolate", resized_by_weights),
        (F, "embedding_bag", summed_rows),
        (torch.fft, "rfft", spectrum_by_waves),
        (torch.fft, "irfft", samples_by_waves),
        (torch, "argsort", sorted_in_order),
        (torch, "take_along_dim", gathered),
        (cached_property, "__get__", kept_outside_of_traces),
        (exporter_dynamo, "prepare_for_export", prepared_as_taken),
        (utils, "_PATCHES", lambda table: {**table, **theirs}),
        *onnxscript_faults(),
        *traced_once(),
    ]
    for path, factory in PATCHES.items():
        module, _, name = path.partition(".modeling_")
        name, *rest = name.split(".")
        owner: Any = sys.modules.get(f"transformers.models.{module}.modeling_{name}")
        if owner is not None:
            found.append((reduce(getattr, rest[:-1], owner), rest[-1], factory))
    with patch_attributes(found), lengths_stay_symbols():
        yield


def kept_outside_of_traces(original: Any) -> Any:
    """What a ``cached_property`` computes in a trace is a tensor of the trace, and the model would keep it for good: nothing
    can be computed with it afterwards (chameleon's table of codes, modeling_chameleon.py:746). It is not kept."""

    def get(self: cached_property[Any], instance: Any, owner: type | None = None) -> Any:
        value = original(self, instance, owner)
        if any(isinstance(leaf, FakeTensor) for leaf in tree_leaves(value)):
            vars(instance).pop(self.attrname, None)
        return value

    return get


@replaces("llama4.modeling_llama4.apply_rotary_emb")
def rotated_in_real_numbers(original: Any) -> Any:
    """Queries and keys are multiplied by complex numbers with an axis put in by indexing, for which onnxscript has no
    translation. The product is written out."""

    def apply_rotary_emb(xq: Tensor, xk: Tensor, freqs_cis: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = freqs_cis.real.unsqueeze(2), freqs_cis.imag.unsqueeze(2)

        def rotated(states: Tensor) -> Tensor:
            real, imaginary = states.float().reshape(*states.shape[:-1], -1, 2).unbind(-1)
            turned = torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], dim=-1)
            return turned.flatten(3).type_as(states)

        return rotated(xq), rotated(xk)

    return apply_rotary_emb


@replaces("gemma3n.modeling_gemma3n.Gemma3nTextMLP._gaussian_topk")
def quantile_of_config(original: Any) -> Any:
    """The quantile of a normal distribution is computed in the graph from a constant of the configuration, and onnxscript
    translates no ``aten.erfinv``. It is computed here."""

    def gaussian_topk(self: Any, inputs: Tensor) -> Any:
        quantile = NormalDist().inv_cdf(self.activation_sparsity)
        mean = inputs.mean(dim=-1, keepdim=True)
        return F.relu(inputs - (mean + inputs.std(dim=-1, keepdim=True, unbiased=False) * quantile))

    return gaussian_topk


@replaces("openai_privacy_filter.modeling_openai_privacy_filter.OpenAIPrivacyFilterExperts.forward")
def experts_gathered(original: Any) -> Any:
    """The loop over the experts that are hit (``nonzero``) has as many steps as the data says. Each token's experts are
    gathered instead, as ``batched_mm`` does, which this class does not take part in."""

    def forward(self: Any, hidden_states: Tensor, router_indices: Tensor, routing_weights: Tensor) -> Any:
        tokens = hidden_states.float()[:, None, None, :]
        gate_up = tokens @ self.gate_up_proj[router_indices].float()
        gate_up = gate_up.squeeze(-2) + self.gate_up_proj_bias[router_indices].float()
        gated = self._apply_gate(gate_up).float()
        out = (gated[:, :, None, :] @ self.down_proj[router_indices].float()).squeeze(-2)
        out = out + self.down_proj_bias[router_indices].float()
        return (out * routing_weights[..., None].float()).sum(1).to(hidden_states.dtype)

    return forward


@replaces(
    "moonshine.modeling_moonshine.MoonshinePreTrainedModel._get_feat_extract_output_lengths",
    "cohere_asr.modeling_cohere_asr.CohereAsrPreTrainedModel._get_feat_extract_output_lengths",
)
def lengths_in_integers(original: Any) -> Any:
    """``int((length - 127) / 64 + 1)`` makes a constant of a symbolic length; the floor of an integer division does not, and
    is the same for every sound that the convolutions take."""

    def lengths(self: Any, input_lengths: Any) -> Any:
        first = (input_lengths - 127) // 64 + 1
        second = (first - 7) // 3 + 1
        return (second - 3) // 2 + 1

    return lengths


@replaces("fastspeech2_conformer.modeling_fastspeech2_conformer.length_regulator")
def regulated_at_once(original: Any) -> Any:
    """Each sound of a batch is stretched in a Python loop by ``repeat_interleave``, whose length the trace does not know. Which
    frame comes from which token is counted instead."""

    def length_regulator(encoded_embeddings: Tensor, duration_labels: Tensor, speaking_speed: float = 1.0) -> Tensor:
        if speaking_speed != 1.0:
            duration_labels = torch.round(duration_labels.float() * speaking_speed).long()
        # In place, as the model does it: the durations are an output, too.
        none = duration_labels.sum() == 0
        durations = duration_labels.copy_(torch.where(none, torch.ones_like(duration_labels), duration_labels))
        ends = durations.cumsum(1)
        length = ends[:, -1].max().item()
        # The table of positions that the model keeps reaches so far.
        torch._check(length > 1)  # type: ignore[no-untyped-call]
        torch._check(2 * length - 1 <= 9999)  # type: ignore[no-untyped-call]
        frames = torch.arange(length, device=durations.device)
        token = (frames[None, :, None] >= ends[:, None, :]).sum(-1)
        inside = token < durations.shape[1]
        token = token.clamp(max=durations.shape[1] - 1)[..., None].expand(-1, -1, encoded_embeddings.shape[2])
        return torch.where(inside[..., None], encoded_embeddings.gather(1, token), 0.0)

    return length_regulator


@replaces(
    "data2vec.modeling_data2vec_audio.Data2VecAudioForXVector.forward",
    "unispeech_sat.modeling_unispeech_sat.UniSpeechSatForXVector.forward",
    "wav2vec2.modeling_wav2vec2.Wav2Vec2ForXVector.forward",
    "wav2vec2_bert.modeling_wav2vec2_bert.Wav2Vec2BertForXVector.forward",
    "wav2vec2_conformer.modeling_wav2vec2_conformer.Wav2Vec2ConformerForXVector.forward",
    "wavlm.modeling_wavlm.WavLMForXVector.forward",
)
def pooled_at_once(original: Any) -> Any:
    """The frames of each sound of a batch are pooled in a Python loop over their lengths, which a trace unrolls for its own
    batch."""

    @wraps(original)
    def forward(
        self: Any, *inputs: Tensor, attention_mask: Tensor | None = None, labels: Any = None, **kwargs: Any
    ) -> Any:
        if self.config.use_weighted_layer_sum or labels is not None:
            return original(self, *inputs, attention_mask=attention_mask, labels=labels, **kwargs)
        outputs = getattr(self, self.base_model_prefix)(*inputs, attention_mask=attention_mask, **kwargs)
        hidden = self.projector(outputs.last_hidden_state)
        for layer in self.tdnn:
            hidden = layer(hidden)
        lengths = torch.full(hidden.shape[:1], hidden.shape[1], device=hidden.device)
        if attention_mask is not None:
            lengths = self._get_feat_extract_output_lengths(attention_mask.sum(dim=1))
            lengths = self._get_tdnn_output_lengths(lengths)
        embeddings = self.feature_extractor(mean_and_deviation(hidden, lengths))
        return XVectorOutput(
            logits=self.classifier(embeddings),
            embeddings=embeddings,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    return forward


def mean_and_deviation(frames: Tensor, lengths: Tensor) -> Tensor:
    """Mean and standard deviation of the first ``lengths`` (batch) of ``frames`` (batch, frames, width): (batch, 2 width)."""
    inside = (torch.arange(frames.shape[1], device=frames.device) < lengths[:, None])[..., None]
    count = inside.sum(1)
    mean = torch.where(inside, frames, 0.0).sum(1) / count
    apart = torch.where(inside, frames - mean[:, None], 0.0)
    return torch.cat([mean, (apart.square().sum(1) / (count - 1)).sqrt()], dim=-1)


@replaces("siglip2.modeling_siglip2.Siglip2VisionEmbeddings.forward")
def positions_resized_by_weights(original: Any) -> Any:
    """The table of positions is resized for each picture of a batch in a Python loop, to a size read with ``tolist()``. An
    antialiased bilinear resize weights rows and columns by a triangle, which is computed here for all pictures."""

    def forward(self: Any, pixel_values: Tensor, spatial_shapes: Tensor) -> Any:
        embedded = self.patch_embedding(pixel_values.to(dtype=self.patch_embedding.weight.dtype))
        size = self.position_embedding_size
        table = self.position_embedding.weight.reshape(size, size, -1)
        place = torch.arange(embedded.shape[1], device=embedded.device)[None]
        height, width = spatial_shapes[:, :1], spatial_shapes[:, 1:]
        # What is behind the last patch gets the position of the first.
        place = torch.where(place < height * width, place, 0)
        rows = weights_of(place // width, height, size)
        columns = weights_of(place % width, width, size)
        return embedded + torch.einsum("bpr,bpc,rcd->bpd", rows, columns, table.float()).to(table.dtype)

    return forward


@replaces("pixtral.modeling_pixtral.PixtralVisionModel.forward")
def pictures_of_one_size(original: Any) -> Any:
    """Patches, positions and the mask are put together in Python loops over the pictures, which a trace unrolls for its own
    batch. Pictures that fill their pixels all have the same patches; others go the old way."""

    @merge_with_config_defaults  # type: ignore[untyped-decorator]
    @capture_outputs  # type: ignore[untyped-decorator]
    def forward(self: Any, pixel_values: Tensor, image_sizes: Any = None, **kwargs: Any) -> Any:
        patches = self.patch_conv(pixel_values.to(dtype=self.patch_conv.weight.dtype))
        pictures, channels, height, width = patches.shape
        packed = self.ln_pre(patches.flatten(2).transpose(1, 2).reshape(1, pictures * height * width, channels))
        rows, columns = torch.meshgrid(
            torch.arange(height, device=patches.device), torch.arange(width, device=patches.device), indexing="ij"
        )
        positions = torch.stack([rows.flatten(), columns.flatten()], dim=-1).repeat(pictures, 1)
        picture = torch.arange(pictures * height * width, device=patches.device) // (height * width)
        mask = torch.where(picture[:, None] == picture[None, :], 0.0, torch.finfo(packed.dtype).min)
        return self.transformer(
            packed,
            attention_mask=mask.to(packed.dtype)[None, None],
            position_embeddings=self.patch_positional_embedding(packed, positions),
            **kwargs,
        )

    @wraps(original)
    def chosen(self: Any, pixel_values: Tensor, image_sizes: Any = None, **kwargs: Any) -> Any:
        full = tuple(pixel_values.shape[-2:])
        uniform = image_sizes is None or all(tuple(size) == full for size in image_sizes)
        return (forward if uniform else original)(self, pixel_values, image_sizes, **kwargs)

    return chosen


@replaces(
    "lighton_ocr.modeling_lighton_ocr.LightOnOcrPatchMerger.forward",
    "mistral3.modeling_mistral3.Mistral3PatchMerger.forward",
    "mistral_large4.modeling_mistral_large4.MistralLarge4PatchMerger.forward",
)
def patches_merged_at_once(original: Any) -> Any:
    """The patches of each picture are merged in a Python loop, whose sizes a trace takes for constants. Pictures of one size
    are merged at once; others go the old way."""

    @wraps(original)
    def forward(self: Any, image_features: Tensor, image_sizes: Any) -> Tensor:
        sizes = {tuple(int(side) // self.patch_size for side in size) for size in image_sizes}
        if len(sizes) != 1:
            return original(self, image_features, image_sizes)  # type: ignore[no-any-return]
        ((height, width),) = sizes
        step = self.spatial_merge_size
        grid = image_features.reshape(-1, height, width, image_features.shape[-1]).permute(0, 3, 1, 2)
        merged: Tensor = F.unfold(grid, kernel_size=step, stride=step).transpose(1, 2)
        return self.merging_layer(merged.reshape(-1, merged.shape[-1]))  # type: ignore[no-any-return]

    return forward


@replaces(
    "encodec.modeling_encodec.EncodecConv1d.forward",
    "mimi.modeling_mimi.MimiConv1d.forward",
    "pocket_tts_audio_tokenizer.modeling_pocket_tts_audio_tokenizer.PocketTTSAudioTokenizerConv1d.forward",
)
def padded_in_integers(original: Any) -> Any:
    """How much a sound is padded is computed with tensors from the buffers ``stride`` and ``kernel_size``, so that the length
    behind it depends on data. They are what the convolution has in integers."""

    def forward(self: Any, hidden_states: Tensor, padding_cache: Any = None) -> Any:
        if padding_cache is not None:
            return original(self, hidden_states, padding_cache)
        stride, length = self.conv.stride[0], hidden_states.shape[-1]
        total = (self.conv.kernel_size[0] - 1) * self.conv.dilation[0] + 1 - stride
        # Up to whole strides.
        extra = -(length // -stride) * stride - length
        right = 0 if self.causal else total // 2
        hidden_states = self.conv(self._pad1d(hidden_states, (total - right, right + extra), mode=self.pad_mode))
        return self.norm(hidden_states) if hasattr(self, "norm") else hidden_states

    return forward


@contextmanager
def without_loss(model: PreTrainedModel) -> Iterator[None]:
    """For a time a configuration that asks for the loss (flava's) does not: the exporter refuses it, and what a case compares
    is what the model gives besides. A model that gives less then fails its case."""
    asked = getattr(getattr(model, "config", None), "return_loss", None)  # a part of a model may have no config
    if asked:
        model.config.return_loss = False
    try:
        yield
    finally:
        if asked:
            model.config.return_loss = asked


_TRACED = (FakeTensor, torch.SymInt, torch.SymFloat, torch.SymBool)


@contextmanager
def as_before(model: nn.Module) -> Iterator[None]:
    """What the forward of a module sets on itself while it is traced and is part of the trace (the length of the text,
    modeling_funnel.py:87) is taken back: a copy of the model would copy the trace."""
    before = [(module, dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for module, attributes in before:
            for name, value in list(vars(module).items()):
                if any(isinstance(leaf, _TRACED) for leaf in tree_leaves(value)):
                    delattr(module, name)
                    vars(module).update({name: attributes[name]} if name in attributes else {})
