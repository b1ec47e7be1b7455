"""The inputs of any model as descriptions of tensors (:mod:`pytest_ipfs_accelerate.tasks.tensors`): one rule for each argument
of a forward, read from the config."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from transformers import PreTrainedConfig

from .shrink import Options, parts
from .view import VISION, Model

TEXT = (11, 8)
"""Positions of the first and the second sample."""
DECODED = 5

_FILMS = re.compile(r"Video(?!Llava)|XCLIPModel|Vivit|Time[sS]former|VJEPA")
_RAW_SOUND = re.compile(r"Encodec|Mimi|Dac|Codec|Vocos|Snac|DAC|Xcodec|Tokenizer|PeAudio")
_TIME_FIRST = re.compile(
    r"Speech2Text|Seamless|Wav2Vec2Bert|Moonshine|Parakeet|Lasr|Granite|Fast|Canary|Nemotron|Gemma"
)
_GRIDS = ("image_grid_thw", "grid_thw", "image_grid_hws", "image_grid_hw")


class Unknown(LookupError):
    """A forward needs an argument that no rule knows."""


def _input_ids(model: Model) -> Options:
    model.sizes["S"] = list(TEXT)
    pad = model.find("pad_token_id", default=0)
    return {
        "tokens": ["S"],
        **model.tokens,
        **({"pad": pad} if isinstance(pad, int) and 0 < pad < model.vocabulary else {}),
    }


def _like_text(kind: str) -> Callable[[Model], Options | None]:
    return lambda model: {kind: ["S"]} if model.has("input_ids") else None


def _decoder_input_ids(model: Model) -> Options | None:
    if "SequenceClassification" in model.name and "input_ids" in model.tensors:
        return None  # taken from input_ids, shifted
    return {"tokens": [DECODED], **model.tokens}


def _is_grid_tower(part: PreTrainedConfig) -> bool:
    return hasattr(part, "patch_size") and (hasattr(part, "temporal_patch_size") or hasattr(part, "patch_temporal"))


def _grid(model: Model) -> tuple[Options, Options]:
    """Flattened patches of one picture, as the Qwen2-VL family takes them, and their grid."""
    part = next(
        (part for part in parts(model.config) if _is_grid_tower(part)),
        next((getattr(model.config, name) for name in VISION if hasattr(model.config, name)), model.config),
    )

    def field(*names: str, default: int) -> int:
        found = next((getattr(part, name) for name in names if getattr(part, name, None) is not None), default)
        return int(found[0] if isinstance(found, list | tuple) else found)

    patch, merge = (
        field("patch_size", default=14),
        field("spatial_merge_size", "merge_kernel_size", "merge_size", default=2),
    )
    channels, frames = (
        field("in_channels", "num_channels", "in_chans", default=3),
        field("temporal_patch_size", "patch_temporal", default=1),
    )
    side = 2 * merge
    patches = {"normal": [side * side, channels * frames * patch * patch], "join": "concat"}
    return patches, {"value": [[1, side, side]], "join": "concat"}


def _pixel_values(model: Model) -> Options:
    grid = next((name for name in _GRIDS if model.has(name)), "")
    if grid:
        patches, value = _grid(model)
        if "thw" not in grid:
            value["value"] = [value["value"][0][1:]]
        model.tensors[grid] = value
        return patches
    if model.has("target_sizes"):
        patch = model.number("patch_size", prefer=VISION, default=16)
        model.tensors["target_sizes"] = {"value": [[4, 4]], "join": "concat"}
        return {
            "normal": [1, model.channels, patch, 16 * patch],
            "join": "last",
        }  # the patches of all pictures, in a row
    if model.has("spatial_shapes"):
        patch = model.number("patch_size", prefer=VISION, default=16)
        model.tensors["spatial_shapes"] = {"value": [4, 4]}
        if model.has("pixel_attention_mask"):
            model.tensors["pixel_attention_mask"] = {"ones": [16]}
        return {"normal": [16, model.channels * patch * patch]}
    shape = [model.channels, *model.image]
    if model.has("pixel_attention_mask"):
        shape = [1, *shape]  # pictures of one input
    frames = model.number("num_frames")
    if frames and _FILMS.search(model.name):
        shape = [frames, *shape]
    if model.has("image_sizes") and model.find("image_grid_pinpoints") is not None:
        shape = [3, *shape]  # the picture whole, and two tiles of it
        model.tensors["image_sizes"] = {"value": list(model.find("image_grid_pinpoints")[0])}
    elif model.has("image_sizes") and any(part.model_type == "pixtral" for part in parts(model.config)):
        model.tensors["image_sizes"] = {"value": shape[-2:]}
    return {"normal": shape}


def _pixel_values_videos(model: Model) -> Options | None:
    if not model.wants("pixel_values_videos"):
        return None
    return {"normal": [model.number("num_frames", "frames_per_clip", default=4), model.channels, *model.image]}


def _input_features(model: Model) -> Options:
    bins, frames = model.mel, model.frames
    return {"normal": [frames, bins] if _TIME_FIRST.search(model.name) else [bins, frames]}


def _features_mask(model: Model) -> Options | None:
    if not model.has("input_features"):
        return None
    shape = model.tensors.get("input_features", {}).get("normal", [model.frames])
    frames = [length for length in shape if length != model.mel]
    return {"ones": [frames[0] if frames else shape[-1]]}


def _input_values(model: Model) -> Options:
    if model.find("frequency_stride") is not None:
        return {"normal": [model.number("max_length"), model.number("num_mel_bins")]}
    if _RAW_SOUND.search(model.name):
        return {"normal": [model.number("audio_channels", default=1), 3840]}
    return {"normal": [12800 if "XVector" in model.name else 3200]}


def _past_values(model: Model) -> Options:
    lags = max(model.find("lags_sequence", default=[0]))
    length = model.number("context_length", default=64) + lags
    series = model.number("num_input_channels")
    return {"normal": [length, series] if series else [length], "shift": 2}


def _states(model: Model) -> Options | None:
    return {"normal": [TEXT[0], model.number("hidden_size", "d_model", default=64)]}


def _flattened_patches(model: Model) -> Options:
    """Row and column of a patch, then its pixels as one embedding. Below one: row and column are read as whole numbers."""
    width = model.number("patch_embed_hidden_size") or 3 * model.number("patch_size", default=16) ** 2
    return {"uniform": [16, 2 + width]}


def _masked_patches(model: Model) -> Options:
    """Half of the patches of a picture, or of a film, hidden."""
    height, width = (side // model.number("patch_size", prefer=VISION, default=16) for side in model.image)
    frames = model.number("num_frames", default=1) // model.number("tubelet_size", default=1)
    patches = frames * height * width
    return {"zeros": [patches], "set": [[0, patches // 2, 1]], "dtype": "bool"}


def _merge_sizes(model: Model) -> Options:
    return {"value": [2], "join": "concat"}


def _pixel_mask(model: Model) -> Options:
    return {"ones": list(model.image)}


RULES: Mapping[str, Callable[[Model], Options | None]] = {
    "input_ids": _input_ids,
    "attention_mask": _like_text("ones"),
    "bbox": _like_text("boxes"),
    "decoder_input_ids": _decoder_input_ids,
    "pixel_values": _pixel_values,
    "pixel_values_videos": _pixel_values_videos,
    "input_features": _input_features,
    "input_features_mask": _features_mask,
    "input_values": _input_values,
    "feature_attention_mask": _features_mask,
    "audio_mel": lambda model: {"normal": [64, model.mel]},
    "audio_mel_mask": lambda model: {"ones": [64], "dtype": "bool"},
    "flattened_patches": _flattened_patches,
    "spectrogram": lambda model: {"normal": [20, model.number("num_mel_bins", "model_in_dim", default=80)]},
    "past_values": _past_values,
    "past_observed_mask": lambda model: {
        **model.tensors["past_values"],
        "ones": model.tensors["past_values"]["normal"],
    },
    "input_points": lambda model: {"uniform": [1, 2, 2], "scale": 60},
    "input_labels": lambda model: {"ones": [1, 2]} if model.has("input_points") else None,
    "visual_feats": lambda model: {"normal": [4, model.number("visual_feat_dim", default=64)]},
    "visual_pos": lambda model: {"uniform": [4, model.number("visual_pos_dim", default=4)]},
    "qformer_input_ids": lambda model: {"tokens": [TEXT[0]], **model.tokens},
    "task_inputs": lambda model: {"tokens": [model.number("task_seq_len", default=77)], **model.tokens},
}
"""What an argument of this name is, where a model has one: the rules that a person adds to."""

REQUIRED: Mapping[str, Callable[[Model], Options | None]] = {
    "pixel_mask": _pixel_mask,
    "hidden_states": _states,
    "inputs_embeds": _states,
    "pixel_attention_mask": lambda model: {"ones": [1, *model.image]},
    "bool_masked_pos": _masked_patches,
    "image_merge_sizes": _merge_sizes,
    "merge_sizes": _merge_sizes,
    "high_res_pixel_values": lambda model: {"normal": [model.channels, *model.image]},
    "padding_mask": lambda model: _features_mask(model) or {"ones": model.tensors["input_values"]["normal"][-1:]},
    "query_embeds": _states,
    "encoder_hidden_states": _states,
    "encoder_embeddings": _states,
    "image": lambda model: {"normal": [model.channels, *model.image]},
    "images": lambda model: {"normal": [model.channels, *model.image]},
    "audio_codes": lambda model: {
        "codes": [model.number("num_quantizers", "num_codebooks", default=4), 10],
        "below": 16,
    },
    "codes": lambda model: {"codes": [model.number("num_quantizers", "num_codebooks", default=4), 10], "below": 16},
    "timestep": lambda model: {"uniform": []},
}
"""The same, only where a forward cannot do without it."""


def propose_tensors(model: Model, given: Mapping[str, Any]) -> Options:
    """Descriptions of the inputs of a model's forward, as ``inputs`` of a row: ``sizes``, ``pads`` and ``tensors``. Those of
    ``given`` are given, and ask no rule.

    Raises:
        Unknown: it needs an argument that no rule knows.
    """
    for name in model.arguments:
        if model.lacks_tower(name):
            continue
        rule = RULES.get(name) or (REQUIRED.get(name) if model.wants(name) else None)
        if rule is not None and name not in model.tensors and (described := rule(model)) is not None:
            model.tensors[name] = {
                key: value for key, value in described.items() if key != "normal" or "ones" not in described
            }
    _of_grid_towers(model)
    if model.name.endswith("MultipleChoice"):
        model.tensors = {name: _choices(described) for name, described in model.tensors.items()}
    if "input_ids" in model.tensors and "SequenceClassification" in model.name and model.has("decoder_input_ids"):
        eos = model.find("eos_token_id", default=2)
        model.tensors["input_ids"]["at"] = [[-1, eos[0] if isinstance(eos, list) else eos]]
    missing = sorted(model.required - model.tensors.keys() - given.keys())
    if missing or not {**model.tensors, **given}:
        raise Unknown(f"no rule for {', '.join(missing) or 'any input'} of {model.name}")
    order = [name for name in model.arguments if name in model.tensors]
    inputs: Options = {"tensors": {name: model.tensors[name] for name in order}}
    if model.sizes:
        inputs["sizes"] = model.sizes
        if "attention_mask" in model.tensors:
            inputs["pads"] = {"S": 4}
    return inputs


def _of_grid_towers(model: Model) -> None:
    """A vision tower of the Qwen2-VL family alone takes its patches as ``hidden_states``."""
    if model.has("grid_thw") and "grid_thw" not in model.tensors and "hidden_states" in model.tensors:
        model.tensors["hidden_states"], model.tensors["grid_thw"] = _grid(model)


def _choices(described: Options) -> Options:
    kind = next(iter(described))
    return {**described, kind: [3, *described[kind]]}
