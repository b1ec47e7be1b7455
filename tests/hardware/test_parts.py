"""Which steps of a generation are traced."""

from __future__ import annotations

import pytest
from cases import job, recipe, task_on
from transformers.exporters import utils

from pytest_ipfs_accelerate.hardware.parts import late_decode, merges_features
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.opening import open_task


def test_codebooks_are_traced_at_a_later_step() -> None:
    task = open_task(job("musicgen", "text-generation", "cpu"), build_checkpoint(recipe("musicgen", "text-generation")))
    model, encoded = task.checkpoint.model, task.encode(list(task.samples()))
    with pytest.raises(RuntimeError, match="decompose_prefill_decode failed"):  # no longer: then nothing is replaced
        utils.decompose_prefill_decode(model, dict(encoded))
    with late_decode(model):
        stages = utils.decompose_prefill_decode(model, dict(encoded))
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
