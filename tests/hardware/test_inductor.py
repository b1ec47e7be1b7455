"""Inductor compiled it, or the case says that it did not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._dynamo import config as dynamo_config

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
    endpoint.model.forward = endpoint.model.__class__.forward.__get__(endpoint.model)
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
