"""The parts of a multimodal model that are exported one by one, for every hardware that runs an exported program.

``decompose_multimodal`` of ``transformers.exporters`` names those that it knows; this room adds what it lacks.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.exporters import utils
from transformers.exporters.utils import _capture_forward, _find_multimodal_submodules

IN_PARTS = "exported in parts; torch looks tokens up and places the image features"


@contextmanager
def own_forwards(model: nn.Module) -> Iterator[None]:
    """Afterwards every module has the forward of its class again. What captures the calls of a module, or replaces its forward,
    puts a bound method back on the instance: of the class as it was replaced for the time of a trace, so that a reference
    computed later would be held against itself."""
    kept = {module: vars(module)["forward"] for module in model.modules() if "forward" in vars(module)}
    try:
        yield
    finally:
        for module in model.modules():
            vars(module).pop("forward", None)
        for module, forward in kept.items():
            vars(module)["forward"] = forward


def merges_features(model: PreTrainedModel) -> bool:
    """Whether a model puts the features of a picture or sound among the embeddings of its text, at a token of their own. How
    many there are depends on the input, so that such a forward is exported in parts; a contrastive model, with two towers
    side by side, is one graph, and so is one of no known part (pi0 gathers as many features as it has tokens)."""
    if not known_parts(model):
        return False
    tokens = ("image_token_id", "audio_token_id", "video_token_id")
    merging = (part for part in model.modules() if isinstance(part, PreTrainedModel) and known_parts(part))
    return any(getattr(part.config, token, None) is not None for part in merging for token in tokens)


def known_parts(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The parts that the exporter knows, by name. A language model that is an encoder-decoder stands there as one, and a model
    that calls its encoder and its decoder one by one (florence2) never calls it: these two take its place. A model without a
    tower, which embeds pictures as it does words (gemma4_unified) or makes words of them (emu3), has its language model for a
    part."""
    found: dict[str, nn.Module] = _find_multimodal_submodules(model)
    if not found and any(getattr(model.base_model, name, None) is not None for name in ("embed_vision", "vqmodel")):
        decoder: nn.Module = model.get_decoder()  # type: ignore[no-untyped-call]
        found = {"language_model": decoder} if decoder is not model.base_model else {}
    language: Any = found.get("language_model")
    if language is not None and language.config.is_encoder_decoder and language.get_encoder() is not language:
        del found["language_model"]
        found |= {"text_encoder": language.get_encoder(), "text_decoder": language.get_decoder()}
    return found


def calls_encoder(model: PreTrainedModel) -> bool:
    """Whether the encoder of the language model is a part of its own, which takes what a picture is merged into."""
    return "text_encoder" in known_parts(model)


def of_encoder(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that the encoder of an encoder-decoder model is called with when it generates. They need not be its
    ``inputs``: pop2piano puts the embedding of a composer in front of its sounds."""
    with _capture_forward(model.get_encoder()) as calls:
        model.generate(**copy.deepcopy(dict(inputs)))  # type: ignore[operator]
    return {name: value for name, value in calls[0].items() if isinstance(value, Tensor)}


def decompose_multimodal(
    model: PreTrainedModel, inputs: Mapping[str, Any]
) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    """The exporter's, with :func:`known_parts`."""
    with utils.patch_attributes([_KNOWN_PARTS]):
        return utils.decompose_multimodal(model, dict(inputs))


_KNOWN_PARTS = (utils, "_find_multimodal_submodules", lambda _: known_parts)


def outermost(paths: Mapping[str, str]) -> dict[str, str]:
    """Of the paths of parts those that lie in no other one, each once: ``decompose_multimodal`` names the encoder of t5gemma2
    for pictures and again for sound, and idefics' tower for pictures beside the language model that holds it."""
    kept: dict[str, str] = {}
    for name, path in sorted(paths.items(), key=lambda item: len(item[1])):
        if not _touches(path, kept.values(), below=False):
            kept[name] = path
    return {name: path for name, path in paths.items() if name in kept}


def multimodal_parts(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> dict[str, tuple[nn.Module, Any, str]]:
    """For each part of a multimodal forward its module, the arguments of its call and its path."""
    parts = decompose_multimodal(model, inputs)
    paths = outermost({name: path_of(model, part) for name, (part, _) in parts.items()})
    return {name: (*parts[name], path) for name, path in paths.items()}


def left_over(
    model: Any,
    inputs: Mapping[str, Any],
    taken: Sequence[str],
    *,
    generates: bool = False,
    outside: bool = False,
) -> dict[str, dict[str, Any]]:
    """The modules that the known parts of a model leave to torch though they multiply by a matrix, such as the head of a
    classifier: the largest that are called, hold none of these parts and look no token up, by path, with the arguments of
    their call, in a forward of the model or in its generation; with ``outside`` of those alone that it calls outside of
    its forward."""
    found = {
        path: module
        for path, module in model.named_modules()
        if path and _multiplies(module) and not _touches(path, taken) and not _looks_up(module)
    }
    called = _calls(model, inputs, found, _noted, generates=generates, outside=outside)
    largest = {path: found[path] for path in called if not _touches(path.rpartition(".")[0], called, below=False)}
    calls = _calls(model, inputs, largest, _capture_forward, generates=generates, outside=outside)
    return {path: arguments[-1] for path, arguments in calls.items()}


def called_outside(model: Any, inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What :func:`left_over` gives of the calls that a generation makes outside of the model's forward, as chameleon makes
    words of a picture before its prefill. A model that is given words alone is not asked: it makes none."""
    if not any(tensor.is_floating_point() for tensor in inputs.values()):
        return {}
    return left_over(model, inputs, [], generates=True, outside=True)


def _calls(
    model: Any,
    inputs: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    seen: Any,
    *,
    generates: bool,
    outside: bool,
) -> dict[str, list[Any]]:
    """What ``seen`` keeps of each call, for every one of ``modules`` that is called."""
    with ExitStack() as stack, torch.no_grad():
        calls = {path: stack.enter_context(seen(module)) for path, module in modules.items()}
        if outside:
            stack.enter_context(utils.patch_attributes([(model, "forward", partial(_forgotten, list(calls.values())))]))
        (model.generate if generates else model)(**copy.deepcopy(dict(inputs)))
    return {path: found for path, found in calls.items() if found}


@contextmanager
def _noted(module: nn.Module) -> Iterator[list[None]]:
    """A list that grows with each call."""
    calls: list[None] = []
    handle = module.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        yield calls
    finally:
        handle.remove()


def _forgotten(calls: Sequence[list[Any]], original: Any) -> Any:
    """A forward that leaves no trace in ``calls``."""

    @wraps(original)
    def forward(*args: Any, **kwargs: Any) -> Any:
        seen = [len(found) for found in calls]
        try:
            return original(*args, **kwargs)
        finally:
            for found, before in zip(calls, seen, strict=True):
                del found[before:]

    return forward


def _multiplies(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters())


def _looks_up(module: nn.Module) -> bool:
    """Whether a module holds a table. A quantiser multiplies by its codebook before it looks anything up in it, and holds
    nothing else."""
    parts = list(module.children())
    codebook = bool(parts) and all(isinstance(part, nn.Embedding) for part in parts)
    return not codebook and any(isinstance(part, nn.Embedding) for part in module.modules())


def _touches(path: str, others: Iterable[str], *, below: bool = True) -> bool:
    """Whether ``path`` is one of the others or lies inside one; with ``below`` also whether one lies inside it."""
    inside = any(path == other or path.startswith(f"{other}.") for other in others)
    return inside or (below and any(other.startswith(f"{path}.") for other in others))


def prefill_and_last_decode(model: PreTrainedModel, inputs: Mapping[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
    """The first and the last forward of the model's own generation, as ``decompose_prefill_decode`` gives the first two of
    one of two tokens."""
    return first_and_last(model, model, inputs)


def first_and_last(model: PreTrainedModel, part: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the first and the last forward of ``part`` while ``model`` generates."""
    with _capture_forward(part) as calls:
        model.generate(**copy.deepcopy(dict(inputs)))  # type: ignore[operator]
    return {"prefill": (part, calls[0]), "decode": (part, calls[-1])}


def inner_generator(model: PreTrainedModel) -> str:
    """The path of the language model that a model's own ``generate`` hands the whole generation to, and never its own forward
    (blip-2, instructblip, blip, kosmos-2); empty for a model that generates itself."""
    if "generate" not in vars(type(model)):
        return ""
    names = ("language_model", "text_decoder", "text_model")
    inner = {name: part for name in names if isinstance(part := getattr(model, name, None), GenerationMixin)}
    return next((name for name, part in inner.items() if not part.config.is_encoder_decoder), "")  # type: ignore[attr-defined]


def is_transducer(model: Any) -> bool:
    """Whether a model steps through a sound with a decoder whose state is an object of its own, of which the exporter knows
    nothing (``decoder_cache``): what computes in it is exported part by part."""
    return "decoder_cache" in inspect.signature(type(model).forward).parameters


@contextmanager
def late_decode(model: PreTrainedModel) -> Iterator[None]:
    """For a time the generation of musicgen's codebooks is traced at its last step. ``decompose_prefill_decode`` generates two
    tokens: the delay pattern has no room for fewer than one a codebook (``modeling_musicgen.py:838``), and since a cache is
    there from the start, the prompt is its last token alone, and the second forward has a past of 1, which torch.export takes
    for a constant."""
    needed = hasattr(model, "build_delay_pattern_mask") and not model.config.is_encoder_decoder
    replaced = [(utils, "decompose_prefill_decode", lambda _: prefill_and_last_decode)] if needed else []
    with utils.patch_attributes([_KNOWN_PARTS, *replaced]):
        yield


def find_parts(model: PreTrainedModel, components: Mapping[str, Any]) -> dict[str, str]:
    """For each component of a generation, the path of the module that it replaces."""
    modules = known_parts(model)
    stages = {name: "" for name in components if name in ("prefill", "decode")}
    return stages | outermost({name: path_of(model, modules[name]) for name in components if name not in stages})


def path_of(model: nn.Module, part: nn.Module) -> str:
    paths: Iterator[str] = (path for path, module in model.named_modules() if module is part)
    return next(paths)
