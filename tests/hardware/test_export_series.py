"""Time series taken at once, and sounds cut: the numbers of the original, for another batch and another length."""

from __future__ import annotations

import functools
import inspect
from types import SimpleNamespace
from typing import Any

import onnxruntime
import openvino
import pytest
import torch
import torch.nn.functional as F
from cases import recipe
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from torch import Tensor
from traces import both, check_numbers, original_of, same, takes_another
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.mimi.modeling_mimi import MimiDecoderOutput
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeAudioEncoderConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeAudioEncoder
from transformers.models.timesfm2_5.modeling_timesfm2_5 import TimesFm2_5Model

from pytest_ipfs_accelerate.hardware import export_series  # noqa: F401 (registers what it replaces)
from pytest_ipfs_accelerate.hardware.export import _export
from pytest_ipfs_accelerate.hardware.export_patches import patched
from pytest_ipfs_accelerate.hardware.export_registry import PATCHES
from pytest_ipfs_accelerate.hardware.export_series import running_statistics
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint

INFORMER = "informer.modeling_informer.create_bidirectional_mask"


def predictor() -> Any:
    return build_checkpoint(recipe("timesfm", "time-series-prediction")).model


def series(batch: int, length: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, 64),)


@pytest.mark.parametrize("steps", [8, 64, 200])
@torch.no_grad()
def test_series_in_one_tensor_are_those_of_the_loop(steps: int) -> None:
    """Shorter than the context, as long as what a case takes, and longer."""
    torch.manual_seed(7)
    model = predictor()
    for batch in (1, 3):
        past = torch.randn(batch, steps)
        expected = model(past_values=past, return_dict=True)
        with patched():
            found = model(past_values=past, return_dict=True)
            few = model(past_values=past, freq=[1], return_dict=True)
        for name in ("mean_predictions", "full_predictions", "last_hidden_state"):
            assert torch.allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
        assert torch.allclose(
            few.full_predictions, model(past_values=past, freq=[1] * batch).full_predictions, atol=1e-4
        )
        assert not torch.allclose(few.full_predictions, expected.full_predictions, atol=1e-2)


@torch.no_grad()
def test_a_batch_of_series_is_taken_apart() -> None:
    """Where this fails, transformers or torch no longer has the fault: the replacement can go."""
    model = predictor()
    with patched():
        assert takes_another(lambda past: model(past_values=past).mean_predictions, series)
    assert not takes_another(lambda past: model(past_values=past).mean_predictions, series)


def test_a_series_without_a_mask_gets_none() -> None:
    model = build_checkpoint(recipe("informer", "feature-extraction")).model
    replaced, hidden = PATCHES[INFORMER](create_bidirectional_mask), torch.zeros(2, 3, 4)
    assert replaced(config=model.config, inputs_embeds=hidden, attention_mask=None) is None
    padded = {"config": model.config, "inputs_embeds": hidden, "attention_mask": torch.tensor([[1, 1, 0]] * 2)}
    assert torch.equal(replaced(**padded), create_bidirectional_mask(**padded))


def test_statistics_at_once_are_those_of_the_loop() -> None:
    """Series that begin with patches that are masked, with a part of one, and with none; of numbers far from zero, too, all of
    them or those of the second half."""
    torch.manual_seed(7)
    for first, second in ((0.0, 0.0), (200.0, 200.0), (0.0, 1000.0)):
        patches, masked = torch.randn(3, 6, 4), torch.zeros(3, 6, 4, dtype=torch.bool)
        patches[:, :3] += first
        patches[:, 3:] += second
        masked[0, :2], masked[1, 0, :3] = True, True
        count = mean = deviation = torch.zeros(3)
        history = []
        for number in range(6):
            count, mean, deviation = TimesFm2_5Model._update_running_stats(
                count, mean, deviation, patches[:, number], masked[:, number]
            )
            history.append((mean, deviation))
        expected = [torch.stack(found, dim=1) for found in zip(*history, strict=True)]
        found = running_statistics(patches, masked)
        assert all(torch.allclose(*pair, rtol=1e-4, atol=1e-4) for pair in zip(found, expected, strict=True))
        other = running_statistics(patches, torch.zeros_like(masked))
        assert not torch.allclose(other[0], expected[0], atol=1e-2)


@torch.no_grad()
def test_timesfm2_5_normalises_its_patches_at_once() -> None:
    torch.manual_seed(7)
    path = "timesfm2_5.modeling_timesfm2_5.TimesFm2_5Model.forward"
    model = build_checkpoint(recipe("timesfm2_5", "feature-extraction")).model
    past, padding = torch.randn(2, 8 * model.config.patch_length) + 2, torch.zeros(2, 8 * model.config.patch_length)
    padding[1, : 3 * model.config.patch_length + 5] = 1
    expected = model(past_values=past, past_values_padding=padding)
    found = PATCHES[path](original_of(path))(model, past_values=past, past_values_padding=padding)
    for name in ("last_hidden_state", "loc", "scale", "context_mu", "context_sigma"):
        assert torch.allclose(found[name], expected[name], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(expected.last_hidden_state, model(past_values=past).last_hidden_state, atol=1e-2)
    assert "for i in range(patched_inputs.shape[1])" in inspect.getsource(
        original_of(path)
    )  # no longer? then it can go


MIMI = "mimi.modeling_mimi.MimiModel.decode"


class Codec:
    """Gives four numbers for each code, and cuts them as mimi does."""

    config = SimpleNamespace(return_dict=True)
    quantizer = SimpleNamespace(decode=lambda codes: codes.repeat_interleave(4, dim=-1).float())

    def decoder(self, latents: Tensor, padding_mask: Tensor | None = None, **kwargs: Any) -> MimiDecoderOutput:
        if padding_mask is not None and padding_mask.shape[-1] < latents.shape[-1]:
            latents = latents[..., : padding_mask.shape[-1]]
        return MimiDecoderOutput(audio_values=latents)


def sounds(function: Any) -> Any:
    def call(numbers: Tensor, sound: Tensor) -> Any:
        codes = F.pad(numbers, (0, -(numbers.shape[-1] // -4) * 4 - numbers.shape[-1]))[..., ::4]
        return function(Codec(), codes, sound, return_dict=True).audio_values

    return call


def frames(batch: int, length: int) -> tuple[Tensor, ...]:
    """Whole frames where the trace begins, and less than that after it, as mimi pads them."""
    count = 4 * length - (length != 3)
    return torch.randint(0, 9, (batch, 1, count)), torch.ones(batch, 1, count)


def test_a_sound_is_cut_though_the_traced_one_was_not() -> None:
    """Where the last line fails, transformers or torch no longer has the fault: the replacement can go."""
    original = original_of(MIMI)
    replaced = PATCHES[MIMI](original)
    for length in (3, 5):
        sound = frames(2, length)[1]
        codes = torch.randint(0, 9, (2, 1, length))
        found = replaced(Codec(), codes, sound, return_dict=True).audio_values
        assert found.shape[-1] == sound.shape[-1]
        assert torch.equal(found, original(Codec(), codes, sound, return_dict=True).audio_values)
        for unchanged in (None, torch.ones(2, 1, 5 * length)):
            assert replaced(Codec(), codes, unchanged, return_dict=True).audio_values.shape[-1] == 4 * length
    assert takes_another(sounds(replaced), frames)
    assert not takes_another(sounds(original), frames)


SPLINE = "vits.modeling_vits._unconstrained_rational_quadratic_spline"


def splines(batch: int, length: int, spread: float = 4.0) -> tuple[Tensor, ...]:
    """Inputs within and without the bounds of ±5, and what a spline of ten bins is made from."""
    return spread * torch.randn(batch, length, 2), *(torch.randn(batch, length, 2, count) for count in (10, 10, 9))


@pytest.mark.parametrize("reverse", [False, True])
def test_the_spline_of_all_is_that_of_each(reverse: bool) -> None:
    def make(function: Any) -> Any:
        return lambda *inputs: function(*inputs, reverse=reverse, tail_bound=5.0)

    check_numbers(SPLINE, make, splines, [(1, 9), (2, 30), (3, 7)])
    expected, found = both(SPLINE, make)
    inside, outside = splines(2, 20, 0.1), splines(2, 20, 1e3)
    assert same(found(*inside), expected(*inside))
    assert same(found(*outside), (outside[0], torch.zeros(2, 20, 2)))
    # From a bound of 64 on, moving the last place of a spline by 1e-6 moves nothing: an input of 64 would lie in no bin.
    expected, found = (
        functools.partial(each, reverse=reverse, tail_bound=64.0) for each in both(SPLINE, lambda each: each)
    )
    far = splines(2, 20, 1e3)
    assert same(found(*far), expected(*far))


class Spline(torch.nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor, widths: Tensor, heights: Tensor, derivatives: Tensor) -> Any:
        return self.function(inputs, widths, heights, derivatives, reverse=True)


def test_onnx_runtime_gathers_from_no_spline() -> None:
    """Where this fails, the exporter or ONNX Runtime no longer has the fault: the replacement can go."""
    mixed, outside, runs = splines(2, 30), splines(2, 30, 1e4), []
    for function in both(SPLINE, Spline):
        names = ("inputs", "widths", "heights", "derivatives")
        component = _export(function, dict(zip(names, mixed, strict=True)), "")
        session = onnxruntime.InferenceSession(component.onnx)

        def run(given: tuple[Tensor, ...], session: Any = session) -> list[Tensor]:
            feed = {one.name: tensor.numpy() for one, tensor in zip(session.get_inputs(), given, strict=True)}
            return [*map(torch.from_numpy, session.run(None, feed))]

        assert same(run(mixed), [*function(*mixed)])
        runs.append(run)
    with pytest.raises(InvalidArgument, match="out of data bounds"):
        runs[0](outside)
    assert same(runs[1](outside), [outside[0], torch.zeros(2, 30, 2)])


WINDOWS = "qwen3_omni_moe.modeling_qwen3_omni_moe.Qwen3OmniMoeAudioEncoder.forward"


def windows(function: Any) -> Any:
    """The windows of 100 frames of sounds, convolved two at a time; what a call gives, and how often it convolved."""
    sizes = {"num_mel_bins": 8, "d_model": 8, "output_dim": 8, "encoder_ffn_dim": 8, "downsample_hidden_size": 4}
    depth = {"encoder_layers": 1, "encoder_attention_heads": 2, "n_window": 50, "n_window_infer": 200}
    encoder = Qwen3OmniMoeAudioEncoder(Qwen3OmniMoeAudioEncoderConfig(**sizes, **depth, conv_chunksize=2)).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    convolved: list[int] = []
    encoder.conv2d1.register_forward_hook(lambda *args: convolved.append(1))

    def call(features: Tensor, lengths: Tensor) -> tuple[Tensor, int]:
        convolved.clear()
        return function(encoder, features, lengths).last_hidden_state, len(convolved)

    return call


@torch.no_grad()
def test_windows_convolved_together_are_those_of_the_loop() -> None:
    expected, found = both(WINDOWS, windows)
    lengths = torch.tensor([300, 350])
    features = torch.randn(8, 650)
    (one, pieces), (other, whole) = expected(features, lengths), found(features, lengths)
    assert (pieces, whole) == (4, 1)
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found(features.flip(1), lengths)[0], one, atol=1e-2)


def test_tensors_split_again_behind_an_error() -> None:
    def fails(self: Any) -> None:
        assert len(torch.ones(8).split(3)) == 1
        assert len(torch.ones(8).split(2)) == 4
        raise RuntimeError

    with pytest.raises(RuntimeError):
        PATCHES[WINDOWS](fails)(SimpleNamespace(conv_chunksize=3))
    assert len(torch.ones(8).split(3)) == 3


class Halves(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([half * 2 for half in x.split(500)])


def test_openvino_splits_no_axis_of_unknown_length() -> None:
    """Where this fails, OpenVINO does: the replacement is needed for the number of windows alone."""
    component = _export(Halves(), {"x": torch.randn(6, 4)}, "")
    with pytest.raises(RuntimeError, match="requires static dimension on the split axis"):
        openvino.Core().read_model(component.onnx)
