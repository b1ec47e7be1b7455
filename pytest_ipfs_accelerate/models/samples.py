"""Natural inputs, the same in every process: texts, pictures and sounds that a person would recognise as such."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SAMPLING_RATE = 16_000
"""Hertz."""

SHORT_TEXT = "the quick brown fox jumps over the lazy dog"
LONG_TEXT = "paris is the capital of france and rome is the capital of italy , she said"
OTHER_TEXT = "two birds sit on the old wooden fence in the garden"


def picture(seed: int, size: int = 48) -> Image.Image:
    """An RGB picture of ``size`` × ``size``: two colour ramps, a disc and a little noise, placed by ``seed``."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[0:size, 0:size] / size
    pixels = np.stack([row, column, 1 - row], axis=-1) * rng.uniform(0.4, 1.0, 3)
    centre = rng.uniform(0.3, 0.7, 2)
    disc = (row - centre[0]) ** 2 + (column - centre[1]) ** 2 < rng.uniform(0.02, 0.08)
    pixels[disc] = rng.uniform(0, 1, 3)
    pixels += rng.normal(0, 0.05, pixels.shape)
    return Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8), "RGB")


def sound(seed: int, seconds: float = 0.5, rate: int = SAMPLING_RATE) -> NDArray[np.float32]:
    """A mono waveform at ``rate`` hertz in [-1, 1]: a chord of three tones under an envelope, with a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    pitches, phases = rng.uniform(150, 3000, (3, 1)), rng.uniform(0, 2 * np.pi, (3, 1))
    chord = np.sin(2 * np.pi * pitches * time + phases).mean(axis=0)
    wave = chord * np.exp(-2 * time / seconds) + rng.normal(0, 0.02, time.shape)
    return np.asarray(wave.clip(-1, 1), np.float32)
