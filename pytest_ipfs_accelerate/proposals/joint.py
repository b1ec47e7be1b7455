"""Processors that join two: an image processor or a feature extractor, and a tokenizer whose placeholders the config knows."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import transformers
from transformers import PreTrainedConfig
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES  # type: ignore[attr-defined]

from ..models.processors import build_processor
from ..models.samples import picture
from . import caps
from .processors import GENERIC, image_processor_recipe, reason_of, tokenizer_recipe
from .shrink import Options

TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] != 'text' %}MARK{% else %} {{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
"""A chat, with the token of a picture or a sound in the place of MARK."""

PICTURE_TOKENS = {"image_token": "<image>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
SOUND_TOKENS = {"audio_token": "<audio>", "audio_bos_token": "<audio_bos>", "audio_eos_token": "<audio_eos>"}
"""Special tokens that processors ask a tokenizer for by name."""

_MARK = re.compile(r"(?i)(?!.*(start|end|bos|eos))(image|audio|sound)")
_COUNTS = re.compile(r"image_seq_len(gth)?|num_image_tokens|num_query_tokens")
"""Options of a processor that say how many tokens a picture takes."""

_PLACEHOLDER = re.compile(r"[\"'](<[^\"'\s{}]{2,24}>|\[[A-Z_]{3,16}\])[\"']")


def picture_and_text(
    model: str, shape: Sequence[int], config: PreTrainedConfig, features: int, side: str, refused: list[str]
) -> Iterator[Options]:
    """Processors of a model type for a picture of ``shape`` with a text: without options, and with those that one which expands
    its placeholders itself needs to know of the vision tower, ``features`` for a picture among them; with a tokenizer that pads
    on ``side``. Why others do not come about is put into ``refused``."""
    image = image_processor_recipe(model, shape)
    name = PROCESSOR_MAPPING_NAMES.get(model)
    if image is None or not name:
        return
    patch = getattr(getattr(config, "vision_config", None), "patch_size", None)
    expanding = {"patch_size": patch, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    taken = inspect.signature(getattr(transformers, name).__init__).parameters
    counting = {option: features for option in taken if _COUNTS.fullmatch(option) and features}
    if features:
        image = {**image, "options": {**image["options"], "image_seq_length": features}}
    for tokenizer in _tokenizers(model, name, PICTURE_TOKENS, side):
        for options in (counting, expanding) if counting else ({}, expanding):
            recipe = {"class": name, "parts": {"image_processor": image, "tokenizer": tokenizer}, "options": options}
            yield from _chatting(recipe, ("boi_token", "image_token"), refused)


def sound_with_text(model: str, extractor: Options, side: str, refused: list[str]) -> Iterator[Options]:
    """Processors of a model type for a sound, read by ``extractor``, with a text that speaks of it."""
    name = PROCESSOR_MAPPING_NAMES.get(model)
    for tokenizer in _tokenizers(model, name, SOUND_TOKENS, side) if name else ():
        recipe = {"class": name, "parts": {"feature_extractor": extractor, "tokenizer": tokenizer}, "options": {}}
        yield from _chatting(recipe, ("audio_token",), refused)


def _tokenizers(model: str, name: str, roles: Mapping[str, str], side: str) -> tuple[Options, ...]:
    """Tokenizers for the processor ``name``, the likeliest first: a generic one that has its placeholders, and its own; padded
    on ``side``."""
    placeholders = _placeholders(name)
    first = next(iter(roles))
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    kind = first.partition("_")[0]
    roles = {**roles, first: next((token for token in placeholders if _marks(token, kind)), roles[first])}
    generic = {
        **GENERIC,
        "tokens": list(dict.fromkeys([*placeholders, *roles.values()])),
        "options": {**special, "extra_special_tokens": roles, "padding_side": side},
    }
    own = tokenizer_recipe(model)
    own = {**own, "options": {**own["options"], "padding_side": side}}
    return (generic, own) if placeholders else (own, generic)


def _marks(token: str, kind: str) -> bool:
    """Whether a placeholder stands for a whole picture or sound, not for where one starts or ends."""
    found = _MARK.search(token)
    return found is not None and (found[2].lower() == "image") == (kind == "image")


def _chatting(recipe: Options, marks: Sequence[str], refused: list[str]) -> Iterator[Options]:
    """The recipe of a processor that can be built, with a chat template where it marks pictures or sounds in a text."""
    if (built := _built(recipe, refused)) is None:
        return
    token = str(next(filter(None, (getattr(built, mark, "") for mark in marks)), ""))
    chat = {"chat_template": TEMPLATE.replace("MARK", token)} if token else {}
    chatting = {**recipe, "options": {**recipe["options"], **chat}}
    yield chatting if _built(chatting, refused) is not None else recipe


def sound_and_text(model: str, extractor: Options, refused: list[str]) -> Iterator[Options]:
    """The processor of a model type around a feature extractor, with a tokenizer to read its answer."""
    name = PROCESSOR_MAPPING_NAMES.get(model)
    letters = {"class": "Wav2Vec2CTCTokenizer", "vocabulary": "letters"}
    tokenizers = (letters,) if name == "Wav2Vec2Processor" else (tokenizer_recipe(model), GENERIC)
    for tokenizer in tokenizers:
        recipe = {"class": name, "parts": {"feature_extractor": extractor, "tokenizer": tokenizer}}
        if name and _built(recipe, refused) is not None:
            yield recipe


def _built(recipe: Options, refused: list[str]) -> Any:
    try:
        return build_processor(recipe)
    except Exception as error:
        refused.append(f"{recipe['class']}: {reason_of(error)}")
        return None


def _placeholders(name: str) -> list[str]:
    """The special tokens that the source of a processor class speaks of."""
    try:
        source = inspect.getsource(inspect.getmodule(getattr(transformers, name)))  # type: ignore[arg-type]
    except (AttributeError, ImportError, OSError, TypeError):
        return []
    return list(dict.fromkeys(_PLACEHOLDER.findall(source)))[:24]


def _repeated(processor: Any) -> int | None:
    """The token that a processor puts several times, side by side, in the place of a picture: not always the one that marks
    the picture in a text."""
    mark = getattr(processor, "boi_token", "") or getattr(processor, "image_token", "")
    try:
        made = processor(text=[f"{mark} what"], images=[[picture(0)]], return_tensors="pt")["input_ids"][0].tolist()
    except Exception:
        return None  # such a processor fails in the trial, with the reason
    token, run = max(((token, len(list(same))) for token, same in groupby(made)), key=lambda found: found[1])
    return token if run > 2 else None


_ROLES = {
    "image_token": ("image_token_id", "image_token_index", "img_token_id", "image_patch_id"),
    "video_token": ("video_token_id", "video_token_index"),
    "audio_token": ("audio_token_id", "audio_token_index"),
}
PLACEHOLDERS = frozenset(name for names in _ROLES.values() for name in names)
"""Options of a config that name a placeholder: a processor decides them."""


def joint_facts(recipe: Options, config: PreTrainedConfig) -> Mapping[str, Any]:
    """What a config must agree with: size of the vocabulary and special ids of the text part, and the ids of placeholders."""
    processor = build_processor(recipe)
    tokenizer = processor.tokenizer
    facts: Options = {}
    for role, names in _ROLES.items():
        token = getattr(processor, role, None)
        found = _repeated(processor) if role == "image_token" else None
        if found is None and isinstance(token, str):
            found = tokenizer.convert_tokens_to_ids(token)
        if found is not None:
            facts |= {name: found for name in names if hasattr(config, name)}
    # The ids of a config may lie above the tokens of a tokenizer, as those of many published ones do.
    text: Options = {"vocab_size": max(len(tokenizer), caps.VOCABULARY)}
    for role in ("pad", "bos", "eos"):
        if (number := getattr(tokenizer, f"{role}_token_id")) is not None:
            text[f"{role}_token_id"] = number
    part = "text_config" if getattr(config, "text_config", None) is not None else ""
    target = config.text_config if part else config
    text = {name: value for name, value in text.items() if hasattr(target, name)}
    return {**facts, part: text} if part else {**facts, **text}
