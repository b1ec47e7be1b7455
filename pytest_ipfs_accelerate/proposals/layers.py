"""Which layers of a model a tiny config keeps: few, but one of each kind, and what points at layers points at those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import caps

_COUNTS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers", "depth", "encoder_layers")


def first_number(fields: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The first of these fields that is a whole number."""
    return next((fields[name] for name in names if type(fields.get(name)) is int), None)


def is_ints(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(type(item) is int for item in value)


class Layers:
    """The layers of one config. ``old`` is how many there are, or ``None`` where no field says; ``count`` is how many stay."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields
        self.old = old = first_number(fields, _COUNTS)
        self.count, self.kept = caps.LAYERS, list[int]()
        self.listed = {
            name
            for name, value in fields.items()
            if old and old > 2 and isinstance(value, list | tuple) and len(value) == old and not name.startswith("id2")
        }
        """Fields that hold an entry for each layer."""
        self.indices = {
            name: value for name, value in fields.items() if is_ints(value) and caps.LAYER_INDICES.fullmatch(name)
        }
        if not old or old <= 2:
            return
        if any(caps.PER_STAGE.fullmatch(name) for name in self.listed):
            self.listed, self.count = set(), old  # its layers are stages
        elif self.listed:
            self.kept = self._kinds(old)
            self.count = len(self.kept)
        else:
            pointed = [
                sum(index >= 0 for index in value)
                for name, value in self.indices.items()
                if name != "summary_idxs" and max(value) <= old
            ]
            patterns = [len(value) for name, value in fields.items() if value and caps.LAYER_PATTERNS.fullmatch(name)]
            self.count = max(self.count, min(max(pointed + patterns, default=0), 5))

    def _kinds(self, old: int) -> list[int]:
        """One layer of each kind, by what the lists say of it."""
        first_of: dict[tuple[str, ...], int] = {}
        for layer in range(old):
            entries = (self.fields[name][layer] for name in sorted(self.listed))
            first_of.setdefault(tuple(str(entry) for entry in entries if isinstance(entry, str | bool | int)), layer)
        kept = sorted(first_of.values())[:4]
        kept += [layer for layer in range(old) if layer not in kept][: max(0, caps.LAYERS - len(kept))]
        return sorted(kept)

    def points(self, name: str) -> bool:
        """Whether a field points at layers."""
        return name in self.indices and self.old is not None and 2 < self.old >= max(self.indices[name])

    def pointing(self, name: str) -> list[int]:
        """The same field pointing at layers that stay, spread over them. One that counts the embeddings as layer 0 points past
        the last."""
        value = self.indices[name]
        past = max(value) == self.old
        pointed = max(sum(index >= 0 for index in value), 1)
        found: list[int] = []
        rank = 0
        for index in value:
            if index < 0:
                new = max(index, -self.count)
            else:
                if past:
                    new = max(0, min(self.count, self.count - pointed + 1 + rank))
                else:
                    new = min(self.count - 1, rank if pointed <= self.count else rank * self.count // pointed)
                rank += 1
            if new not in found or name == "spatial_target_layers":
                found.append(new)
        return found

    def entries(self, name: str) -> list[Any]:
        """What a list with an entry for each layer says of those that stay, each number as small as its field may be."""
        kept = [_of_layer(name, self.fields[name][layer]) for layer in self.kept]
        if name == "layer_types" and set(kept) == {"linear_attention"} and "num_attention_heads" in self.fields:
            kept[-1] = "full_attention"  # the default of a hybrid that leaves the choice to its checkpoints
        return kept


def _of_layer(name: str, entry: Any) -> Any:
    if type(entry) is not int:
        return entry
    for pattern, most in (
        (caps.ATTENTION_HEADS, caps.HEADS),
        (caps.KEY_VALUE_HEADS, 2),
        (caps.INNER_SIZES, caps.INNER),
        (caps.HIDDEN_SIZES, caps.HIDDEN),
    ):
        if pattern.fullmatch(name):
            return min(entry, most)
    return entry
