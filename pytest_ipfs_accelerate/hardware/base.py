"""What every hardware is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ..models.checkpoint import Checkpoint
from ..store import Store
from ..verdict import Implementation

if TYPE_CHECKING:
    from .export import Program
    from .intermediate import Call
    from .steps import Generation

Tensors = dict[str, Tensor]

CLOSED = "{} lets nobody look at what lies between its inputs and its outputs"


class Endpoint(ABC):
    """A model lowered onto one hardware, callable. Inputs and outputs are tensors on the CPU, batch first."""

    device: str
    """The device that computes, by the name that its library gives it."""
    precision: str
    """The precision that the hardware was found to compute in: ``fp32``, ``fp16``, ``bf16``."""
    implementation: Implementation = Implementation.REAL
    generation: Generation | None = None
    """How the last :meth:`generate` went; ``None`` where there was none, or nobody watched it."""

    @abstractmethod
    def forward(self, inputs: Mapping[str, Tensor]) -> Tensors:
        """One forward: every tensor of the model's output by its name (a nested one by its dotted path)."""

    @abstractmethod
    def generate(self, inputs: Mapping[str, Tensor]) -> Tensors:
        """Greedy generation with the checkpoint's generation config: ``tokens`` (batch × new tokens) and ``logits``
        (batch × new tokens × vocabulary), of the generated part alone."""

    def twins(self) -> Mapping[str, Endpoint]:
        """Other ways in which this hardware computes the same, by name: each must agree with this one."""
        return {}

    def own_reference(self) -> Endpoint | None:
        """What this one is held against in place of fp32 on the CPU: a quantised program loses on purpose, so that it is held
        against another runtime on the same program. ``None`` where fp32 is the measure."""
        return None

    def parts(self, reference: Any, run: Callable[[Endpoint], object]) -> Iterator[Call]:
        """The calls of the parts of the model that ``run`` makes of this endpoint, in their order, with what they hold between
        their inputs and outputs: what ``--ipfs-explain`` looks through. ``reference`` is the torch endpoint on the CPU, or
        :meth:`own_reference`.

        Raises:
            NotImplementedError: this hardware lets nobody look inside.
        """
        raise NotImplementedError(CLOSED.format(type(self).__name__))

    def device_peak(self, *, restart: bool = False) -> int | None:
        """The bytes of the device's own memory that were held at most, since the count began or was last ``restart``-ed by this
        call; ``None`` where nobody counts them, or the memory is the host's."""
        return None

    def warnings(self) -> list[str]:
        """What a user is told of though the case may pass: an artifact that was damaged, say. Read after the last run."""
        return []

    @abstractmethod
    def evidence(self) -> dict[str, Any]:
        """What proves that this hardware computed what was asked: builtin values only. Read after the last run.

        Raises:
            NotOnHardware: it did not.
        """


class NotOnHardware(Exception):
    """The hardware did not compute what was asked of it, or not in the precision that was asked for."""


class Hardware(ABC):
    """A hardware, in the host process.

    ``format`` is what :meth:`lower` takes: ``"onnx"`` for a program exported once and shared by every hardware that reads
    it, ``None`` for the model itself. ``precision`` and ``device`` are what was asked for, and empty where that is left to
    the hardware; with ``allow_fallback`` the user lets some of it run elsewhere, and the evidence says how much did.
    ``store`` keeps what the hardware makes of a program and would have to make again, ``None`` where nothing is kept.
    """

    format: ClassVar[str | None] = None

    def __init__(
        self,
        *,
        threads: int = 1,
        precision: str = "",
        device: str = "",
        allow_fallback: bool = False,
        store: Store | None = None,
    ) -> None:
        self.threads = threads
        self.precision = precision
        self.device = device
        self.allow_fallback = allow_fallback
        self.store = store

    @abstractmethod
    def lower(self, checkpoint: Checkpoint, program: Program | None) -> Endpoint:
        """The checkpoint, or the program exported from it, ready to run here. The checkpoint's model stays as it is."""
