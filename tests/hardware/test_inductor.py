"""Inductor compiled it, or the case says that it did not."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._dynamo import config as dynamo_config
from transformers import T5Config, T5ForConditionalGeneration

from pytest_ipfs_accelerate.hardware.base import NotOnHardware
from pytest_ipfs_accelerate.hardware.inductor import InductorEndpoint

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="inductor needs a C++ compiler"
)


class Tiny(torch.nn.Module):
    """A matrix, and where ``broken`` a line that no graph holds."""

    dtype = torch.float32

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.broken = broken

    def forward(self, x: torch.Tensor) -> Any:
        x = self.linear(x)
        if self.broken:
            torch._dynamo.graph_break()
        return {"y": torch.tanh(x)}


def eager_again(model: torch.nn.Module) -> None:
    for module in model.modules():
        module.__dict__.pop("forward", None)


@pytest.fixture(autouse=True)
def dynamo_as_it_was() -> Iterator[None]:
    with dynamo_config.patch(fail_on_recompile_limit_hit=False):
        yield
    torch._dynamo.reset()


def test_what_was_compiled_is_counted_and_right() -> None:
    model = Tiny()
    x = torch.arange(8.0).reshape(2, 4)
    expected = Tiny.forward(model, x)["y"]
    endpoint = InductorEndpoint(model, allow_fallback=False)
    assert torch.allclose(endpoint.forward({"x": x})["y"], expected, atol=1e-6)
    evidence = endpoint.evidence()
    assert evidence["graphs"] == 1
    assert evidence["kernels generated"] or evidence["graphs from the cache"]
    assert "graph breaks" not in evidence


def test_a_model_that_ran_eagerly_is_found() -> None:
    endpoint = InductorEndpoint(Tiny(), allow_fallback=False)
    eager_again(endpoint.model)
    endpoint.forward({"x": torch.ones(2, 4)})
    with pytest.raises(NotOnHardware, match="inductor compiled 0 graphs"):
        endpoint.evidence()


def test_a_break_in_the_graph_fails_and_is_counted_where_it_is_allowed() -> None:
    with pytest.raises(torch._dynamo.exc.Unsupported):
        InductorEndpoint(Tiny(broken=True), allow_fallback=False).forward({"x": torch.ones(2, 4)})
    endpoint = InductorEndpoint(Tiny(broken=True), allow_fallback=True)
    endpoint.forward({"x": torch.ones(2, 4)})
    assert sum(endpoint.evidence()["graph breaks"].values()) == 1
    endpoint.allow_fallback = False
    with pytest.raises(NotOnHardware, match="1 breaks in the graph"):
        endpoint.evidence()


def seq2seq() -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).eval()
    model.generation_config.update(max_new_tokens=2, do_sample=False)
    return model


TOKENS = {"input_ids": torch.arange(1, 7).reshape(1, 6), "attention_mask": torch.ones(1, 6, dtype=torch.long)}


def test_the_encoder_of_a_generation_is_compiled_too() -> None:
    """``generate`` calls it by itself, outside the model's forward."""
    model = seq2seq()
    plain = copy.deepcopy(model).generate(**TOKENS)
    endpoint = InductorEndpoint(model, allow_fallback=False)
    assert torch.equal(endpoint.generate(TOKENS)["tokens"], plain[:, 1:])
    assert "modules that ran eagerly" not in endpoint.evidence()


def test_an_encoder_that_ran_eagerly_beside_a_compiled_model_is_found() -> None:
    endpoint = InductorEndpoint(seq2seq(), allow_fallback=False)
    eager_again(endpoint.model.get_encoder())
    endpoint.generate(TOKENS)
    with pytest.raises(NotOnHardware, match=r"\d+ modules ran eagerly: encoder"):
        endpoint.evidence()
    endpoint.allow_fallback = True
    assert all(name.startswith("encoder") for name in endpoint.evidence()["modules that ran eagerly"])
