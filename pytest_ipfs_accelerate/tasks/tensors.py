"""Inputs made of tensors alone, for a model that has no processor which works here.

The registry describes each tensor, and why there is no processor. Natural input is the object of these tensors, without a
batch axis. A description is one kind and its shape:

- ``{"tokens": ["S"], "below": 200, "place": [[490, 16]]}``: token ids from ``from`` (5) up to ``below``, drawn by seed; after
  the first two positions stand the placeholders, here the id 490 sixteen times.
- ``{"normal": [3, 64, 64]}``, ``{"uniform": […]}``: drawn by seed; ``scale`` and ``shift`` change their size.
- ``{"codes": [4, "T"], "below": 16}``: integers that are no tokens.
- ``{"boxes": ["S"]}``: four corners in 0…100 for each position.
- ``{"ones": ["S"]}``, ``{"zeros": ["S"], "set": [[2, 16, 1]]}``, ``{"count": ["S"]}``: masks, types (here 1 at the sixteen
  positions from 2) and positions; ``{"value": […]}``: these numbers.

A letter in a shape is a size: ``sizes`` gives it for the first and the second sample, ``pads`` by how much the padded form
of the first is longer; padding stands after a sample, but before it where the model generates or ``left`` says why it must.
``dtype`` overrides that of the kind. ``"join": "concat"`` puts the inputs of a batch one after the other
along the first axis, ``"last"`` along the last one, where most are stacked.

``frames`` says that the first axis of every output counts the frames of a film, and within each frame the inputs of the
batch: an answer is then one for each frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..models.checkpoint import Checkpoint
from .base import Row, Task, batch_size, is_batch_major

_INTEGERS = ("tokens", "codes", "boxes", "ones", "zeros", "count", "value")
_CONTENT = ("tokens", "normal", "uniform", "codes", "boxes")
KINDS = frozenset((*_INTEGERS, "normal", "uniform"))


class Description:
    """One tensor of the registry.

    Raises:
        ValueError: it names no kind, or a size that is not given.
    """

    def __init__(self, name: str, raw: Mapping[str, Any]) -> None:
        kinds = [kind for kind in KINDS if kind in raw]
        if len(kinds) != 1:
            raise ValueError(
                f"the tensor {name} has {len(kinds)} of the kinds {', '.join(sorted(KINDS))}, expected one"
            )
        self.name, self.raw, self.kind = name, raw, kinds[0]
        self.joined = raw.get("join") in ("concat", "last")
        self.join_axis = -1 if raw.get("join") == "last" else 0
        self.shape: list[int | str] = [] if self.kind == "value" else list(raw[self.kind])
        default = torch.int64 if self.kind in _INTEGERS else torch.float32
        self.dtype: torch.dtype = getattr(torch, raw["dtype"]) if "dtype" in raw else default

    def make(self, sizes: Mapping[str, int], seed: int) -> Tensor:
        """The tensor of one sample."""
        if self.kind == "value":
            return torch.tensor(self.raw["value"], dtype=self.dtype)
        shape = [size if isinstance(size, int) else sizes[size] for size in self.shape]
        # A stream of its own for each name, so that adding a tensor changes no other.
        draw = torch.Generator().manual_seed(seed * 1000 + sum(map(ord, self.name)))
        return self._drawn(shape, draw).to(self.dtype)

    def _drawn(self, shape: list[int], draw: torch.Generator) -> Tensor:
        match self.kind:
            case "tokens":
                tokens = torch.randint(self.raw.get("from", 5), self.raw["below"], shape, generator=draw)
                at = 2
                for token, count in self.raw.get("place", ()):
                    tokens[..., at : at + count] = token
                    at += count
                for position, token in self.raw.get("at", ()):
                    tokens[..., position] = token
                return tokens
            case "codes":
                return torch.randint(self.raw.get("from", 0), self.raw["below"], shape, generator=draw)
            case "boxes":
                corner = torch.randint(0, 50, (*shape, 2), generator=draw)
                return torch.cat([corner, corner + torch.randint(1, 50, (*shape, 2), generator=draw)], -1)
            case "count":
                return torch.arange(shape[-1]).expand(shape)
            case "ones" | "zeros":
                filled = torch.full(shape, float(self.kind == "ones"))
                for start, count, value in self.raw.get("set", ()):
                    filled[..., start : start + count] = value
                return filled
            case "uniform":
                numbers = torch.rand(shape, generator=draw)
            case _:
                numbers = torch.randn(shape, generator=draw)
        drawn: Tensor = numbers * self.raw.get("scale", 1) + self.raw.get("shift", 0)
        return drawn

    def pad(self, tensor: Tensor, lengths: Mapping[str, int], *, left: bool) -> Tensor:
        """``tensor`` of one sample, as long as ``lengths`` say; a padded position holds ``pad``, or zero."""
        for axis, size in enumerate(self.shape):
            if isinstance(size, str) and (missing := lengths[size] - tensor.shape[axis]) > 0:
                shape = list(tensor.shape)
                shape[axis] = missing
                filler = torch.full(shape, self.raw.get("pad", 0), dtype=tensor.dtype)
                tensor = torch.cat([filler, tensor] if left else [tensor, filler], axis)
        return tensor

    def varied(self, tensor: Tensor) -> Tensor | None:
        """A batch with other content of the same shape; ``None`` for a mask, and for numbers that are given."""
        if self.kind not in _CONTENT or self.raw.get("content") is False:
            return None
        if self.kind == "boxes":
            return tensor.roll(1, 1)
        if self.kind != "tokens":
            axis = max((axis for axis in range(tensor.dim()) if tensor.shape[axis] > 1), default=None)
            if axis is None:
                return tensor + (0.5 if tensor.is_floating_point() else 1)  # one number: nothing to turn round
            return tensor.flip(axis) if self.kind != "codes" else tensor.roll(1, axis)
        placed = [token for token, _ in self.raw.get("place", ())] + [token for _, token in self.raw.get("at", ())]
        free = ~torch.isin(tensor, torch.tensor([*placed, self.raw.get("pad", 0)]))
        changed = tensor.clone()
        changed[free] = tensor[free].roll(1)
        return changed


class TensorsOnly(Task):
    """A task of any kind on inputs without a processor. What to run is asked of the task, which also reads the raw outputs."""

    def __init__(self, kind: type[Task], checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.kind = kind(checkpoint)
        self.generates = self.kind.generates
        self.descriptions = [Description(name, raw) for name, raw in self.options["tensors"].items()]
        self.sizes: Mapping[str, Sequence[int]] = self.options.get("sizes", {})
        self.pads: Mapping[str, int] = self.options.get("pads", {})
        self.frames: int = self.options.get("frames", 0)

    def samples(self) -> tuple[Any, Any]:
        return self._sample(0), self._sample(1)

    def _sample(self, index: int) -> dict[str, Tensor]:
        sizes = {size: lengths[index] for size, lengths in self.sizes.items()}
        return {description.name: description.make(sizes, index) for description in self.descriptions}

    def encode(self, inputs: Sequence[Any], pad_to: int | None = None) -> dict[str, Tensor]:
        """The batch; with ``pad_to`` its padding is that of the padded form, whatever the number."""
        lengths = self._lengths(inputs)
        if pad_to is not None:
            lengths = {size: length + self.pads.get(size, 0) for size, length in lengths.items()}
        encoded = {}
        for description in self.descriptions:
            tensors = [description.pad(item[description.name], lengths, left=self._left) for item in inputs]
            encoded[description.name] = (
                torch.cat(tensors, description.join_axis) if description.joined else torch.stack(tensors)
            )
        return encoded

    @property
    def _left(self) -> bool:
        """Whether padding stands before a sample: where a model generates, and where ``left`` says why it does."""
        return self.generates or "left" in self.options

    def _lengths(self, inputs: Sequence[Mapping[str, Tensor]]) -> dict[str, int]:
        lengths: dict[str, int] = {}
        for description in self.descriptions:
            for axis, size in enumerate(description.shape):
                if isinstance(size, str):
                    longest = max(item[description.name].shape[axis] for item in inputs)
                    lengths[size] = max(longest, lengths.get(size, 0))
        return lengths

    @property
    def unpadded(self) -> str:
        if shifts := self.options.get("padding_shifts"):
            return str(shifts)
        return "its forward takes no mask" if self.sizes and not self.pads else ""

    @property
    def padding_length(self) -> int | None:
        return 0 if self.pads else None

    def rows(self, tensors: Mapping[str, Tensor], encoded: Mapping[str, Tensor]) -> list[Row]:
        size = self._size(encoded)
        mask = encoded.get("attention_mask")
        if mask is not None and not is_batch_major(mask, size):
            mask = None
        return [
            {
                name: self._part(name, tensor, index, size, mask)
                for name, tensor in tensors.items()
                if self._splits(tensor, size)
            }
            for index in range(size)
        ]

    def unassigned(self, tensors: Mapping[str, Tensor], encoded: Mapping[str, Tensor]) -> list[str]:
        size = self._size(encoded)
        return [name for name, tensor in tensors.items() if not self._splits(tensor, size)]

    def _size(self, encoded: Mapping[str, Tensor]) -> int:
        """How many inputs a batch holds."""
        stacked = next((item for item in self.descriptions if not item.joined), None)
        if stacked is not None:
            return batch_size({stacked.name: encoded[stacked.name]})
        first = self.descriptions[0]
        return int(encoded[first.name].shape[0] // self._sample(0)[first.name].shape[0])

    @property
    def _all_joined(self) -> bool:
        return all(description.joined for description in self.descriptions)

    def _splits(self, tensor: Tensor, size: int) -> bool:
        if self._all_joined:
            return tensor.dim() > 0 and tensor.shape[0] % size == 0
        return is_batch_major(tensor, max(self.frames, 1) * size)

    def _part(self, name: str, tensor: Tensor, index: int, size: int, mask: Tensor | None) -> Tensor:
        if self._all_joined:
            return tensor.chunk(size)[index]
        if self.frames:
            return tensor[index::size]
        return self._row(name, tensor, index, mask)

    def _trim(self, tensor: Tensor, mask: Tensor | None) -> Tensor:
        """Without the padded positions on any axis (a map of attention has two). A model that puts the positions of a picture
        before or after those of its text has ``prefix`` or ``suffix`` of them, which are never padded."""
        if self.generates or mask is None or mask.dim() != 1:
            return tensor
        before, after = (torch.ones(self.options.get(name, 0), dtype=torch.bool) for name in ("prefix", "suffix"))
        whole = torch.cat([before, mask.bool(), after])
        for axis, length in enumerate(tensor.shape):
            kept = whole if length == len(whole) else mask.bool() if length == len(mask) else None
            if kept is not None and not kept.all():
                tensor = tensor.index_select(axis, kept.nonzero().flatten())
        return tensor

    def variations(self, encoded: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        changed = {item.name: item.varied(encoded[item.name]) for item in self.descriptions}
        return {name: {**encoded, name: tensor} for name, tensor in changed.items() if tensor is not None}

    def decode(self, outputs: Row, encoded: Row, natural: Any) -> Any:
        if self.frames:
            frames = ({name: tensor[frame] for name, tensor in outputs.items()} for frame in range(self.frames))
            return [self.kind.read(frame) for frame in frames]
        return self.kind.read(outputs)

    def differences(self, expected: Any, actual: Any, bound: float, where: str) -> Iterable[str]:
        if not self.frames:
            return self.kind.differences(expected, actual, bound, where)
        pairs = enumerate(zip(expected, actual, strict=True))
        return [
            found for frame, pair in pairs for found in self.kind.differences(*pair, bound, f"{where}, frame {frame}")
        ]
