"""The arguments of a forward, and the cache among them: how far a generation is. Without the exporters of transformers 5.23,
since every generation is watched, on torch's own hardware, too."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn
from transformers.cache_utils import CacheLayerMixin

CACHES = ("past_key_values", "cache_params", "state", "mems")
"""Arguments that hold what a step of a generation keeps for the next."""


def bound_arguments(signature: inspect.Signature, module: nn.Module, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by name, those that ``**kwargs`` took in among them."""
    arguments = dict(signature.bind(module, *args, **kwargs).arguments)
    arguments.pop("self", None)
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(parameter.name, {}))
    return arguments


def _cache_layers(arguments: Mapping[str, Any]) -> list[Any]:
    """The layers of the cache among the arguments of a forward; of an encoder-decoder model those of the decoder alone."""
    found = (arguments.get(name) for name in CACHES)
    cache = next((cache for cache in found if cache is not None), None)
    return list(getattr(getattr(cache, "self_attention_cache", cache), "layers", []))


def cache_length(arguments: Mapping[str, Any]) -> int:
    """Number of positions in the cache among the arguments of a forward, 0 where it has none yet. Not the first layer's alone:
    one that attends across to a picture has no positions where there is none, and one of linear attention counts none."""
    counting = (layer for layer in _cache_layers(arguments) if isinstance(layer, CacheLayerMixin))
    remembered = (len(layer) for layer in arguments.get("mems") or ())  # xlnet's hidden states, positions first
    return max((*(int(layer.get_seq_length()) for layer in counting), *remembered), default=0)


def in_decode(arguments: Mapping[str, Any]) -> bool:
    """Whether the cache among the arguments of a forward holds anything: positions, or the state of a linear attention."""
    states = (getattr(layer, "has_previous_state", {}) for layer in _cache_layers(arguments))
    # rwkv's is a list of tensors, which there is from the second step on; xlstm's counts for itself.
    listed = (
        isinstance(arguments.get("state"), list) or int(getattr(arguments.get("cache_params"), "seqlen_offset", 0)) > 0
    )
    return listed or cache_length(arguments) > 0 or any(any(state.values()) for state in states)
