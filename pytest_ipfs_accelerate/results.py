"""What a handler returns: a frozen wrapper around the outputs, so that nothing is ever set on a tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .verdict import Implementation
from .words import nearest

if TYPE_CHECKING:
    from torch import Tensor

PRIMARY = ("logits", "last_hidden_state", "logits_per_image", "logits_per_audio", "logits_per_video", "image_embeds")
"""Names of the output that stands for a whole result, the first that there is; else the first output."""

OLDER = {"text": "generated_text", "class": "label", "confidence": "score"}
"""Keys by which consumers of the older skill modules ask for what the pipelines of transformers call otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HandlerResult:
    """One call of a handler.

    ``decoded`` is what the transformers pipeline of the task would give, one entry for each input (labels and scores, a
    text, an embedding). ``outputs`` maps the name of each raw output to its tensor on the CPU, batch first, read-only as a
    mapping. ``elapsed`` is the wall-clock seconds of the call of the endpoint, without processing and decoding.
    ``evidence`` says what proves that ``hardware`` computed it.

    It reads like the answers of the older skill modules, too: ``result["text"]``, ``result["label"]``, ``result["logits"]``,
    ``torch.as_tensor(result)``, ``numpy.asarray(result)``, ``float(result)``, and a loop over the answers. What is handed out
    is a copy; no tensor of the result is ever touched.
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

    @property
    def tensor(self) -> Tensor:
        """A copy of the output that stands for the whole: see :data:`PRIMARY`."""
        name = next((name for name in PRIMARY if name in self.outputs), next(iter(self.outputs)))
        return self.outputs[name].clone()

    def keys(self) -> list[str]:
        """What can be asked for by ``result[key]``: fields of the answers, their older names, raw outputs, and what is said of
        the whole."""
        answers = [key for answer in self.decoded[:1] for key in _fields(answer)]
        older = [old for old, new in OLDER.items() if new in answers and old not in answers]
        return list(dict.fromkeys([*answers, *older, *self.outputs, *self._said]))

    @property
    def _said(self) -> dict[str, Any]:
        names = ("model", "task", "hardware", "device", "precision", "elapsed")
        return {name: getattr(self, name) for name in names} | {
            "implementation_type": self.implementation.value.upper()
        }

    def __getitem__(self, key: str | int) -> Any:
        """The answer to an input by its number; or, by name, a field of the answer (of each answer, where there were several
        inputs), a copy of a raw output, or what is said of the whole.

        Raises:
            KeyError, IndexError: there is none.
        """
        if isinstance(key, int):
            return self.decoded[key]
        if key in self.outputs and not any(key in _fields(answer) for answer in self.decoded):
            return self.outputs[key].clone()
        if key in self._said:
            return self._said[key]
        if key not in self.keys():
            raise KeyError(f"{key!r}{nearest(key, self.keys())}")
        values = [_value(answer, key) for answer in self.decoded]
        return values[0] if len(values) == 1 else values

    def get(self, key: str, default: Any = None) -> Any:
        """``result[key]``, or ``default`` where there is no such key."""
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        return key in self.keys()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.decoded)

    def __len__(self) -> int:
        return len(self.decoded)

    def __float__(self) -> float:
        """The one score of one answer, the best of several; or the one number that there is.

        Raises:
            TypeError: there is no one number.
        """
        if len(self.decoded) == 1 and "score" in _fields(self.decoded[0]):
            return float(self["score"])
        if (tensor := self.tensor).numel() == 1:
            return float(tensor)
        raise TypeError(f"a result of {self.task} with {len(self.decoded)} answers is no one number")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """:attr:`tensor` for numpy."""
        tensor = self.tensor
        # numpy has no bfloat16.
        array = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
        return array if dtype is None else array.astype(dtype)

    def __dlpack__(self, **options: Any) -> Any:
        """:attr:`tensor` for ``torch.as_tensor`` and everything that speaks DLPack."""
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[Any, int]:
        return self.tensor.__dlpack_device__()


def _fields(answer: Any) -> Mapping[str, Any]:
    """The named fields of one answer; of a ranking those of its best entry."""
    best = answer[0] if isinstance(answer, list) and answer else answer
    return best if isinstance(best, Mapping) else {}


def _value(answer: Any, key: str) -> Any:
    found = _fields(answer)
    return found[key] if key in found else found.get(OLDER.get(key, key))
