"""Descriptions of tensors fitted to a built model: where the rules leave a shape open, the first reading that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ..hardware.outputs import flat_outputs
from ..tasks.tensors import KINDS, Description
from .inputs import propose_tensors
from .placeholders import place_tokens
from .shrink import Options, laid_over
from .view import VISION, Model

Reading = Callable[[Model, Options], Options | None]
"""Other descriptions of the tensors of a model; ``None`` where this reading does not concern it."""


def fitted(built: Any, over: Mapping[str, Any]) -> Options:
    """The ``inputs`` of a model: the first reading of the rules that its forward runs on, else what the rules say as they are.
    What an exception gives is laid over every one; ``null`` takes a tensor away."""
    first: Options | None = None
    failure: Exception | None = None
    for inputs in _readings(Model(built), over.get("inputs", {})):
        try:
            inputs = inputs if "place" in inputs["tensors"].get("input_ids", {}) else place_tokens(built, inputs)
            first = first or inputs
            forward(built, inputs)
        except Exception as error:
            failure = failure or error
        else:
            return inputs
    if first is None:
        assert failure is not None
        raise failure
    return first


def _readings(model: Model, given: Mapping[str, Any]) -> Iterator[Options]:
    if given.get("whole"):
        yield _clean(given)
        return
    proposed = propose_tensors(model, given.get("tensors", {}))
    yield _laid(proposed, given)
    for reading in READINGS:
        tensors = {name: raw for name, raw in proposed["tensors"].items() if name not in given.get("tensors", {})}
        if changed := reading(model, tensors):
            yield _laid({**proposed, "tensors": {**proposed["tensors"], **changed}}, given)


def _laid(proposed: Options, given: Mapping[str, Any]) -> Options:
    """What an exception gives laid over what the rules say; a tensor of another kind takes the whole place of theirs."""
    tensors = dict(proposed["tensors"])
    for name, raw in given.get("tensors", {}).items():
        if raw and (kinds := KINDS & raw.keys()) and not kinds & tensors.get(name, {}).keys():
            tensors.pop(name, None)
    return _clean(laid_over({**proposed, "tensors": tensors}, given))


def _clean(inputs: Mapping[str, Any]) -> Options:
    tensors = {name: raw for name, raw in inputs["tensors"].items() if raw is not None}
    rest = {name: value for name, value in inputs.items() if value is not None and name != "whole"}
    return {**rest, "tensors": tensors}


def _several_pictures(model: Model, tensors: Options) -> Options | None:
    """An axis for the pictures of one input."""
    shape = tensors.get("pixel_values", {}).get("normal", ())
    return {"pixel_values": {"normal": [1, *shape]}} if len(shape) == 3 else None


def _frames(model: Model, tensors: Options) -> Options | None:
    """An axis for the frames of a film."""
    shape = tensors.get("pixel_values", {}).get("normal", ())
    count = model.number("num_frames", "temporal_patch_size", "t_fold", default=2)
    return {"pixel_values": {"normal": [max(2, count), *shape]}} if len(shape) == 3 else None


def _tiles(model: Model, tensors: Options) -> Options | None:
    """A mask over the tiles of a picture, not over its pixels."""
    shape = tensors.get("pixel_attention_mask", {}).get("ones", ())
    return {"pixel_attention_mask": {"ones": shape[:1], "dtype": "bool"}} if len(shape) == 3 else None


def _unmasked(model: Model, tensors: Options) -> Options | None:
    """A sound without its mask: some want one over the features they make of it, not over its frames."""
    masks = {"input_features_mask", "feature_attention_mask"} & tensors.keys() - model.required
    return dict.fromkeys(masks) if masks else None


def _unflattened(model: Model, tensors: Options) -> Options | None:
    """Patches with their channels, height and width."""
    described = tensors.get("pixel_values", {})
    patch = model.number("patch_size", prefer=VISION)
    if "join" not in described or described["normal"][1:] != [model.channels * patch**2]:
        return None
    return {"pixel_values": {**described, "normal": [described["normal"][0], model.channels, patch, patch]}}


def _padded_patches(model: Model, tensors: Options) -> Options | None:
    """The patches of each picture by themselves, as a batch of pictures that are padded to the longest."""
    described = tensors.get("pixel_values", {})
    return {"pixel_values": {**described, "join": "stack"}} if described.get("join") == "concat" else None


def _turned(model: Model, tensors: Options) -> Options | None:
    """Frames and bins of a spectrogram the other way round."""
    shape = tensors.get("input_features", {}).get("normal", ())
    return {"input_features": {"normal": list(reversed(shape))}} if len(shape) == 2 else None


def _channelled(model: Model, tensors: Options) -> Options | None:
    """A sound with an axis for its channels, or without."""
    shape = tensors.get("input_values", {}).get("normal", ())
    if len(shape) == 1:
        return {"input_values": {"normal": [1, *shape]}}
    return {"input_values": {"normal": shape[1:]}} if len(shape) == 2 and shape[0] == 1 else None


def _bins(model: Model, tensors: Options) -> Options | None:
    """A spectrogram with the bins of the newest towers, which no field names."""
    shape = tensors.get("input_features", {}).get("normal", ())
    return {"input_features": {"normal": [128 if size == model.mel else size for size in shape]}} if shape else None


def _blocks(model: Model, tensors: Options) -> Options | None:
    """A sound of whole blocks, however long a block usually is."""
    shape = tensors.get("input_values", {}).get("normal", ())
    return {"input_values": {"normal": [*shape[:-1], 3840]}} if shape and shape[-1] == 3200 else None


READINGS: tuple[Reading, ...] = (
    _several_pictures,
    _frames,
    _tiles,
    _unflattened,
    _padded_patches,
    _unmasked,
    _turned,
    _channelled,
    _bins,
    _blocks,
)
"""What the shapes of an input may be beside what its rule says: a person adds to these."""


@torch.inference_mode()
def forward(built: Any, inputs: Options, *, longer: int = 0) -> Any:
    """Run a model on the first sample of ``inputs``, its text ``longer`` by so many tokens."""
    sizes = {size: both[0] + (longer if size == "S" else 0) for size, both in inputs.get("sizes", {}).items()}
    tensors = {}
    for name, raw in inputs["tensors"].items():
        description = Description(name, raw)
        made = description.make(sizes, 0)
        tensors[name] = made if description.joined else made[None]
    return built(**tensors)


def positions_beyond_text(built: Any, inputs: Options) -> int:
    """How many positions a model puts before or after those of its text: those of outputs that grow as the text does."""
    if "S" not in inputs.get("pads", {}):
        return 0
    text, more = inputs["sizes"]["S"][0], inputs["pads"]["S"]
    lengths = []
    for longer in (0, more):
        try:
            outputs = flat_outputs(forward(built, inputs, longer=longer))
        except Exception:
            return 0
        lengths.append({name: tensor.shape[1] for name, tensor in outputs.items() if tensor.dim() > 1})
    beyond = {short - text for name, short in lengths[0].items() if lengths[1].get(name) == short + more}
    return int(max([0, *beyond]))
