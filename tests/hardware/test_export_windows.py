"""Windows kept apart by a mask: the numbers of those that are cut out, for another batch and another length."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from traces import Call, Inputs, Make, both, check_needed, check_numbers, same
from transformers import CanineConfig, LEDConfig, LongformerConfig
from transformers.models.canine.modeling_canine import CanineAttention
from transformers.models.led.modeling_led import LEDEncoderSelfAttention
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

from pytest_ipfs_accelerate.hardware import export_windows  # noqa: F401 (registers what it replaces)
from pytest_ipfs_accelerate.hardware.export_registry import PATCHES


def windows(function: Any) -> Call:
    """Attention in windows of four characters."""
    config = CanineConfig(hidden_size=8, num_attention_heads=2, hidden_dropout_prob=0, attention_probs_dropout_prob=0)
    module = CanineAttention(config, True, False, False, 4, 4, 4, 4)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return lambda hidden, mask: function(module.eval(), hidden, mask)


def characters(batch: int, length: int) -> tuple[Tensor, ...]:
    """Texts of several windows, the last of which is not full; one character of each is masked, and of the last text all behind
    its first window."""
    count = 2 * length + 1
    mask = torch.ones(batch, count)
    mask[:, 1] = 0
    mask[-1, 4:] = 0
    return torch.randn(batch, count, 8), mask[:, None].expand(-1, count, -1)


def drawn(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.eval()


def longformer(function: Any) -> Call:
    """Attention to two tokens before and behind."""
    config = LongformerConfig(
        hidden_size=8, num_attention_heads=2, attention_window=[4], attention_probs_dropout_prob=0
    )
    module = drawn(LongformerSelfAttention(config, 0))
    return lambda hidden, mask: function(module, hidden, mask, mask < 0, mask > 0, True)


def without_global(function: Any) -> Call:
    return longformer(lambda *args: function(*args[:-1], False))


def led(function: Any) -> Call:
    config = LEDConfig(d_model=8, encoder_attention_heads=2, attention_window=[4], attention_dropout=0)
    module = drawn(LEDEncoderSelfAttention(config, 0))
    return lambda hidden, mask: function(module, hidden, mask, mask < 0, mask > 0, True)


def texts(batch: int, length: int) -> tuple[Tensor, ...]:
    """Whole windows; the first text sees all from its first and its fifth token, and the last has padding."""
    count = 4 * length
    mask = torch.zeros(batch, count)
    mask[0, 0], mask[0, 4] = 10000.0, 10000.0
    mask[-1, -3:] = -10000.0
    return torch.randn(batch, count, 8), mask


CASES: dict[str, tuple[Make, Inputs]] = {
    "canine.modeling_canine.CanineAttention.forward": (windows, characters),
    "longformer.modeling_longformer.LongformerSelfAttention.forward": (longformer, texts),
    "led.modeling_led.LEDEncoderSelfAttention.forward": (led, texts),
    "longformer.modeling_longformer._get_question_end_index": (
        lambda function: lambda tokens: function(tokens, 2),
        lambda batch, length: (
            torch.tensor([[0, 5, 6, 2, 2, 7, *[8] * length, 2], [0, 5, 2, 2, *[8] * length, 7, 7, 2]]),
        ),
    ),
}


@pytest.mark.parametrize("path", CASES)
@torch.no_grad()
def test_the_numbers_are_those_of_the_windows(path: str) -> None:
    check_numbers(path, *CASES[path], [(1, 2), (2, 3), (3, 7)])


@torch.no_grad()
def test_a_text_without_a_token_that_sees_all() -> None:
    expected, replaced = both("longformer.modeling_longformer.LongformerSelfAttention.forward", without_global)
    hidden, mask = texts(2, 3)
    assert same(replaced(hidden, mask.clamp(max=0)), expected(hidden, mask.clamp(max=0)))
    assert not same(replaced(hidden, mask), expected(hidden, mask.clamp(max=0)))


@pytest.mark.parametrize("path", CASES)
@torch.no_grad()
def test_the_windows_take_no_other_text(path: str) -> None:
    check_needed(path, *CASES[path])


@torch.no_grad()
def test_canine_by_other_rules_goes_the_old_way() -> None:
    calls: list[Any] = []
    replaced = PATCHES["canine.modeling_canine.CanineAttention.forward"](lambda *args: calls.append(args))
    hidden, mask = characters(1, 4)
    for rules in ((True, True), (True, False, True), (False,), (True, False, False, 8, 4, 4, 4)):
        replaced(CanineAttention(CanineConfig(hidden_size=8, num_attention_heads=2), *rules), hidden, mask)
    assert len(calls) == 4
