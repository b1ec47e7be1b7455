"""Fourier transforms as products with cosines and sines, for the time of a trace.

OpenVINO 2026.4 does not read the axis of ONNX' ``DFT`` where it is an input, as it is from opset 20 on, and always takes the
same one: fnet had a relative L2 error of 1.1, the sounds of xcodec2 9.4. ONNX Runtime's own gave the latter 5e-5. Core ML and
Qualcomm's HTP have no such operator.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true

from .export_registry import replaces


def waves(frequencies: Any, size: Any) -> tuple[Tensor, Tensor]:
    """Cosine and negative sine of 2π j k / size, each (frequencies, size): the real and the imaginary part of the first rows of
    the matrix of a discrete Fourier transform. The sizes may be symbols of a trace."""
    rows, columns, whole = torch.arange(frequencies), torch.arange(size), torch.full((1,), size)
    # In whole numbers up to one turn: fp32 has no digits left for the fraction of a thousand turns.
    angles = 2 * torch.pi * (rows[:, None] * columns[None, :] % whole / whole)
    return angles.cos(), -angles.sin()


@replaces("fnet.modeling_fnet.FNetBasicFourierTransform.forward")
def transformed_by_waves(original: Any) -> Any:
    """The real part of the transform over tokens and width is that of a product of two complex matrices with the states."""

    def forward(self: Any, hidden_states: Tensor) -> Any:
        transform = self.fourier_transform
        if not (isinstance(transform, partial) and transform.func is torch.fft.fftn):
            return original(self, hidden_states)
        (token_real, token_imaginary), (real, imaginary) = (waves(size, size) for size in hidden_states.shape[1:])
        token_real, token_imaginary, real, imaginary = (
            matrix.to(hidden_states) for matrix in (token_real, token_imaginary, real, imaginary)
        )
        return (token_real @ (hidden_states @ real) - token_imaginary @ (hidden_states @ imaginary),)

    return forward


def spectrum_by_waves(original: Any) -> Any:
    """``rfft`` of all of an axis in cosines and sines; anything else the old way."""

    @wraps(original)
    def rfft(input: Tensor, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
        size = input.shape[dim]
        whole = n is None or statically_known_true(n == size)
        if not whole or norm not in (None, "backward") or input.dtype != torch.float32:
            return original(input, n, dim, norm)  # type: ignore[no-any-return]
        states = input.movedim(dim, -1)
        real, imaginary = (states @ matrix.T.to(input) for matrix in waves(size // 2 + 1, size))
        return torch.complex(real, imaginary).movedim(-1, dim)

    return rfft


def samples_by_waves(original: Any) -> Any:
    """``irfft`` of all of an axis in cosines and sines; anything else the old way. Every frequency stands for its negative,
    too, but the first and, of an even number of samples, the last."""

    @wraps(original)
    def irfft(input: Tensor, n: Any = None, dim: int = -1, norm: str | None = None) -> Tensor:
        size = 2 * (input.shape[dim] - 1) if n is None else n
        half = size // 2 + 1
        whole = statically_known_true(input.shape[dim] == half)
        if not whole or norm not in (None, "backward") or input.dtype != torch.complex64:
            return original(input, n, dim, norm)  # type: ignore[no-any-return]
        steps = torch.arange(half)
        twice = torch.where((steps == 0) | (2 * steps == size), 1.0, 2.0)[:, None] / size
        cosine, sine = ((twice * matrix).to(input.real) for matrix in waves(half, size))
        real, imaginary = input.real.movedim(dim, -1), input.imag.movedim(dim, -1)
        return (real @ cosine + imaginary @ sine).movedim(-1, dim)

    return irfft
