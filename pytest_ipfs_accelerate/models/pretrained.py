"""Real checkpoints: trained weights with their own config and processor, by transformers' own loading."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers.utils import logging

from ..specs import Recipe
from .hub import CheckpointRefused, CheckpointUnavailable, locate
from .initialize import initialize
from .model_types import other_type
from .weights import Checkpoint, model_class, weights_digest

MOST = 0.9
"""With more than this share of its parameters newly initialised, a model is not the one whose weights lie there."""

ROLES = ("is_decoder", "is_encoder_decoder", "use_cache")
"""What of a row's config holds for any checkpoint: what the model is used as. The rest are sizes of the tiny one."""

GREEDY = ("do_sample", "num_beams", "num_return_sequences", "max_new_tokens", "min_new_tokens")
"""What of a row's generation holds for any checkpoint: it is greedy, and so long. Its token ids are the tiny one's."""

SAMPLING = {"temperature": 1.0, "top_p": 1.0, "top_k": 50}
"""Transformers' own defaults, which say nothing where nothing is sampled."""

TENSORS = ("modality", "tensors", "sizes", "pads", "why", "prefix", "suffix", "frames", "left")
"""What a row says of inputs without a processor; they are made for the config of the tiny checkpoint."""


def load_checkpoint(recipe: Recipe) -> Checkpoint:
    """The real checkpoint of ``recipe``: the same bytes in every process, newly initialised heads among them.

    Raises:
        CheckpointUnavailable: it is not here and cannot be fetched, or has no processor that works here.
        CheckpointRefused: it cannot be loaded, or is of another model.
    """
    assert recipe.checkpoint is not None
    directory, source = locate(recipe.checkpoint, recipe.model)
    if reason := other_type(json.loads((directory / "config.json").read_text("utf-8")), recipe.model):
        raise CheckpointRefused(f"{directory / 'config.json'} {reason}")
    with _quiet():
        model, origin = _load_model(recipe, directory)
        processor = _load_processor(recipe, directory)
    _set_up(recipe, model, processor)
    digest = weights_digest(model)
    place = {"path": source.place} if source.kind == "directory" else {"id": source.place, "revision": source.revision}
    effective = replace(
        recipe,
        config=json.loads(model.config.to_json_string(use_diff=False)) | {"_name_or_path": ""},
        inputs=_inputs(recipe, model, processor),
        checkpoint=replace(source, digest=digest),
    )
    return Checkpoint(effective, model, processor, digest, {"source": source.kind, **place, **origin})


def _load_model(recipe: Recipe, directory: Path) -> tuple[Any, dict[str, Any]]:
    """The model, and what became of the names in the checkpoint and in the class."""
    kind = model_class(recipe)
    config = kind.config_class.from_pretrained(directory, local_files_only=True)
    roles = dict(_take_roles(config, recipe.config[recipe.part] if recipe.part else recipe.config))
    torch.manual_seed(recipe.seed)
    try:
        model, info = kind.from_pretrained(
            directory,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            output_loading_info=True,
        )
    except SafetensorError as error:
        raise CheckpointRefused(f"the weights in {directory} are damaged: {error}") from error
    if mismatched := sorted(info["mismatched_keys"]):
        name, held, expected = mismatched[0]
        raise CheckpointRefused(
            f"{len(mismatched)} of the weights in {directory} have another shape than {recipe.model_class} with its config: "
            f"{name} is {list(held)}, not {list(expected)}"
        )
    missing = set(info["missing_keys"])
    new = [(name, parameter) for name, parameter in model.named_parameters() if name in missing]
    count = sum(parameter.numel() for _, parameter in new)
    total = sum(parameter.numel() for parameter in model.parameters())
    if count > MOST * total:
        raise CheckpointRefused(
            f"{directory} holds the weights of another model: {count:,} of the {total:,} parameters of {recipe.model_class} "
            "are not there"
        )
    initialize(model.eval(), recipe.seed, only=missing)
    names = sorted(missing & set(model.state_dict()) - _tied(model, missing))
    origin = {"newly initialised": names, "unused": sorted(info["unexpected_keys"])}
    return model, origin | ({"set in the config": roles} if roles else {})


def _take_roles(config: Any, row: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, bool]]:
    """Set in ``config`` what the config of the row says of the role of the model, as a user does who loads it for this task;
    what was changed, by its path."""
    for name, value in row.items():
        if isinstance(value, Mapping) and isinstance(getattr(config, name, None), transformers.PreTrainedConfig):
            yield from _take_roles(getattr(config, name), value, f"{path}{name}.")
        elif name in ROLES and getattr(config, name, None) != value:
            setattr(config, name, value)
            yield f"{path}{name}", value


def _tied(model: Any, missing: set[str]) -> set[str]:
    """Of the missing names, those of a parameter that the checkpoint holds under another name, or that is named already."""
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    every = model.named_parameters(remove_duplicate=False)
    return {name for name, parameter in every if name in missing and first[id(parameter)] != name}


def _load_processor(recipe: Recipe, directory: Path) -> Any:
    """The processor of a checkpoint, of the kind that its row names, or else that its category has."""
    named = (recipe.processor or {}).get("class", "")
    auto = _auto_class(named, recipe)
    processor, cause = None, None
    try:
        processor = auto.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
        reason = _without_vocabulary(processor, directory)
    except Exception as error:  # whatever a file that is missing or broken makes of itself
        reason, cause = f"{auto.__name__} finds no processor in {directory}: {_said(error)}", error
    if not reason:
        return processor
    if named:
        raise CheckpointRefused(reason) from cause
    why = recipe.inputs.get("why", "tensors only")
    raise CheckpointUnavailable(
        f"the inputs of its row are made for the tiny checkpoint ({why}), and {reason}"
    ) from cause


_KINDS = {
    "ImageProcessor": transformers.AutoImageProcessor,
    "FeatureExtractor": transformers.AutoFeatureExtractor,
    "Processor": transformers.AutoProcessor,
    "Token": transformers.AutoTokenizer,
}
"""The class that loads a processor, by what stands in the name of its own; the first that does."""

_OF_CATEGORY = {
    "language": transformers.AutoTokenizer,
    "vision": transformers.AutoImageProcessor,
    "audio": transformers.AutoFeatureExtractor,
}


def _auto_class(named: str, recipe: Recipe) -> Any:
    found = (auto for kind, auto in _KINDS.items() if kind in named)
    return next(found, _OF_CATEGORY.get(recipe.category, transformers.AutoProcessor))


def _without_vocabulary(processor: Any, directory: Path) -> str:
    """Where the files of a vocabulary are missing, transformers makes a tokenizer that knows its special tokens alone. Says so;
    empty where it did not."""
    tokenizer = getattr(processor, "tokenizer", processor)
    if not isinstance(tokenizer, transformers.PreTrainedTokenizerBase) or not tokenizer.vocab_files_names:
        return ""
    files = {*tokenizer.vocab_files_names.values(), "tokenizer.json"}
    if any((directory / file).exists() for file in files):
        return ""
    return f"{directory} has no vocabulary of a tokenizer: none of {', '.join(sorted(files))}"


def _set_up(recipe: Recipe, model: Any, processor: Any) -> None:
    """Make a model answer in batches, and generate greedily."""
    tokenizer = getattr(processor, "tokenizer", processor)
    if isinstance(tokenizer, transformers.PreTrainedTokenizerBase):
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        tokenizer.padding_side = _padding_side(recipe.processor or {}) or tokenizer.padding_side
        if getattr(model.config, "pad_token_id", None) is None:
            model.config.pad_token_id = tokenizer.pad_token_id
    if model.can_generate():
        generation = {name: value for name, value in recipe.inputs.get("generation", {}).items() if name in GREEDY}
        pad = {} if model.generation_config.pad_token_id is not None else {"pad_token_id": model.config.pad_token_id}
        model.generation_config.update(**SAMPLING, **generation, **pad)


def _padding_side(processor: Mapping[str, Any]) -> str:
    """Where the row puts padding; empty where it leaves that to the tokenizer."""
    sides = [processor.get("options", {}).get("padding_side", "")]
    sides += [_padding_side(part) for part in processor.get("parts", {}).values()]
    return next(filter(None, sides), "")


def _inputs(recipe: Recipe, model: Any, processor: Any) -> dict[str, Any]:
    """The inputs of the row as they hold for this checkpoint."""
    inputs = dict(recipe.inputs)
    if inputs.get("modality") == "tensors":
        inputs = {name: value for name, value in inputs.items() if name not in TENSORS}
    if "suffix" in inputs:
        tokenizer = getattr(processor, "tokenizer", processor)
        ended = tokenizer("a")["input_ids"][-1] == tokenizer.eos_token_id
        inputs["suffix"] = "" if ended else tokenizer.eos_token
    if model.can_generate():
        # What it generates with is part of what its program is made of.
        inputs["generation"] = json.loads(model.generation_config.to_json_string(use_diff=False))
    return inputs


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and its table of missing weights: the verdict has them."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
