"""A tiny config of any model type: the default one of transformers, each number cut by the rules of :mod:`.caps`, and what
hangs together cut together.

A config is proposed as the keyword arguments of its constructor: fields set afterwards would miss what it derives from them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

from . import caps
from .layers import Layers, first_number, is_ints

Options = dict[str, Any]

BACKBONE: Options = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage2", "stage3", "stage4"],
}
"""In the place of a backbone of timm, which needs torchvision."""

IMAGE_TOKEN, VIDEO_TOKEN, AUDIO_TOKEN = 490, 491, 492
"""Placeholders of a config that leaves its own out."""

_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads", "encoder_attention_heads")
_WIDTHS = ("hidden_size", "d_model", "n_embd", "embed_dim", "dim")
_SKIPPED_OF_A_PART = {
    "transformers_version",
    "id2label",
    "label2id",
    "stage_names",
    "layer_types",
    "dtype",
    "architectures",
}


@dataclass(frozen=True, slots=True)
class Cut:
    """How hard a config is cut."""

    divisor: int = 8
    """What the widths of staged networks are divided by."""
    tight: bool = False
    """Whether counts of channels that no rule knows are cut too."""
    bare: bool = False
    """Whether parts that a config may be without stay out."""


def shrink(model: str, *, cut: Cut = Cut(), over: Mapping[str, Any] | None = None) -> Options:
    """Keyword arguments for the config of a model type. ``over`` is laid over what the rules find."""
    options = Shrinker(cut).options(CONFIG_MAPPING[model]())
    return laid_over(options, over or {})


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> Options:
    """``over`` laid over ``base``, nested objects key by key."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = laid_over(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def parts(config: PreTrainedConfig) -> list[PreTrainedConfig]:
    """A config and every config inside it, outermost first."""
    inner = [value for value in vars(config).values() if isinstance(value, PreTrainedConfig)]
    return [config, *(part for value in inner for part in parts(value))]


@cache
def _modeling_source(module: str) -> str:
    folder = Path(inspect.getfile(__import__(module, fromlist=["_"]))).parent
    return "".join(path.read_text("utf-8") for path in sorted(folder.glob("modeling_*.py")))


class Shrinker:
    """Cuts one config and its parts. A token id is given the same small number wherever it stands."""

    def __init__(self, cut: Cut) -> None:
        self.divisor, self.tight, self.bare = cut.divisor, cut.tight, cut.bare
        self._tokens: dict[int, int] = {}

    def token(self, number: int) -> int:
        """A token id below the tiny vocabulary: those that are small stay, the others come down from its end."""
        if number < 256:
            return number
        return self._tokens.setdefault(number, caps.VOCABULARY - 30 - len(self._tokens) % 200)

    def part(self, config: PreTrainedConfig) -> Options:
        """The options of a config inside another: what its parent passes it differs from the defaults of its class."""
        if config.model_type == "timm_backbone":
            return dict(BACKBONE)
        options: Options = {}
        defaults = vars(type(config)())
        for name, value in vars(config).items():
            plain = not name.startswith("_") and not isinstance(value, PreTrainedConfig) and name in defaults
            if plain and name not in _SKIPPED_OF_A_PART and repr(defaults[name]) != repr(value):
                options[name] = value
        # Stages stay as many as they are; layers are cut, and then a name such as stage12 names nothing.
        staged = isinstance(getattr(config, "depths", None), list | tuple) or Layers(vars(config)).old is None
        if staged and vars(config).get("_out_features") != defaults.get("_out_features"):
            options["out_features"] = vars(config)["_out_features"]
        return options | self.options(config) | {"model_type": config.model_type}

    def options(self, config: PreTrainedConfig) -> Options:
        """The options that make ``config`` tiny."""
        return _Fields(self, config).cut()


class _Fields:
    """The fields of one config, and what they say of each other."""

    def __init__(self, shrinker: Shrinker, config: PreTrainedConfig) -> None:
        self.shrinker = shrinker
        self.config = config
        self.fields = {name: value for name, value in vars(config).items() if not name.startswith("_")}
        staged = isinstance(self.fields.get("depths"), list | tuple)
        if isinstance(indices := vars(config).get("_out_indices"), list | tuple) and not staged:
            self.fields["out_indices"] = list(indices)
        self.old_heads = first_number(self.fields, _HEADS) or self._most_heads()
        width = first_number(self.fields, _WIDTHS)
        head_dim = self.fields.get("head_dim")
        self.old_head_dim = (
            head_dim if type(head_dim) is int else width // self.old_heads if width and self.old_heads else None
        )
        self.staged = any(
            isinstance(value, list | tuple)
            and (caps.ATTENTION_HEADS.fullmatch(name) or caps.STAGE_DEPTHS.fullmatch(name))
            for name, value in self.fields.items()
        )
        self.layers = Layers(self.fields)

    def _most_heads(self) -> int | None:
        found = [v for k, v in self.fields.items() if type(v) is int and caps.ATTENTION_HEADS.fullmatch(k)]
        return max(found, default=None)

    def cut(self) -> Options:
        options: Options = {}
        for name, value in self.fields.items():
            if name in vars(self.config) and isinstance(getattr(type(self.config), name, None), property):
                continue  # taken from its parts
            smaller = self._smaller(name, value)
            if smaller is not None:
                options[name] = smaller
        return self._coupled(options)

    def _smaller(self, name: str, value: Any) -> Any:
        """The value of a field in the tiny config, or ``None`` to leave it as it is."""
        if isinstance(value, PreTrainedConfig):
            return self.shrinker.part(value)
        if isinstance(value, dict):
            return self._object(name, value)
        if value is None:
            return self._filled(name)
        if isinstance(value, list | tuple):
            return self._list(name, value)
        if name == "feat_extract_norm":
            return "layer"  # a group norm takes its mean over the padding too
        if type(value) is float:
            return 0.0 if caps.NOISE.fullmatch(name) else caps.SCALE if name in caps.SCALES else None
        return self._number(name, value) if type(value) is int else None

    def _object(self, name: str, value: dict[str, Any]) -> Any:
        if value and all(isinstance(item, PreTrainedConfig) for item in value.values()):
            return {key: self.shrinker.part(item) for key, item in value.items()}
        return self._rope(value) if name.startswith("rope_") else None

    def _rope(self, rope: Mapping[str, Any]) -> Options:
        cut: Options = {}
        for name, value in rope.items():
            if isinstance(value, dict):
                cut[name] = self._rope(value)
            elif name == "mrope_section" and value and self.old_head_dim:
                half = int(caps.HEAD_DIM * (rope.get("partial_rotary_factor") or 1)) // 2
                sections = [max(1, section * half // sum(value)) for section in value]
                cut[name] = [sections[0] + half - sum(sections), *sections[1:]]
            elif name in ("long_factor", "short_factor") and value and self.old_head_dim:
                cut[name] = list(value)[: max(1, len(value) * caps.HEAD_DIM // self.old_head_dim)]
            else:
                cut[name] = value
        return cut

    def _filled(self, name: str) -> Any:
        """A value for a field that transformers leaves open and the tiny model needs."""
        fields = self.fields
        if name == "head_dim":
            return caps.HEAD_DIM if self.old_heads and "qk_rope_head_dim" not in fields else None
        if name == "num_key_value_heads":
            return caps.HEADS if self.old_heads else None
        if name == "layer_types":
            return ["full_attention"] * self.layers.count if self.layers.old else None
        if name == "mlp_layer_types":
            return ["dense"] + ["sparse"] * (self.layers.count - 1) if self.layers.old else None
        if name == "context_length":
            return 16 if "lags_sequence" in fields else None
        if name == "default_language":
            return (fields.get("languages") or ["en_XX"])[0]
        if name == "sliding_window":
            slides = "sliding_attention" in (fields.get("layer_types") or []) or "num_sliding_attention_heads" in fields
            return 16 if slides else None
        if name in ("vision_config", "audio_config") and not self.shrinker.bare:
            part = _optional_part(self.config, name)
            return None if part is None else self.shrinker.part(part())
        return _OPEN.get(name)

    def _list(self, name: str, value: Any) -> Any:
        if value and all(isinstance(item, PreTrainedConfig) for item in value):
            return [self.shrinker.part(item) for item in value]
        if name in self.layers.listed:
            return self.layers.entries(name)
        if name == "attention_types":
            return [[["global", "local"], 1]]
        if name == "backbone_feature_sizes":
            return [[4 * side // value[-1][0] for side in sides] for sides in value]  # of four patches a side
        if not is_ints(value):
            return None
        if name == "memory_attention_rope_feat_sizes":
            return [4] * len(value)
        if self.layers.points(name):
            return self.layers.pointing(name)
        if name in ("vision_feature_layer", "vision_feature_layers") and min(value) >= 0:
            return list(range(caps.LAYERS))[-len(value) :][::-1]
        if caps.INNER_SIZES.fullmatch(name):
            return [caps.INNER] * len(value)
        if caps.STAGE_DEPTHS.fullmatch(name) or name == "block_sizes":
            return [1] * len(value)
        if caps.PER_STAGE.fullmatch(name) or (self.shrinker.tight and name.endswith("_channels")):
            wide = [item for item in value if item > 4]
            if name == "decoder_in_channels" and len(set(value)) == 1:
                return [min(value[0], caps.HIDDEN)] * len(value)  # what the encoder before it puts out
            if self.shrinker.divisor > 1 and wide and min(wide) % self.shrinker.divisor == 0:
                return [item // self.shrinker.divisor if item > 4 else item for item in value]
            return None
        if name in ("conv_dim", "tdnn_dim") and (len(value) > 3 or name == "tdnn_dim"):
            return [32] * len(value)
        if name == "image_size":
            return [self._image()] * len(value)
        if name in ("eos_token_id", "stop_token_ids") or name.endswith("_token_ids"):
            return [self.shrinker.token(item) for item in value]
        if self.shrinker.tight and name == "channel_multiplier":
            return [1] * len(value)
        return [8] * self.layers.count if name == "attention_window" else None

    def _image(self) -> int:
        patch = self.fields.get("patch_size", self.fields.get("patch_sizes"))
        if isinstance(patch, list | tuple) and patch and type(patch[-1]) is int:
            patch = patch[-1]
        return caps.IMAGE if type(patch) is not int or caps.IMAGE % patch == 0 else 4 * patch

    def _number(self, name: str, value: int) -> Any:
        if name == "hidden_dim" and (scale := self.fields.get("width_coefficient")):
            return int(value * caps.SCALE / scale)  # scaled like every other width of the network
        if self.shrinker.tight and (narrow := self._narrow(name, value)) is not None:
            return narrow
        if name in caps.OWN:
            return min(value, caps.OWN[name])
        if name.endswith("_layer_period"):
            return min(value, self.layers.count)
        if name.endswith("_layer_offset"):
            return min(value, self.layers.count - 1)  # one layer of each kind
        if caps.EXPERT_COUNTS.fullmatch(name):
            return min(value, caps.EXPERTS)
        if caps.VOCABULARY_SIZES.fullmatch(name):
            return min(value, caps.VOCABULARY)
        if caps.LAYER_COUNTS.fullmatch(name):
            return min(value, self.layers.count)
        if caps.KEY_VALUE_HEADS.fullmatch(name):
            return min(value, caps.HEADS if value >= (self._most_heads() or value) else 2)
        if caps.ATTENTION_HEADS.fullmatch(name):
            return None if self.staged and name == "num_heads" else min(value, caps.HEADS)
        if caps.IMAGE_SIZES.fullmatch(name):
            return self._image() if value > caps.IMAGE else None
        if name == "patch_size":
            return 16 if value == 32 else None
        if caps.INNER_SIZES.fullmatch(name):
            return min(value, caps.INNER)
        if caps.HIDDEN_SIZES.fullmatch(name):
            return self._width(name, value)
        if caps.POSITION_COUNTS.fullmatch(name):
            return min(value, caps.POSITIONS)
        if caps.WINDOWS.fullmatch(name):
            return min(value, 16)
        if caps.TOKEN_IDS.fullmatch(name) and not caps.NO_TOKEN_IDS.fullmatch(name):
            return self.shrinker.token(value)
        return None

    def _narrow(self, name: str, value: int) -> int | None:
        """What is cut only where a model is too large without."""
        ratios = next((value for field, value in self.fields.items() if caps.RATIOS.fullmatch(field)), ())
        if ratios and caps.DOUBLED.fullmatch(name) and not (self.layers.old and name == "hidden_size"):
            return min(value, caps.HIDDEN if "decoder" in name else max(2, 128 >> len(ratios)))
        if caps.CHANNELS.fullmatch(name):
            return min(value, caps.NARROW)
        return min(value, caps.LAYERS) if caps.BLOCKS.fullmatch(name) else None

    def _width(self, name: str, value: int) -> int | None:
        if self.staged and name in ("embed_dim", "embedding_size", "embedding_dim"):
            divided, rest = divmod(value, self.shrinker.divisor)
            return divided if self.shrinker.divisor > 1 and not rest and divided >= 6 else None
        if (
            self.staged
            and name in ("hidden_size", "hidden_dim")
            and "d_model" not in self.fields
            and "embed_dim" in self.fields
        ):
            return None  # the width of the last stage, which the config derives
        return min(value, caps.HIDDEN)

    def _has_sections(self) -> bool:
        """Whether the rotary embedding of this model is split into sections for time, height and width."""
        rope = self.fields.get("rope_parameters")
        splits = isinstance(rope, dict) and "rope_type" in rope and "vision" not in self.config.model_type
        return splits and bool(self.old_head_dim) and "mrope_section" in _modeling_source(type(self.config).__module__)

    def _coupled(self, options: Options) -> Options:
        """What must hold between fields that were cut one by one."""
        fields = self.fields
        if self._has_sections():
            rope = dict(options.get("rope_parameters") or fields["rope_parameters"])
            half = int(caps.HEAD_DIM * (rope.get("partial_rotary_factor") or 1)) // 2
            side = half * 3 // 8
            options["rope_parameters"] = rope | {"mrope_section": [half - 2 * side, side, side]}
        if "qk_rope_head_dim" in fields and "head_dim" in fields and fields["head_dim"] == fields["qk_rope_head_dim"]:
            options["head_dim"] = options.get("qk_rope_head_dim", fields["qk_rope_head_dim"])
        if "auxiliary_loss" in fields and options.get("decoder_layers") == caps.LAYERS:
            options["decoder_layers"] = (
                3  # its outputs lie layer by layer: as many of them as a batch has inputs are mistaken
            )
        if {"expand", "state_size", "num_heads", "head_dim"} <= fields.keys():
            options["num_heads"] = int(caps.HIDDEN * fields["expand"]) // caps.HEAD_DIM
        tower = fields.get("vision_config")
        merged = getattr(tower, "merge_size", 0) ** 2
        if merged and fields.get("out_hidden_size") == getattr(tower, "hidden_size", 0) * merged:
            options["out_hidden_size"] = caps.HIDDEN * merged  # merged patches, side by side
        if {"max_source_positions", "num_mel_bins"} <= fields.keys() and "intermediate_size" in options:
            options["intermediate_size"] = 4 * caps.HIDDEN  # a projector takes four frames, side by side, by this name
        if isinstance(widths := options.get("embed_dim_per_stage"), list):
            options["hidden_size"] = widths[0]
        if (
            "hidden_size" in options
            and "embedding_size" in options
            and fields["embedding_size"] == fields["hidden_size"]
        ):
            options["embedding_size"] = options["hidden_size"]
        return {name: value for name, value in options.items() if not _same(value, fields.get(name))}


def _same(new: Any, old: Any) -> bool:
    return not isinstance(old, PreTrainedConfig) and repr(list(new) if isinstance(new, tuple) else new) == repr(
        list(old) if isinstance(old, tuple) else old
    )


def _optional_part(config: PreTrainedConfig, name: str) -> type[PreTrainedConfig] | None:
    """The class of a part that a config may be without, as its class declares it."""
    declared = getattr(type(config), "sub_configs_defaults", {}).get(name) or getattr(
        type(config), "sub_configs", {}
    ).get(name)
    if named := getattr(declared, "model_type", None):
        return CONFIG_MAPPING[named]
    found = getattr(declared, "config_class", declared)
    return found if isinstance(found, type) and found.__name__ != "AutoConfig" else None


_OPEN: Options = {
    "num_experts_per_tok": 2,
    "pad_token_id": 0,
    "vocab_size": caps.VOCABULARY,
    "num_experts": caps.EXPERTS,
    "num_local_experts": caps.EXPERTS,
    "n_routed_experts": caps.EXPERTS,
    "vocabulary_map": {"<image>": IMAGE_TOKEN, "<|extra_200|>": VIDEO_TOKEN, "IMGIMGAA": AUDIO_TOKEN},
    "prediction_length": 8,
    "image_token_id": IMAGE_TOKEN,
    "image_token_index": IMAGE_TOKEN,
    "video_token_id": VIDEO_TOKEN,
    "audio_token_id": AUDIO_TOKEN,
}
