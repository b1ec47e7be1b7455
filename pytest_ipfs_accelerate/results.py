"""What a handler returns: a frozen wrapper around the outputs, so that nothing is ever set on a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .verdict import Implementation

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandlerResult:
    """One call of a handler.

    ``decoded`` is what the transformers pipeline of the task would give, one entry for each input (labels and scores, a
    text, an embedding). ``outputs`` maps the name of each raw output to its tensor on the CPU, batch first, read-only as a
    mapping. ``elapsed`` is the wall-clock seconds of the call of the endpoint, without processing and decoding.
    ``evidence`` says what proves that ``hardware`` computed it.
    """

    decoded: tuple[Any, ...]
    outputs: Mapping[str, Tensor]
    model: str
    task: str
    hardware: str
    device: str
    precision: str
    implementation: Implementation
    elapsed: float
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A frozen dataclass is set through object; this is on our own wrapper, never on a tensor.
        object.__setattr__(self, "outputs", MappingProxyType(dict(self.outputs)))
        object.__setattr__(self, "evidence", MappingProxyType(dict(self.evidence)))
