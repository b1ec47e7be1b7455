"""Real checkpoints are loaded as they are, say what they lack, and are refused in words where they cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import job, recipe
from real import real, save
from safetensors.torch import load_file, save_file

from pytest_ipfs_accelerate.bench import checkpoint_key, program_key
from pytest_ipfs_accelerate.hardware.artifacts import source_key
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.models.hub import CheckpointRefused, CheckpointUnavailable
from pytest_ipfs_accelerate.models.pretrained import MOST
from pytest_ipfs_accelerate.runner import run_case
from pytest_ipfs_accelerate.verdict import Outcome, Stage


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return save(tmp_path / "bert")


def test_the_weights_and_the_processor_of_the_directory(directory: Path) -> None:
    """Drawn with another seed than that of the row, so that the tiny checkpoint cannot be taken for it."""
    other = save(directory.parent / "other", seed=7)
    found, tiny = build_checkpoint(real(other)), build_checkpoint(recipe("bert", "fill-mask"))
    weights = load_file(other / "model.safetensors")
    for name, tensor in found.model.state_dict().items():
        assert name not in weights or torch.equal(tensor, weights[name])
    assert found.digest != tiny.digest
    assert build_checkpoint(real(directory)).digest == tiny.digest
    assert found.origin == {"source": "directory", "path": str(other), "newly initialised": [], "unused": []}
    assert found.processor("a dog")["input_ids"] == tiny.processor("a dog")["input_ids"]
    assert not found.model.training
    assert {parameter.dtype for parameter in found.model.parameters()} == {torch.float32}


def test_a_head_that_it_lacks_is_named_and_the_same_in_every_process(directory: Path) -> None:
    recipe_ = real(directory, task="text-classification")
    found = build_checkpoint(recipe_)
    new = found.origin["newly initialised"]
    assert new == ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"]
    assert [name for name in found.origin["unused"] if not name.startswith("cls.predictions.")] == []
    # As ours are, so that a fault shows in it: transformers' own standard deviation is 0.02.
    assert float(found.model.classifier.weight.detach().std()) > 0.1
    code = (
        "from real import *; from pathlib import Path; "
        f"print(build_checkpoint(real(Path({str(directory)!r}), task='text-classification')).digest)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.split()[-1] == found.digest


def test_what_is_tied_is_not_new(directory: Path) -> None:
    """The decoder of the masked head is the table of embeddings, and its bias the one above it."""
    held = load_file(directory / "model.safetensors")
    assert "cls.predictions.decoder.weight" not in held
    assert build_checkpoint(real(directory)).origin["newly initialised"] == []


def test_its_own_config_holds_and_the_row_says_what_it_is_used_as(directory: Path) -> None:
    found = build_checkpoint(real(directory, task="text-generation"))
    assert found.config.is_decoder
    assert found.origin["set in the config"] == {"is_decoder": True}
    assert found.recipe.config["is_decoder"] is True
    generation = found.model.generation_config
    assert (generation.do_sample, generation.num_beams, generation.max_new_tokens) == (False, 1, 8)
    assert found.recipe.inputs["generation"]["max_new_tokens"] == 8


def test_a_generation_config_that_samples_decides_greedily(directory: Path) -> None:
    (directory / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.1, "top_k": 3}))
    generation = build_checkpoint(real(directory, task="text-generation")).model.generation_config
    assert (generation.do_sample, generation.temperature, generation.top_k) == (False, 1.0, 50)


Damage = Callable[[Path], object]


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rename_all(directory: Path) -> None:
    weights = load_file(directory / "model.safetensors")
    renamed = {f"wrong.{name}": tensor for name, tensor in weights.items()}
    save_file(renamed, directory / "model.safetensors", metadata={"format": "pt"})


def to_pickle(directory: Path) -> None:
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()


def shard(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "model-00001-of-00002.safetensors")
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def cut(directory: Path, share: float) -> None:
    data = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda directory: cut(directory, 0.5), "the weights in .* are damaged: .*incomplete"),
        (lambda directory: cut(directory, 0.0), "the weights in .* are damaged: "),
        (
            to_pickle,
            r"has no weights as safetensors \(model.safetensors\): only pytorch_model.bin, and pickle is never",
        ),
        (lambda directory: (directory / "model.safetensors").unlink(), r"has no weights as safetensors \([^:]*\)$"),
        (lambda directory: (directory / "config.json").unlink(), "bert has no config.json"),
        (lambda directory: directory.rename(directory.parent / "away"), "bert is no directory"),
        (shard, "lacks 1 of 2 parts of its weights: model-00002-of-00002.safetensors"),
        (
            lambda directory: edit(directory / "config.json", model_type="roberta"),
            "says model_type 'roberta', not 'bert'",
        ),
        (
            lambda directory: edit(directory / "config.json", intermediate_size=32),
            r"another shape than BertForMaskedLM .*intermediate.dense.bias is \[\d+\], not \[32\]",
        ),
        (rename_all, "holds the weights of another model: [0-9,]+ of the [0-9,]+ parameters of BertForMaskedLM"),
        (
            lambda directory: [(directory / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
            "has no vocabulary of a tokenizer: none of tokenizer.json, vocab.txt",
        ),
        (lambda directory: (directory / "tokenizer.json").write_text("{"), "AutoTokenizer finds no processor in"),
    ],
    ids=[
        "half",
        "empty",
        "pickle",
        "none",
        "no config",
        "nothing",
        "a part",
        "type",
        "shape",
        "names",
        "no tokenizer",
        "broken tokenizer",
    ],
)
def test_what_cannot_be_loaded_is_refused_in_words(directory: Path, damage: Damage, words: str) -> None:
    build_checkpoint(real(directory))
    damage(directory)
    with pytest.raises(CheckpointRefused, match=words):
        build_checkpoint(real(directory))


@pytest.mark.parametrize("source", ["tiny", "directory"])
def test_another_checkpoint_in_its_place_is_found_by_parity(directory: Path, source: str) -> None:
    wanted = job("bert", "fill-mask", "cpu", "sabotage:Substituted")
    wanted = replace(wanted, recipe=real(directory) if source == "directory" else wanted.recipe)
    verdict = run_case(wanted, lambda stage: None)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.PARITY)
    assert "the output departs from the reference" in verdict.reason
    assert verdict.evidence["checkpoint"]["source"] == source


def test_what_is_refused_is_a_failure_of_the_stage_build(directory: Path) -> None:
    cut(directory, 0.5)
    verdict = run_case(replace(job("bert", "fill-mask", "cpu"), recipe=real(directory)), lambda stage: None)
    assert (verdict.outcome, verdict.stage) == (Outcome.FAILED, Stage.BUILD)
    assert verdict.exception == "CheckpointRefused"
    assert verdict.reason.startswith(f"CheckpointRefused: the weights in {directory} are damaged: ")


def test_the_share_that_may_be_new_lets_heads_pass_and_no_more() -> None:
    assert 0.5 < MOST < 1


def test_a_picture_with_the_processor_of_the_directory(tmp_path: Path) -> None:
    task = "image-classification"
    found = build_checkpoint(real(save(tmp_path / "vit", "vit", task), "vit", task))
    assert type(found.processor).__name__ == build_checkpoint(recipe("vit", task)).processor.__class__.__name__
    assert found.processor.size == build_checkpoint(recipe("vit", task)).processor.size


def test_inputs_made_for_the_tiny_checkpoint_are_not_fed_to_another(tmp_path: Path) -> None:
    """A row without a processor describes tensors of the sizes of its own config."""
    model, task = "patchtst", "time-series-regression"
    assert recipe(model, task).processor is None
    directory = tmp_path / model
    build_checkpoint(recipe(model, task)).model.save_pretrained(directory)
    with pytest.raises(CheckpointUnavailable, match="the inputs of its row are made for the tiny checkpoint"):
        build_checkpoint(real(directory, model, task))


def test_the_keys_tell_checkpoints_apart(directory: Path) -> None:
    tiny = build_checkpoint(recipe("bert", "fill-mask"))
    before = build_checkpoint(real(directory))
    first = checkpoint_key(real(directory))
    inputs = dict(before.processor("a dog", return_tensors="pt"))
    varying = dict.fromkeys(inputs, (0, 1))

    def key(checkpoint: object) -> str:
        return program_key(checkpoint.recipe, inputs, generates=False, varying=varying)  # type: ignore[attr-defined]

    weights = load_file(directory / "model.safetensors")
    weights["cls.predictions.bias"] += 1
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    os.utime(directory / "model.safetensors", ns=(1, 1))
    after = build_checkpoint(real(directory))
    keys = {checkpoint_key(recipe("bert", "fill-mask")), first, checkpoint_key(real(directory))}
    assert len(keys) == 3
    assert len({key(tiny), key(before), key(after)}) == 3
    assert len({source_key(each, inputs, "forward") for each in (before, after)}) == 2
    # One with the same weights at another place is the same program: what is kept of it is found again.
    moved = directory.parent / "moved"
    directory.rename(moved)
    again = build_checkpoint(real(moved))
    assert key(again) == key(after)
    assert source_key(again, inputs, "forward") == source_key(after, inputs, "forward")
    # With the same weights and another config it is another one.
    edit(moved / "config.json", hidden_act="relu")
    assert key(build_checkpoint(real(moved))) != key(again)
