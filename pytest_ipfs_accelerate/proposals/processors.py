"""Processors that can be built offline, with no torchvision: the class that transformers maps a model type to, on the committed
vocabularies and at the size of the tiny config."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import transformers
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES  # type: ignore[attr-defined]
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES  # type: ignore[attr-defined]
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES  # type: ignore[attr-defined]
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from ..models.processors import build_processor
from ..models.samples import LONG_TEXT, SAMPLING_RATE, SHORT_TEXT, picture, sound
from ..models.vocabularies import vocabulary
from .shrink import Options

SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
GENERIC: Options = {"class": "GPT2Tokenizer", "vocabulary": "bytes", "options": {**SPECIAL, "mask_token": "<mask>"}}
"""A byte-level BPE, for a model type whose own tokenizer cannot be built from a vocabulary."""

MAX_LENGTH = 64


def tokenizer_recipe(model: str, *, masks: bool = False) -> Options:
    """The tokenizer of a model type: its own class where that can be built from a committed vocabulary, else the generic one;
    one that ``masks`` has a mask token."""
    mapped = TOKENIZER_MAPPING_NAMES.get(model)
    name = mapped[0] if isinstance(mapped, tuple) else mapped
    recipe = (_own(name) if name else None) or GENERIC
    if masks and build_processor(recipe).mask_token is None:
        return {**recipe, "options": {**recipe["options"], "mask_token": "<mask>"}}
    return recipe


def missing_end(recipe: Options) -> str:
    """The end token of a tokenizer that does not put one after a text by itself."""
    tokenizer = build_processor(recipe)
    ended = tokenizer(SHORT_TEXT)["input_ids"][-1] == tokenizer.eos_token_id
    return "" if ended else str(tokenizer.eos_token or "")


@cache
def _own(name: str) -> Options | None:
    """The recipe of a tokenizer class that adds fewest tokens to its vocabulary: the kind that the class was made for."""
    found = [recipe for recipe in _candidates(name) if _works(recipe)]
    return min(found, key=lambda recipe: len(build_processor(recipe)) - _size(recipe), default=None)


def _size(recipe: Options) -> int:
    return len(vocabulary(recipe["vocabulary"])["vocab"])


def _candidates(name: str) -> Iterator[Options]:
    for kind in ("wordpiece", "bytes", "unigram"):
        pad = {"pad_token": "[PAD]" if kind == "wordpiece" else "<pad>"}
        for options in ({}, pad, *([SPECIAL] if kind != "wordpiece" else [])):
            yield {"class": name, "vocabulary": kind, "options": {**options, "model_max_length": MAX_LENGTH}}


def _works(recipe: Options) -> bool:
    """Whether a tokenizer can be built and reads our texts: few unknown words, and nearly as many tokens as there are words."""
    try:
        tokenizer = build_processor(recipe)
        if not isinstance(tokenizer, transformers.PreTrainedTokenizerFast):
            return False
        found = [tokenizer(text)["input_ids"] for text in (SHORT_TEXT, LONG_TEXT)]
        padded = tokenizer([SHORT_TEXT, LONG_TEXT], padding=True, return_tensors="pt")
    except Exception:
        return False
    unknown = tokenizer.unk_token_id
    readable = all(ids.count(unknown) <= len(ids) // 3 and len(set(ids)) >= 6 for ids in found)
    return readable and "attention_mask" in padded and tokenizer.pad_token_id is not None


@cache
def tokenizer_facts(key: str) -> dict[str, Any]:
    """What a config must agree with: the size of the vocabulary and the special ids. ``key`` is the recipe as JSON."""
    tokenizer = build_processor(json.loads(key))
    ids = {
        f"{role}_token_id": getattr(tokenizer, f"{role}_token_id")
        for role in ("pad", "bos", "eos", "mask", "sep", "cls", "unk")
    }
    return {"vocab_size": len(tokenizer), **{name: value for name, value in ids.items() if value is not None}}


def image_processor_recipe(model: str, shape: Sequence[int]) -> Options | None:
    """The image processor of a model type that makes pictures of ``shape`` (channels × height × width) out of ours; ``None``
    where there is none without torchvision, or it makes another."""
    name = _image_processor(model)
    if not name:
        return None
    edge = min(shape[-2:])
    side, longest = {"height": shape[-2], "width": shape[-1]}, {"longest_edge": edge}
    for options in (
        {"size": side},
        {"size": {"shortest_edge": edge}, "crop_size": side},
        {"size": side, "crop_size": side},
        {"size": longest, "max_image_size": longest, "do_image_splitting": False},
        {"size": {"shortest_edge": edge, **longest}, "do_image_splitting": False},
    ):
        recipe = {"class": name, "options": options}
        if _shape(recipe, [[picture(0)], [picture(1, size=64)]]) == [2, *shape]:
            return recipe
    return None


def film_processor_recipe(model: str, shape: Sequence[int]) -> Options | None:
    """The image processor of a model type that makes films of ``shape`` (frames × channels × height × width) out of ours;
    ``None`` where there is none without torchvision, or it makes another."""
    crop = {"height": shape[-2], "width": shape[-1]}
    recipe: Options = {
        "class": _image_processor(model),
        "options": {"size": {"shortest_edge": shape[-2]}, "crop_size": crop},
    }
    films = [[picture(start + frame) for frame in range(shape[0])] for start in (0, 1)]
    return recipe if recipe["class"] and _shape(recipe, films) == [2, *shape] else None


def _image_processor(model: str) -> str:
    """The class of the image processor that needs no torchvision; empty where there is none."""
    mapped = IMAGE_PROCESSOR_MAPPING_NAMES.get(model)
    return str((mapped.get("pil") if isinstance(mapped, dict) else mapped) or "")


def _shape(recipe: Options, images: Any) -> list[int]:
    """The shape of what an image processor makes of ``images``; nothing where it fails."""
    try:
        return list(build_processor(recipe)(images, return_tensors="pt")["pixel_values"].shape)
    except Exception:
        return []


def feature_extractor_recipes(model: str, mel: int, frames: int) -> Iterator[Options]:
    """Feature extractors of a model type that work on our sounds, for the trial to choose from; the last one makes a
    spectrogram of ``frames`` out of any."""
    name = FEATURE_EXTRACTOR_MAPPING_NAMES.get(model)
    made: list[str] = []
    second = {"feature_size": mel, "chunk_length": 1}
    whole = {**second, "hop_length": SAMPLING_RATE // frames}
    for options in ({}, {"feature_size": mel}, {"num_mel_bins": mel}, second, whole):
        recipe = {"class": name, "options": {**options, "return_attention_mask": True}}
        # Options that a class does not have change nothing that it makes.
        if name and (shapes := _sounds(recipe)) and shapes not in made:
            made.append(shapes)
            yield recipe


def _sounds(recipe: Options) -> str:
    """What a feature extractor makes of two sounds, by name and shape; nothing where it fails."""
    try:
        extractor = build_processor(recipe)
        rate = extractor.sampling_rate
        sounds = [sound(0, rate=rate), sound(1, seconds=0.8, rate=rate)]
        made = extractor(sounds, sampling_rate=rate, padding=True, return_tensors="pt")
    except Exception:
        return ""
    return ", ".join(f"{key} {list(value.shape)}" for key, value in made.items() if hasattr(value, "shape"))


_LIBRARY = re.compile(r"requires the (\S+) library|pip install ([\w-]+)")


def reason_of(error: Exception) -> str:
    """Why something could not be built, in one line: the library that it lacks, or the exception."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, ImportError) and (found := _LIBRARY.search(str(error))):
        return f"needs {next(filter(None, found.groups()))}"
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def no_processor(model: str, refused: Sequence[str] = ()) -> str:
    """Why a model type has no processor that works here, in a few words; ``refused`` says what came of those tried."""
    name = next(
        (str(names[model]) for names in (PROCESSOR_MAPPING_NAMES, FEATURE_EXTRACTOR_MAPPING_NAMES) if names.get(model)),
        "",
    )
    images = IMAGE_PROCESSOR_MAPPING_NAMES.get(model)
    kinds = images if isinstance(images, dict) else {"pil": images}
    try:
        parts = getattr(transformers, name).get_attributes() if model in PROCESSOR_MAPPING_NAMES else []
    except ImportError as error:
        return f"{name} {reason_of(error)}"
    if "video_processor" in parts:
        return f"{name} takes a video processor, which needs torchvision"
    if images and not kinds.get("pil") and (not name or "image_processor" in parts):
        return f"{kinds.get('torchvision')} needs torchvision"
    if name:
        return refused[0] if refused else f"no rule gives {name} what it takes"
    if images:
        return f"{kinds['pil']} makes other tensors than this head takes"
    return "transformers has no processor for this model type"
