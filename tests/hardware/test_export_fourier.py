"""A Fourier transform in cosines and sines is torch's own; it is needed as long as OpenVINO does not read the axis of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor
from traces import Call, same, takes_another
from transformers import FNetConfig
from transformers.exporters import exporter_onnx, utils  # noqa: F401 (the first fills the table of the second)
from transformers.models.fnet.modeling_fnet import FNetBasicFourierTransform

from pytest_ipfs_accelerate.hardware.export_fourier import (
    samples_by_waves,
    spectrum_by_waves,
    transformed_by_waves,
    waves,
)
from pytest_ipfs_accelerate.hardware.export_patches import patched

ORIGINAL = FNetBasicFourierTransform.forward


def states(batch: int, length: int) -> tuple[Tensor, ...]:
    torch.manual_seed(3)
    return (torch.randn(batch, length, 6),)


def transform(forward: Any) -> Call:
    module = FNetBasicFourierTransform(FNetConfig(hidden_size=6))
    return lambda hidden: forward(module, hidden)[0]


@pytest.mark.parametrize("length", [1, 2, 7, 300])
def test_the_waves_give_the_transform_of_torch(length: int) -> None:
    (hidden,) = states(2, length)
    mine = transform(transformed_by_waves(ORIGINAL))(hidden)
    theirs = transform(ORIGINAL)(hidden)
    assert torch.linalg.norm(mine - theirs) < 1e-6 * torch.linalg.norm(theirs)
    assert length < 3 or not same(mine, torch.fft.fftn(hidden, dim=(0, 2)).real)


def test_a_large_transform_keeps_its_digits() -> None:
    cosine, sine = waves(1000, 1000)
    assert torch.allclose(cosine[999], cosine[1], atol=1e-5)
    assert torch.allclose(sine[999], -sine[1], atol=1e-5)


def test_a_trace_keeps_the_sizes_free() -> None:
    assert takes_another(transform(transformed_by_waves(ORIGINAL)), states)


def test_another_transform_goes_the_old_way() -> None:
    module = FNetBasicFourierTransform(FNetConfig(hidden_size=6))
    module.fourier_transform = lambda hidden: torch.complex(hidden, hidden)
    (hidden,) = states(1, 3)
    assert transformed_by_waves(ORIGINAL)(module, hidden)[0] is not None
    assert same(transformed_by_waves(ORIGINAL)(module, hidden)[0], hidden)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 9, 300])
@pytest.mark.parametrize("axis", [1, -1])
def test_there_and_back_as_torch_does_it(length: int, axis: int) -> None:
    torch.manual_seed(length)
    sound = torch.randn(2, length, length)
    rfft, irfft = spectrum_by_waves(torch.fft.rfft), samples_by_waves(torch.fft.irfft)
    theirs = torch.fft.rfft(sound, length, axis)
    assert torch.linalg.norm(rfft(sound, length, axis) - theirs) < 2e-6 * torch.linalg.norm(theirs)
    assert torch.allclose(irfft(theirs, n=length, dim=axis), sound, atol=1e-5)
    # Imaginary parts that no real sound has: of the first frequency, and of an even number's last, torch takes none.
    wild = theirs + 1j
    assert torch.allclose(irfft(wild, length, axis), torch.fft.irfft(wild, length, axis), atol=1e-5)


def test_what_is_cut_or_scaled_goes_the_old_way() -> None:
    sound = torch.randn(2, 8)
    cut = torch.fft.rfft(sound[:, :6])
    with patched():
        assert torch.equal(torch.fft.rfft(sound, 6), cut)
        ortho = torch.fft.rfft(sound, norm="ortho")
        assert torch.allclose(torch.fft.irfft(ortho, norm="ortho"), sound, atol=1e-5)
    assert torch.allclose(ortho * 8**0.5, torch.fft.rfft(sound), atol=1e-5)


class ThereAndBack(torch.nn.Module):
    def forward(self, sound: Tensor) -> Tensor:
        size = sound.shape[-1]
        spectrum = torch.fft.rfft(sound, size)
        return torch.fft.irfft(spectrum * spectrum.conj(), size)


def test_a_trace_of_there_and_back_has_no_transform_and_keeps_the_size_free() -> None:
    with patched():
        program = torch.export.export(
            ThereAndBack(), (torch.zeros(2, 8),), dynamic_shapes=({1: torch.export.Dim.AUTO},)
        )
    assert not any("fft" in str(node.target) for node in program.graph.nodes)
    other = torch.randn(2, 11)
    assert torch.allclose(program.module()(other), ThereAndBack()(other), atol=1e-4)


def test_ours_is_the_one_that_counts() -> None:
    """transformers has an irfft of its own for ONNX, by the ``DFT`` that OpenVINO does not take."""
    own = [patch for patch in utils._PATCHES["onnx"] if patch[:2] == ("torch.fft", "irfft")]
    assert own  # no longer? then the filter in patched() can go
    with patched(), utils.apply_patches("onnx"):
        sound = torch.fft.irfft(torch.fft.rfft(torch.arange(6.0)), 6)
        program = torch.export.export(ThereAndBack(), (torch.zeros(2, 8),), strict=False)
    assert torch.allclose(sound, torch.arange(6.0), atol=1e-5)
    assert not any("fft" in str(node.target) for node in program.graph.nodes)
    assert [patch for patch in utils._PATCHES["onnx"] if patch in own] == own


def test_openvino_does_not_read_the_axis() -> None:
    """Where this fails, OpenVINO has mended it, and the replacement is for Core ML and the HTP alone."""
    node = helper.make_node("DFT", ["x", "", "axis"], ["y"])
    axis = helper.make_tensor("axis", TensorProto.INT64, [], [2])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 5, 4, 2]) for name in ("x", "y")]
    graph = helper.make_graph([node], "dft", ends[:1], ends[1:], [axis])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    x = np.random.default_rng(0).normal(size=(1, 5, 4, 2)).astype(np.float32)
    complex_y = np.fft.fft(x[..., 0] + 1j * x[..., 1], axis=2)
    expected = np.stack([complex_y.real, complex_y.imag], axis=-1)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"x": x})[0], expected, atol=1e-4)
    core = openvino.Core()
    found = core.compile_model(core.read_model(model), "CPU")([x])[0]
    (axis_1,) = [np.fft.fft(x[..., 0] + 1j * x[..., 1], axis=1)]
    assert not np.allclose(found, expected, atol=1e-2)
    assert np.allclose(found, np.stack([axis_1.real, axis_1.imag], axis=-1), atol=1e-4)
