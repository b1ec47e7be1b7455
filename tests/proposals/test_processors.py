"""Real processors where one can be built offline, and why where none can."""

from __future__ import annotations

import pytest
from transformers import CONFIG_MAPPING

from pytest_ipfs_accelerate.models.processors import build_processor
from pytest_ipfs_accelerate.models.samples import picture, sound
from pytest_ipfs_accelerate.proposals.heads import heads
from pytest_ipfs_accelerate.proposals.joint import joint_facts, picture_and_text, sound_with_text
from pytest_ipfs_accelerate.proposals.processors import (
    feature_extractor_recipes,
    film_processor_recipe,
    image_processor_recipe,
    no_processor,
    reason_of,
)
from pytest_ipfs_accelerate.proposals.propose import CUTS, candidates
from pytest_ipfs_accelerate.proposals.trial import propose


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("qwen2_vl", "Qwen2VLProcessor takes a video processor, which needs torchvision"),
        ("pixtral", "PixtralProcessor needs Torchvision"),
        ("sapiens2", "Sapiens2ImageProcessor needs torchvision"),
        ("llama4_text", "transformers has no processor for this model type"),
    ],
)
def test_why_there_is_no_processor(model: str, why: str) -> None:
    assert no_processor(model) == why


def test_what_came_of_those_that_were_tried_is_said() -> None:
    assert no_processor("blip", ["BlipProcessor: ValueError: too small"]) == "BlipProcessor: ValueError: too small"
    assert no_processor("blip") == "no rule gives BlipProcessor what it takes"


def test_a_library_that_is_missing_is_named() -> None:
    assert reason_of(ImportError("\nFoo requires the librosa library but …")) == "needs librosa"
    assert reason_of(ValueError("\n too small\nby far")) == "ValueError: too small"


def test_a_picture_takes_as_many_tokens_as_the_model_makes_features() -> None:
    config = CONFIG_MAPPING["gemma3"]()
    recipe = next(picture_and_text("gemma3", [3, 64, 64], config, 4, "left", []))
    processor = build_processor(recipe)
    made = processor(text=[f"{processor.boi_token} what"], images=[[picture(0)]], return_tensors="pt")
    token = joint_facts(recipe, config)["image_token_index"]
    assert made["input_ids"][0].tolist().count(token) == 4
    assert list(made["pixel_values"].shape) == [1, 3, 64, 64]


def test_an_image_processor_makes_the_pictures_that_the_model_takes() -> None:
    recipe = image_processor_recipe("idefics3", [1, 3, 64, 64])
    assert recipe is not None
    made = build_processor(recipe)(images=[[picture(0)]], return_tensors="pt")
    assert list(made["pixel_values"].shape) == [1, 1, 3, 64, 64]
    assert image_processor_recipe("idefics3", [1, 3, 63, 64]) is None


def test_a_film_processor_makes_as_many_pictures_as_the_model_takes() -> None:
    recipe = film_processor_recipe("videomae", [4, 3, 32, 32])
    assert recipe is not None
    films = [[picture(seed) for seed in range(4)]]
    assert list(build_processor(recipe)(films, return_tensors="pt")["pixel_values"].shape) == [1, 4, 3, 32, 32]
    assert film_processor_recipe("vivit", [4, 3, 32, 32]) is None  # needs torchvision


def test_a_sound_takes_as_many_tokens_as_the_model_makes_features() -> None:
    config = CONFIG_MAPPING["qwen2_audio"]()
    *_, extractor = feature_extractor_recipes("qwen2_audio", mel=80, frames=64)
    recipe = next(sound_with_text("qwen2_audio", extractor, "left", []))
    processor = build_processor(recipe)
    made = processor(
        text=[f"{processor.audio_token} what"], audio=[sound(0, seconds=1)], sampling_rate=16_000, return_tensors="pt"
    )
    assert list(made["input_features"].shape) == [1, 80, 64]
    token = joint_facts(recipe, config)["audio_token_index"]
    assert (
        made["input_ids"][0].tolist().count(token) == 16
    )  # two convolutions and a pooling, by two in all but the first


@pytest.mark.parametrize(("task", "side"), [("image-text-to-text", "left"), ("feature-extraction", "right")])
def test_only_a_prompt_that_is_continued_is_padded_on_its_left(task: str, side: str) -> None:
    head = next(head for head in heads()["gemma3"] if head.key == task)
    recipe = next(candidates(head, CUTS[0]))
    assert build_processor(recipe.processor or {}).tokenizer.padding_side == side


def test_a_head_without_a_processor_says_what_came_of_the_one_that_came_furthest() -> None:
    head = next(head for head in heads()["vilt"] if head.key == "feature-extraction")
    recipe = propose(head).recipe
    assert recipe is not None
    assert recipe.processor is None
    assert recipe.inputs["why"] == "ViltProcessor: padding moves the reference: last_hidden_state"
