"""What ``apple`` is: torch on the Apple GPU where there is one, or Core ML; off a Mac a conversion to Core ML, evaluated."""

from __future__ import annotations

import sys
from typing import Any

from .base import Hardware

MPS, CORE_ML = "MPS", "CoreML"


def open_apple(*, device: str = "", **options: Any) -> Hardware:
    """The hardware of a ``device``: ``MPS``, which is a Mac's own, or ``CoreML``, which is all that there is elsewhere."""
    if (device or (MPS if sys.platform == "darwin" else CORE_ML)) == MPS:
        from .torch_device import Mps

        return Mps(**options)
    from .coreml import CoreMl

    return CoreMl(**options)
