"""Recipes for a head, proposed from the installed transformers: shrunk config, class, inputs and processor, the best first."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch.nn import Conv1d, Conv2d
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # type: ignore[attr-defined]

from ..builtin import TASKS
from ..models.checkpoint import build_config, build_model, model_class
from ..specs import Recipe
from ..tasks.generation import generates_tokens
from .exceptions import exception_of
from .fitting import fitted, positions_beyond_text
from .heads import Head
from .joint import PLACEHOLDERS, joint_facts, picture_and_text, sound_and_text, sound_with_text
from .processors import (
    feature_extractor_recipes,
    film_processor_recipe,
    image_processor_recipe,
    missing_end,
    no_processor,
    tokenizer_facts,
    tokenizer_recipe,
)
from .shrink import Cut, Options, laid_over, shrink
from .view import Model

GENERATION = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "num_beams": 1}
ABSOLUTE = "its positions are counted from the first padded token, and its forward takes no position_ids"
CONVOLVED = "its convolutions read across the end of a sound into what follows"
CONVOLVED_TEXT = "its convolutions over the text read across its end into the padding"
CUTS = (Cut(8), Cut(4), Cut(2), Cut(1), Cut(8, tight=True), Cut(1, tight=True), Cut(8, bare=True))
SEEDS = (0, 1, 2, 3)

TEXT_TASKS = frozenset(
    {
        "fill-mask",
        "text-classification",
        "token-classification",
        "question-answering",
        "multiple-choice",
        "next-sentence-prediction",
        "pretraining",
        "feature-extraction",
        "text-encoding",
        "text-generation",
        "text2text-generation",
        "text-to-audio",
    }
)
GENERATING = frozenset(spec.name for spec in TASKS.values() if spec.target.partition(":")[0].endswith("generation"))
PICTURE_AND_TEXT = frozenset(
    {
        "zero-shot-image-classification",
        "feature-extraction",
        "pretraining",
        "image-text-to-text",
        "any-to-any",
        "visual-question-answering",
    }
)
SOUND_AND_TEXT = frozenset(
    {"feature-extraction", "pretraining", "text2text-generation", "any-to-any", "automatic-speech-recognition"}
)
SOUND = frozenset({"input_values", "input_features"})
SOUND_ONLY = SOUND | frozenset({"attention_mask", "decoder_input_ids"})
TEXT_ONLY = frozenset({"input_ids", "attention_mask", "decoder_input_ids", "token_type_ids"})


def unproposed(head: Head, why: str) -> Recipe:
    """What stands in the registry for a head of which no tiny model could be built: no config, no inputs, and why."""
    return Recipe(
        model=head.model,
        category="",
        model_class=head.model_class,
        config_class=str(CONFIG_MAPPING_NAMES[head.model]),
        config={},
        processor=None,
        inputs={"modality": "tensors", "why": why, "tensors": {}},
    )


def base_recipe(
    head: Head, options: Mapping[str, Any], processor: Options | None, inputs: Options, seed: int
) -> Recipe:
    return Recipe(
        model=head.model,
        category="language",
        model_class=head.model_class,
        config_class=type(CONFIG_MAPPING[head.model]()).__name__,
        config=dict(options),
        processor=processor,
        inputs=inputs,
        seed=seed,
    )


def part_for(recipe: Recipe) -> str:
    """The nested config that the class of a recipe is built from; empty for the whole."""
    wanted = getattr(model_class(recipe), "config_class", None)
    config = build_config(recipe.config_class, recipe.config)
    if wanted is None or isinstance(config, wanted):
        return ""
    found = [name for name, value in vars(config).items() if isinstance(value, wanted)]
    return found[0] if found else ""


def candidates(head: Head, cut: Cut) -> Iterator[Recipe]:
    """Recipes for a head, the best first: with a real processor before without, a decoder that is fed before one that is not,
    and the first seed that gives well conditioned outputs."""
    over = exception_of(head)
    draft = Draft(head, over, cut)
    for recipe in draft.recipes():
        for form in _forms(recipe, draft.model, draft.inputs["tensors"]):
            for seed in over.get("seeds", SEEDS):
                yield replace(recipe, seed=seed, inputs={**recipe.inputs, **form})


def _forms(recipe: Recipe, built: PreTrainedModel, tensors: Options) -> list[Options]:
    """Ways to present the inputs of a recipe: as they are, and as what a model may need instead."""
    arguments = inspect.signature(built.forward).parameters
    forms: list[Options] = [{}]
    if recipe.processor is not None and "decoder_input_ids" in arguments and "generation" not in recipe.inputs:
        forms.append({"shifts": True})
    if "padding_shifts" in recipe.inputs:
        return forms
    if "generation" in recipe.inputs and "position_ids" not in arguments:
        forms.append({"padding_shifts": ABSOLUTE})
    if recipe.inputs["modality"] == "audio":
        forms.append({"padding_shifts": CONVOLVED})
    elif tensors.keys() <= TEXT_ONLY and any(
        isinstance(part, Conv1d | Conv2d) and max(part.kernel_size) > 1 for part in built.modules()
    ):
        forms.append({"padding_shifts": CONVOLVED_TEXT})
    return forms


class Draft:
    """What every candidate for a head shares: the options of the config, and a model built from them to look at."""

    def __init__(self, head: Head, over: Mapping[str, Any], cut: Cut) -> None:
        self.head, self.over = head, over
        self.config = CONFIG_MAPPING[head.model]()
        options = shrink(head.model, cut=cut, over=over.get("config"))
        if head.task not in GENERATING:
            options = without_cache(options, self.config)
        if head.task == "text-encoding" and getattr(self.config, "is_encoder_decoder", False):
            options["is_encoder_decoder"] = False
        alone = not getattr(self.config, "is_encoder_decoder", False)
        if head.task == "text-generation" and alone and getattr(self.config, "is_decoder", None) is False:
            options["is_decoder"] = True  # an encoder that generates: else it looks ahead, and keeps no cache
        start = getattr(self.config, "decoder_start_token_id", None)
        if getattr(self.config, "is_encoder_decoder", False) and start is None:
            bos = options.get("bos_token_id", getattr(self.config, "bos_token_id", None))
            options.setdefault("decoder_start_token_id", bos or 0)
        if wrapped := over.get("wrapped"):
            options = {**wrapped["config"], wrapped["as"]: {**options, "model_type": head.model}}
        self.options = options
        recipe = base_recipe(head, options, None, {}, 0)
        if wrapped:
            recipe = replace(recipe, config_class=wrapped["config_class"])
        self.recipe = replace(recipe, part=over.get("part") or part_for(recipe))
        self.model = build_model(self.recipe)
        self.inputs = fitted(self.model, over)
        self.refused: list[str] = []
        """Why processors could not be built."""
        self.generates = head.task in GENERATING and generates_tokens(self.model)

    def recipes(self) -> Iterator[Recipe]:
        """With each processor that works, then without one."""
        why = self.over.get("tensors only", "")
        if not why:
            for processor, inputs in self._processors():
                if self.generates:
                    inputs["generation"] = self._generation()
                options = agreeing(self.options, processor, self.config, self.over)
                yield replace(self.recipe, processor=processor, config=options, inputs=self._marked(inputs))
            why = self._no_processor()
        inputs = {"modality": "tensors", "why": why, **self.inputs}
        if self.generates:
            inputs["generation"] = self._generation()
            given = self.over.get("inputs", {}).get("tensors", {})
            inputs["tensors"] = {
                name: raw for name, raw in inputs["tensors"].items() if name != "decoder_input_ids" or name in given
            }
        beyond = 0 if self.generates else positions_beyond_text(self.model, self.inputs)
        for place in ("prefix", "suffix") if beyond else ("",):
            yield replace(self.recipe, inputs=self._marked({**inputs, **({place: beyond} if place else {})}))

    def _generation(self) -> Options:
        return {**GENERATION, **self.over.get("inputs", {}).get("generation", {})}

    def _marked(self, inputs: Options) -> Options:
        return inputs | {name: self.over[name] for name in ("padding_shifts", "single") if name in self.over}

    def _processors(self) -> Iterator[tuple[Options, Options]]:
        """Processors for the inputs of the model, each with the ``inputs`` of its row."""
        head, tensors = self.head, self.inputs["tensors"]
        given = self.over.get("processor")
        side = "left" if self.generates else "right"
        if head.task in TEXT_TASKS and tensors.keys() <= TEXT_ONLY and "input_ids" in tensors:
            processor = given or tokenizer_recipe(head.model, masks=head.task == "fill-mask")
            inputs: Options = {"modality": "text"}
            reads_end = head.task == "text-classification" and getattr(self.config, "is_encoder_decoder", False)
            if reads_end and (suffix := missing_end(processor)):
                inputs["suffix"] = suffix
            yield processor, inputs
        elif tensors.keys() <= {"pixel_values", "pixel_mask"}:
            shape = tensors.get("pixel_values", {}).get("normal", ())
            if len(shape) == 3 and (found := given or image_processor_recipe(head.model, shape)):
                yield found, {"modality": "image"}
            if len(shape) == 4 and (found := given or film_processor_recipe(head.model, shape)):
                yield found, {"modality": "video"}
        elif tensors.keys() <= SOUND_ONLY and tensors.keys() & SOUND:
            for found in [given] if given else self._extractors():
                if head.task == "automatic-speech-recognition":
                    yield from (
                        (recipe, {"modality": "audio"}) for recipe in sound_and_text(head.model, found, self.refused)
                    )
                else:
                    yield found, {"modality": "audio"}
        elif head.task in SOUND_AND_TEXT and "input_ids" in tensors and tensors.keys() & SOUND:
            for found in [given] if given else self._extractors():
                for joint in [given] if given else sound_with_text(head.model, found, side, self.refused):
                    yield joint, {"modality": "audio-text"}
        elif head.task in PICTURE_AND_TEXT and {"input_ids", "pixel_values"} <= tensors.keys():
            shape = tensors["pixel_values"].get("normal", ())
            features = next((count for _, count in tensors["input_ids"].get("place", ())), 0)
            for found in (
                [given]
                if given
                else picture_and_text(head.model, shape, self.config, features, side, self.refused)
                if shape
                else ()
            ):
                yield found, {"modality": "image-text"}

    def _extractors(self) -> Iterator[Options]:
        looked = Model(self.model)
        return feature_extractor_recipes(self.head.model, looked.mel, looked.frames)

    def _no_processor(self) -> str:
        """Why the inputs of this head are tensors alone."""
        return no_processor(self.head.model, self.refused)


def without_cache(options: Options, config: PreTrainedConfig) -> Options:
    """A forward that is compared gives no cache."""
    changed = dict(options)
    if hasattr(config, "use_cache"):
        changed["use_cache"] = False
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig) and isinstance(changed.get(name), dict):
            changed[name] = without_cache(changed[name], value)
    return changed


def agreeing(options: Options, processor: Options, config: PreTrainedConfig, over: Mapping[str, Any]) -> Options:
    """Options with the vocabulary and the special tokens of a tokenizer, where the config has such fields."""
    fixed = over.get("config", {})
    if "tokenizer" in processor.get("parts", {}):
        fixed = {name: value for name, value in fixed.items() if name not in PLACEHOLDERS}
        return laid_over(options, laid_over(joint_facts(processor, config), fixed))
    if "vocabulary" not in processor:
        return options
    facts = tokenizer_facts(json.dumps(processor))
    taken = {name: value for name, value in facts.items() if hasattr(config, name) and name not in fixed}
    if "decoder_start_token_id" in options and "decoder_start_token_id" not in fixed:
        taken["decoder_start_token_id"] = facts.get("bos_token_id", facts.get("pad_token_id"))
    return {**options, **taken}
