"""A size that stays a symbol: what Python and torch make a number of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import recipe
from torch import Tensor
from traces import same, takes_another
from transformers.exporters import exporter_dynamo, utils

from pytest_ipfs_accelerate.hardware.export_inputs import adds_what_is_taken, reads_the_future
from pytest_ipfs_accelerate.hardware.export_patches import patched
from pytest_ipfs_accelerate.hardware.export_sizes import gathered, length, lengths_stay_symbols
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint


def rows(batch: int, length: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, length),)


def test_the_length_of_a_tensor_stays_a_symbol() -> None:
    assert takes_another(lambda tensor: tensor.new_ones(length(tensor), 1), rows)
    assert not takes_another(lambda tensor: tensor.new_ones(len(tensor), 1), rows)  # no longer? then it can go


def test_the_length_of_anything_is_what_python_says() -> None:
    for sized in ([1, 2], {"a": 1}, torch.zeros(3, 2), torch.Size([4])):
        assert length(sized) == len(sized)
    with pytest.raises(TypeError):
        length(torch.zeros(()))


def test_the_code_of_models_alone_counts_so_and_for_a_time() -> None:
    module: Any = __import__("transformers.models.deimv2.modeling_deimv2", fromlist=["modeling_deimv2"])
    with lengths_stay_symbols():
        assert vars(module)["len"] is length
        assert "len" not in vars(utils)
    with pytest.raises(RuntimeError, match="on its way out"), patched():
        raise RuntimeError("on its way out")
    assert "len" not in vars(module)


def along(batch: int, length: int) -> tuple[Tensor, ...]:
    return torch.randn(batch, length), torch.randint(0, length, (batch, 2))


def test_a_gather_takes_another_batch() -> None:
    replaced = gathered(torch.take_along_dim)
    assert takes_another(lambda values, index: replaced(values, index, dim=1), along)
    assert not takes_another(lambda values, index: torch.take_along_dim(values, index, dim=1), along)  # then it can go


@pytest.mark.parametrize(("shape", "dim"), [((3, 2), 1), ((3, 2), -1), ((1, 2), 1), ((6,), None)])
def test_a_gather_is_what_was_taken(shape: tuple[int, ...], dim: int | None) -> None:
    values, index = torch.randn(3, 5), torch.randint(0, 5, shape)
    assert same(gathered(torch.take_along_dim)(values, index, dim), torch.take_along_dim(values, index, dim))


def test_the_future_that_a_decoder_reads_is_an_input() -> None:
    model = build_checkpoint(recipe("time_series_transformer", "feature-extraction")).model
    future = torch.ones(2, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="Loss computation is not supported"):  # no longer? then it can go
        utils.prepare_for_export(model, {"future_values": future})
    _, prepared, flags = reads_the_future(utils.prepare_for_export)(
        model, {"future_values": future, "use_cache": False}
    )
    assert prepared["future_values"].dtype == torch.float32
    assert flags == {"use_cache": False}
    with pytest.raises(ValueError, match="Loss computation"):
        reads_the_future(utils.prepare_for_export)(model, {"labels": future})
    with patched():
        _, prepared, _ = exporter_dynamo.prepare_for_export(model, {"future_values": future})
    assert prepared.keys() == {"future_values"}


class Resampler(torch.nn.Module):
    """Reads a table of sizes, and takes nothing else by name."""

    spatial_merge_size = 2

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(_attn_implementation="sdpa")

    def forward(self, hidden: torch.Tensor, grid_thw: torch.Tensor) -> torch.Tensor:
        return hidden


class Tower(Resampler):
    def forward(self, hidden: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return hidden


def test_what_a_part_does_not_take_is_not_added() -> None:
    inputs = {"hidden": torch.ones(8, 4), "grid_thw": torch.tensor([[1, 2, 4]])}
    added = utils.prepare_for_export(Resampler(), dict(inputs))[1].keys() - inputs.keys()
    assert "cu_seqlens" in added  # no longer? then it can go
    prepared = adds_what_is_taken(utils.prepare_for_export)
    assert prepared(Resampler(), dict(inputs))[1].keys() == inputs.keys()
    assert prepared(Tower(), dict(inputs))[1].keys() == inputs.keys() | added
    with patched():
        assert exporter_dynamo.prepare_for_export(Resampler(), dict(inputs))[1].keys() == inputs.keys()
