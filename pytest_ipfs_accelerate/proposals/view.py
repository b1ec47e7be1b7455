"""A built model as the rules for its inputs see it: the arguments of its forward, and the fields of its config by what they
mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from transformers import PreTrainedConfig

from .shrink import Options, parts

VISION = (
    "vision_config",
    "image_config",
    "visual_config",
    "vision_tower_config",
    "encoder",
    "backbone_config",
    "vision_encoder",
    "video_config",
    "vit_config",
)
AUDIO = (
    "audio_config",
    "audio_encoder_config",
    "speech_config",
    "speech_encoder_config",
    "encoder_config",
    "encoder",
    "audio_encoder",
    "audio_tower_config",
)


GETTERS = {
    "image": ("get_image_features", ("pixel_values",)),
    "video": ("get_video_features", ("pixel_values_videos",)),
    "audio": ("get_audio_features", ("input_features", "input_values", "audio_input_ids")),
}
"""The methods by which a model makes features of a modality, and the inputs that these are made of."""
_CONTENT = {source for _, sources in GETTERS.values() for source in sources}


def feature_getter(built: Any, name: str) -> Callable[..., Any] | None:
    """The method of the innermost part of a model that says by name what it takes: an outer one may only pass on."""
    for part in reversed(list(built.modules())):
        method = getattr(part, name, None)
        if method is not None and _CONTENT & set(inspect.signature(inspect.unwrap(method)).parameters):
            return method  # type: ignore[no-any-return]
    return None


class Model:
    """A built model, as the rules see it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.config: PreTrainedConfig = model.config
        self.name = type(model).__name__
        signature = inspect.signature(model.forward).parameters
        kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        self.arguments = [name for name, parameter in signature.items() if parameter.kind not in kinds]
        self.required = {name for name in self.arguments if signature[name].default is inspect.Parameter.empty}
        self.required |= self._of_getters()
        self.main = getattr(model, "main_input_name", "input_ids")
        self.tensors: dict[str, Options] = {}
        self.sizes: dict[str, list[int]] = {}

    def _of_getters(self) -> set[str]:
        """Arguments that the making of features cannot do without, though the forward leaves them open."""
        found: set[str] = set()
        for name, sources in GETTERS.values():
            optional = "pixel_values_videos" in sources and not self.required & set(sources)
            getter = None if optional else feature_getter(self.model, name)
            for argument, parameter in inspect.signature(inspect.unwrap(getter)).parameters.items() if getter else ():
                if argument in self.arguments and parameter.default is inspect.Parameter.empty:
                    found.add(argument)
        return found - _CONTENT

    def find(self, *names: str, prefer: tuple[str, ...] = (), default: Any = None) -> Any:
        """The first of these fields that any part of the config has, those of ``prefer`` first."""
        preferred = [getattr(self.config, name, None) for name in prefer]
        looked = [part for part in preferred if isinstance(part, PreTrainedConfig)] + parts(self.config)
        for part in looked:
            for name in names:
                if (value := getattr(part, name, None)) is not None:
                    return value
        return default

    def number(self, *names: str, prefer: tuple[str, ...] = (), default: int = 0) -> int:
        """The same, where a list of numbers counts as its first."""
        value = self.find(*names, prefer=prefer, default=default)
        if isinstance(value, dict):
            value = next(iter(value.values()))
        return int(value[0] if isinstance(value, list | tuple) else value)

    @property
    def vocabulary(self) -> int:
        text = self.find("text_encoder", "text_config") or self.config.get_text_config()
        value = getattr(text, "vocab_size", None) or self.number("vocab_size", default=200)
        return (
            min(value.values())
            if isinstance(value, dict)
            else int(value[0] if isinstance(value, list | tuple) else value)
        )

    @property
    def tokens(self) -> Options:
        """Bounds of the token ids that are drawn."""
        below = max(2, min(200, self.vocabulary - 1))
        return {"below": below} | ({} if below > 6 else {"from": 1})

    @property
    def image(self) -> tuple[int, int]:
        """Height and width of a picture."""
        size = self.find("image_size", "input_size", prefer=VISION, default=64)
        if isinstance(size, dict):
            size = (size.get("height", 64), size.get("width", 64))
        if isinstance(size, int):
            size = (size, size)
        height, width = (int(side) for side in size[-2:]) if len(size) >= 2 else (64, 64)
        return (height, width) if max(height, width) <= 512 else (64, 64)

    @property
    def channels(self) -> int:
        names = ("num_channels", "in_channels", "in_chans", "num_input_channels")
        found = self.number(*names, prefer=VISION, default=3)
        return found if found in (1, 2, 3, 4, 6, 9) else 3

    @property
    def mel(self) -> int:
        names = (
            "num_mel_bins",
            "n_mels",
            "input_feat_per_channel",
            "feature_size",
            "input_feat_size",
            "feature_projection_input_dim",
            "input_dim",
        )
        return self.number(*names, prefer=AUDIO, default=80)

    @property
    def frames(self) -> int:
        """Frames of a spectrogram: as many as an encoder has positions for, and whole windows of one that has windows."""
        longest = self.number("max_source_positions", prefer=AUDIO)
        if 0 < longest <= 200:
            return 2 * longest
        window = 2 * self.number("n_window", prefer=AUDIO)
        return -(-64 // window) * window if window else 64

    def has(self, name: str) -> bool:
        return name in self.arguments

    def lacks_tower(self, name: str) -> bool:
        """Whether a part of the config that would read this input is left out."""
        fields = vars(self.config)
        return any(
            name in sources and f"{part}_config" in fields and fields[f"{part}_config"] is None
            for part, sources in (("vision", GETTERS["image"][1]), ("audio", GETTERS["audio"][1]))
        )

    def wants(self, name: str) -> bool:
        return name in self.required or name == self.main
