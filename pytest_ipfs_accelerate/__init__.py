"""pytest-ipfs-accelerate: test Hugging Face models on every hardware, with evidence."""

from .matrix import Case
from .specs import Availability, HardwareSpec, TaskSpec
from .verdict import Comparison, Implementation, Outcome, Stage, Verdict

__version__ = "0.1.0"

__all__ = [
    "Availability",
    "Case",
    "Comparison",
    "HardwareSpec",
    "Implementation",
    "Outcome",
    "Stage",
    "TaskSpec",
    "Verdict",
]
