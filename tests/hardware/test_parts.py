"""Which steps of a generation are traced."""

from __future__ import annotations

import pytest
from cases import job, recipe, task_on
from transformers.exporters import utils

from pytest_ipfs_accelerate.hardware.parts import late_decode
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
