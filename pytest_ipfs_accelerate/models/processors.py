"""Real processors, built offline from a recipe of the registry.

A recipe is ``{"class": …, "options": {…}, "vocabulary": …, "tokens": […], "parts": {…}}``: the transformers class, its
keyword arguments, the committed vocabulary of a tokenizer, the special tokens added to it, and the nested processors that
the class takes by keyword.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import transformers

from .vocabularies import vocabulary


def build_processor(recipe: Mapping[str, Any]) -> Any:
    """The processor of ``recipe``: a tokenizer, image processor, feature extractor, or a processor that joins them.

    Raises:
        AttributeError: transformers has no class of that name.
        KeyError: no committed vocabulary of that name.
    """
    options = dict(recipe.get("options", {}))
    tokens = list(recipe.get("tokens", ()))
    if name := recipe.get("vocabulary"):
        options |= vocabulary(name, tokens)
    options |= {part: build_processor(nested) for part, nested in recipe.get("parts", {}).items()}
    processor = getattr(transformers, recipe["class"])(**options)
    if tokens:
        processor.add_special_tokens({"additional_special_tokens": tokens})
    return processor


def tokenizer_of(processor: Any) -> Any:
    """The tokenizer inside ``processor``, which may itself be one.

    Raises:
        TypeError: it has none.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    if not isinstance(tokenizer, transformers.PreTrainedTokenizerBase):
        raise TypeError(f"{type(processor).__name__} has no tokenizer")
    return tokenizer
