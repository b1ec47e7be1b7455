"""Tasks on sound with one forward."""

from __future__ import annotations

from typing import Any

from .base import Classification, Row, Task


class AudioClassification(Classification):
    """The labels of a sound, best first."""


class AudioFrameClassification(Task):
    """The labels of each moment of a sound: the probability of every label, one row a frame."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        return {"probabilities": outputs["logits"].float().sigmoid().numpy()}


class AudioXvector(Task):
    """What identifies a speaker: an embedding of unit length."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        embedding = outputs["embeddings"].float()
        return {"embedding": (embedding / embedding.norm()).numpy()}


class TextToAudio(Task):
    """A sound made of a text: its waveform, its spectrogram, or the codes that a vocoder turns into one."""

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        return self.read(outputs)

    def read(self, outputs: Row) -> Any:
        for name in ("waveform", "audio_values", "spectrogram"):
            if name in outputs:
                return {name: outputs[name].float().numpy()}
        return super().read(outputs)
