"""Tasks on sound with one forward."""

from __future__ import annotations

from .base import Classification


class AudioClassification(Classification):
    """The labels of a sound, best first."""
