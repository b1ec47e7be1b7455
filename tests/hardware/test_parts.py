"""Which steps of a generation are traced."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import job, recipe, task_on
from transformers.exporters import OnnxConfig, OnnxExporter, utils

from pytest_ipfs_accelerate.hardware.export import decoder_prompt, export_program
from pytest_ipfs_accelerate.hardware.export_torch import torch_program
from pytest_ipfs_accelerate.hardware.parts import (
    called_outside,
    calls_encoder,
    decompose_multimodal,
    inner_generator,
    is_transducer,
    late_decode,
    left_over,
    merges_features,
    of_encoder,
    path_of,
)
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.opening import open_task


def opened(name: str, task_name: str) -> tuple[Any, dict[str, Any]]:
    """A model and a batch of two inputs of its task."""
    task = open_task(job(name, task_name, "cpu"), build_checkpoint(recipe(name, task_name)))
    return task.checkpoint.model, dict(task.encode(list(task.samples())))


def test_codebooks_are_traced_at_a_later_step() -> None:
    model, encoded = opened("musicgen", "text-generation")
    with pytest.raises(RuntimeError, match="decompose_prefill_decode failed"):  # no longer: then nothing is replaced
        utils.decompose_prefill_decode(model, encoded)
    with late_decode(model):
        stages = utils.decompose_prefill_decode(model, encoded)
    assert list(stages) == ["prefill", "decode"]
    _, decode = stages["decode"]
    assert decode["past_key_values"].get_seq_length() > 1


def test_any_other_generation_is_traced_as_it_is() -> None:
    original = utils.decompose_prefill_decode
    with late_decode(task_on(recipe("bert", "text-generation"), "text-generation").checkpoint.model):
        assert utils.decompose_prefill_decode is original


def test_a_model_of_no_known_part_is_exported_whole() -> None:
    pi0 = build_checkpoint(recipe("pi0", "feature-extraction")).model
    with pytest.raises(ValueError, match="found no multi-modal submodules"):  # no longer: then it is exported in parts
        utils.decompose_multimodal(pi0, {})
    assert not merges_features(pi0)
    assert merges_features(build_checkpoint(recipe("llava", "feature-extraction")).model)


def test_an_encoder_and_a_decoder_that_are_called_one_by_one_are_two_parts() -> None:
    model, inputs = opened("florence2", "feature-extraction")
    assert "language_model" not in utils.decompose_multimodal(model, inputs)  # no longer? then they are one part
    parts = decompose_multimodal(model, inputs)
    assert {name: path_of(model, part) for name, (part, _) in parts.items()} == {
        "image_encoder": "vision_tower",
        "multi_modal_projector": "multi_modal_projector",
        "text_encoder": "language_model.encoder",
        "text_decoder": "language_model.decoder",
    }
    assert calls_encoder(model)
    assert utils.decompose_multimodal(model, inputs).keys() < parts.keys()  # replaced for the time of the call alone
    assert not calls_encoder(build_checkpoint(recipe("t5gemma2", "feature-extraction")).model)
    assert not calls_encoder(build_checkpoint(recipe("llava", "feature-extraction")).model)


@pytest.mark.parametrize(
    ("name", "task_name", "inner"),
    [
        ("blip", "visual-question-answering", "text_decoder"),
        ("kosmos-2", "image-text-to-text", "text_model"),
        ("kosmos-2.5", "image-text-to-text", ""),
        ("seamless_m4t", "automatic-speech-recognition", ""),
    ],
)
def test_the_language_model_that_generates(name: str, task_name: str, inner: str) -> None:
    assert inner_generator(build_checkpoint(recipe(name, task_name)).model) == inner


def test_what_runs_around_a_language_model_that_generates_is_seen_in_the_generation() -> None:
    model, inputs = opened("blip", "visual-question-answering")
    with pytest.raises(ValueError, match="labels"):  # its forward wants an answer
        left_over(model, inputs, ["text_decoder"])
    found = left_over(model, inputs, ["text_decoder"], generates=True)
    assert found.keys() >= {"vision_model"}
    assert any(path.startswith("text_encoder.encoder") for path in found)


def test_kosmos_2_5_projects_its_picture_between_its_parts() -> None:
    model, inputs = opened("kosmos-2.5", "feature-extraction")
    assert not merges_features(model)  # no longer? then it needs no rule of its own
    assert "image_to_text_projection" in left_over(model, inputs, ["vision_model", "text_model"])


def test_a_decoder_that_is_given_its_tokens_gets_no_others() -> None:
    """dia calls them ``decoder_input_ids``; pp_formulanet, whose encoder reads pictures, ``input_ids``."""
    for name, task in (("dia", "automatic-speech-recognition"), ("pp_formulanet", "image-text-to-text")):
        model, inputs = opened(name, task)
        assert decoder_prompt(model, inputs) == {}
        assert "decoder_input_ids" not in of_encoder(model, inputs)
        with pytest.raises(RuntimeError, match="decompose_prefill_decode failed"):
            utils.decompose_prefill_decode(model, inputs | {"decoder_input_ids": torch.tensor([[1, 2, 3]] * 2)})
    assert decoder_prompt(*opened("whisper", "automatic-speech-recognition"))["decoder_input_ids"].shape == (2, 3)
    assert decoder_prompt(*opened("llava", "image-text-to-text")) == {}


@pytest.mark.parametrize("export", [export_program, torch_program])
def test_a_transducer_is_what_computes_in_it(export: Any) -> None:
    """The state of its decoder lies in an object that the exporter knows no tensors of (where it does, this can go)."""
    model, encoded = opened("parakeet_rnnt", "automatic-speech-recognition")
    with pytest.raises(RuntimeError, match="decoder_cache"):
        OnnxExporter().export_for_generation(model, dict(encoded), OnnxConfig(dynamic=True))
    assert is_transducer(model)
    assert not is_transducer(opened("whisper", "automatic-speech-recognition")[0])
    parts = left_over(model, encoded, [], generates=True)
    assert list(parts) == ["encoder", "encoder_projector", "decoder.lstm", "decoder.decoder_projector", "joint"]
    checkpoint = build_checkpoint(recipe("parakeet_rnnt", "automatic-speech-recognition"))
    program = export(checkpoint, encoded, generates=True)
    assert set(program.components) == set(parts)


def test_an_encoder_gets_what_its_generation_calls_it_with() -> None:
    model, inputs = opened("pop2piano", "automatic-speech-recognition")
    given = of_encoder(model, inputs)
    assert "inputs_embeds" in given
    assert "input_features" not in given
    assert given["inputs_embeds"].shape[1] > inputs["input_features"].shape[1]  # what a composer is, in front
    model, inputs = opened("whisper", "automatic-speech-recognition")
    assert {name: tuple(tensor.shape) for name, tensor in of_encoder(model, inputs).items()} == {
        name: tuple(tensor.shape) for name, tensor in inputs.items()
    }


def test_of_a_list_of_modules_each_is_left_over() -> None:
    """granite4_vision projects the layers of its tower one by one, with modules that it holds in a list."""
    model, inputs = opened("granite4_vision", "feature-extraction")
    found = left_over(model, inputs, ["vision_tower", "language_model"])
    assert found.keys() >= {f"layerwise_projectors.{number}" for number in range(len(model.layerwise_projectors))}


def test_what_a_generation_calls_outside_of_its_forward_is_left_over() -> None:
    """chameleon makes words of its picture by ``vqmodel.encode``, and its prefill is whole."""
    model, inputs = opened("chameleon", "image-text-to-text")
    assert not merges_features(model)
    found = called_outside(model, inputs)
    assert found.keys() == {f"model.vqmodel.{part}" for part in ("encoder", "quant_conv", "quantize")}
    everything = left_over(model, inputs, [], generates=True)
    assert everything.keys() > found.keys()
    assert "lm_head" in everything
    assert called_outside(*opened("bert", "text-generation")) == {}


@pytest.mark.parametrize(
    ("name", "language", "rest"),
    [("gemma4_unified", "language_model", "embed_vision"), ("emu3", "text_model", "vqmodel.encoder")],
)
def test_a_model_without_a_tower_is_exported_around_its_language_model(name: str, language: str, rest: str) -> None:
    """gemma4_unified embeds pictures and sounds as it does words, and emu3 makes words of them."""
    model, inputs = opened(name, "feature-extraction")
    with pytest.raises(
        ValueError, match="found no multi-modal submodules"
    ):  # no longer? then it needs no rule of its own
        utils.decompose_multimodal(model, dict(inputs))
    assert merges_features(model)
    parts = decompose_multimodal(model, inputs)
    assert {name: path_of(model, part) for name, (part, _) in parts.items()} == {"language_model": language}
    assert any(path.startswith(rest) for path in left_over(model, inputs, [language]))


def test_of_a_module_that_is_not_called_what_it_calls_is_left_over() -> None:
    """vibevoice takes sounds by ``audio_tower.encode``, which is no forward."""
    model, inputs = opened("vibevoice", "feature-extraction")
    taken = ["model.language_model", "lm_head", "model.multi_modal_projector"]
    assert left_over(model, inputs, taken).keys() == {"model.audio_tower.encoder"}


def test_a_quantiser_multiplies_by_its_codebook() -> None:
    """It holds nothing else, and does not look it up; a table of words is looked up, and stays."""
    model, inputs = opened("glm_image", "feature-extraction")
    found = left_over(model, inputs, ["visual", "language_model"])
    assert found.keys() == {"vqmodel.quant_conv", "vqmodel.quantize"}
    model, inputs = opened("bert", "fill-mask")
    assert not any("embeddings" in path for path in left_over(model, inputs, []))


@pytest.mark.parametrize("export", [export_program, torch_program])
def test_after_an_export_every_module_has_the_forward_of_its_class(export: Any) -> None:
    """A forward that was replaced for the trace would stay on a module of the checkpoint, and the next reference would be
    computed with it."""
    asked = job("hunyuan_vl", "feature-extraction", "cpu")
    task = open_task(asked, build_checkpoint(asked.recipe))
    model, inputs = task.checkpoint.model, dict(task.encode(list(task.samples())))
    own = model.vision_tower.patch_merger.forward
    model.vision_tower.patch_merger.forward = own
    export(task.checkpoint, inputs, generates=False)
    changed = [path for path, module in model.named_modules() if "forward" in vars(module)]
    assert changed == ["vision_tower.patch_merger"]
    assert vars(model.vision_tower.patch_merger)["forward"] is own
    with utils._capture_forward(model.vision_tower):
        pass
    assert "forward" in vars(model.vision_tower)  # no longer? then nothing has to be put back
