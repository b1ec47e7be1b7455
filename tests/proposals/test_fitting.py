"""Shapes that the rules leave open are read as the model takes them."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PreTrainedConfig

from pytest_ipfs_accelerate.proposals import exceptions
from pytest_ipfs_accelerate.proposals.fitting import fitted, positions_beyond_text
from pytest_ipfs_accelerate.proposals.inputs import Unknown


class Tower(torch.nn.Module):
    """A model that takes one shape alone."""

    main_input_name = "pixel_values"
    config = PreTrainedConfig(image_size=32, num_channels=3)

    def __init__(self, takes: tuple[int, ...]) -> None:
        super().__init__()
        self.takes = takes

    def forward(self, pixel_values: torch.Tensor) -> Any:
        if pixel_values.shape != self.takes:
            raise ValueError(f"takes {self.takes}, found {tuple(pixel_values.shape)}")
        return SimpleNamespace(logits=pixel_values)


class Ear(Tower):
    main_input_name = "input_features"
    config = PreTrainedConfig(num_mel_bins=80)

    def forward(self, input_features: torch.Tensor) -> Any:  # type: ignore[override]
        return super().forward(input_features)


class Hearing(Tower):
    main_input_name = "input_values"
    config = PreTrainedConfig()

    def forward(self, input_values: torch.Tensor) -> Any:  # type: ignore[override]
        return super().forward(input_values)


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        (Tower, (1, 3, 32, 32)),
        (Tower, (1, 1, 3, 32, 32)),
        (Tower, (1, 2, 3, 32, 32)),
        (Ear, (1, 80, 64)),
        (Ear, (1, 64, 80)),
        (Ear, (1, 128, 64)),
        (Hearing, (1, 3200)),
        (Hearing, (1, 1, 3200)),
        (Hearing, (1, 3840)),
    ],
)
def test_a_shape_is_read_as_the_model_takes_it(model: Callable[[Any], Tower], takes: tuple[int, ...]) -> None:
    built = model(takes)
    (found,) = fitted(built, {})["tensors"].values()
    assert found["normal"] == list(takes[1:])


class Patched(Tower):
    """Takes the patches of a picture as the Qwen2-VL family describes them, in a form of its own."""

    config = PreTrainedConfig(patch_size=4, num_channels=3)

    def forward(self, pixel_values: torch.Tensor, image_grid_thw: torch.Tensor) -> Any:  # type: ignore[override]
        return super().forward(pixel_values)


@pytest.mark.parametrize("takes", [(16, 48), (16, 3, 4, 4), (1, 16, 48)])
def test_patches_are_read_as_the_model_takes_them(takes: tuple[int, ...]) -> None:
    found = fitted(Patched(takes), {})["tensors"]["pixel_values"]
    assert found["normal"] == list(takes[1:] if takes[0] == 1 else takes)
    assert found["join"] == ("stack" if takes[0] == 1 else "concat")


def test_a_mask_is_read_as_one_of_tiles() -> None:
    class Tiled(Tower):
        def forward(self, pixel_values: torch.Tensor, pixel_attention_mask: torch.Tensor) -> Any:  # type: ignore[override]
            assert (pixel_attention_mask.dtype, pixel_attention_mask.shape) == (torch.bool, (1, 1))
            return super().forward(pixel_values)

    found = fitted(Tiled((1, 1, 3, 32, 32)), {})["tensors"]
    assert found["pixel_attention_mask"] == {"ones": [1], "dtype": "bool"}


def test_a_mask_that_fits_nothing_is_left_out() -> None:
    class Masked(Ear):
        def forward(self, input_features: torch.Tensor, input_features_mask: torch.Tensor | None = None) -> Any:  # type: ignore[override]
            if input_features_mask is not None:
                raise ValueError("over features, not frames")
            return super().forward(input_features)

    assert set(fitted(Masked((1, 80, 64)), {})["tensors"]) == {"input_features"}


def test_a_shape_that_nothing_reads_stays_as_the_rules_say() -> None:
    assert fitted(Tower((7,)), {})["tensors"]["pixel_values"] == {"normal": [3, 32, 32]}


def test_an_exception_is_never_read_otherwise() -> None:
    given = {"inputs": {"tensors": {"pixel_values": {"ones": [5]}}}}
    assert fitted(Tower((1, 3, 32, 32)), given)["tensors"]["pixel_values"] == {"ones": [5]}


def test_an_argument_without_a_rule_is_named() -> None:
    class Robot(Tower):
        def forward(self, elbow: torch.Tensor) -> Any:  # type: ignore[override]
            return elbow

    with pytest.raises(Unknown, match="elbow"):
        fitted(Robot(()), {})


def test_positions_before_or_after_the_text_are_counted() -> None:
    class Prefixed(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor) -> Any:
            return {"states": torch.zeros(1, input_ids.shape[1] + 3, 2), "pooled": torch.zeros(1, 2)}

    text = {"tensors": {"input_ids": {"tokens": ["S"], "below": 9}}, "sizes": {"S": [11, 8]}, "pads": {"S": 4}}
    assert positions_beyond_text(Prefixed(), text) == 3
    assert positions_beyond_text(Prefixed(), {**text, "pads": {}}) == 0


def test_no_exception_is_written_twice() -> None:
    """A later entry of the same key would silently take the place of an earlier one."""
    keys: Counter[str] = Counter()
    for name in exceptions.TABLES:
        tree = ast.parse((Path(exceptions.__file__).parent / f"{name}.py").read_text("utf-8"))
        (table,) = (
            node.value
            for node in tree.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "EXCEPTIONS"
        )
        assert isinstance(table, ast.Dict)
        keys.update(key.value for key in table.keys if isinstance(key, ast.Constant))
    assert len(keys) > 100
    assert [key for key, times in keys.items() if times > 1] == []
