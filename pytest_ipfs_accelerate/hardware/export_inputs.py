"""Inputs that the exporter of transformers refuses, though the model reads them, and those it adds, which the model does not
take."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from transformers.exporters.utils import module_device, module_dtype

Prepare = Callable[[Any, Any], tuple[Any, Any, Any]]


def reads_the_future(original: Prepare) -> Prepare:
    """``prepare_for_export`` takes ``future_values`` for labels and refuses them by name. The decoder of a time series model
    (autoformer, informer, time_series_transformer) reads them as that of a translator reads ``decoder_input_ids``; a loss that
    a head computes of them besides is compared by no case."""

    @wraps(original)
    def prepared(model: Any, inputs: Any) -> tuple[Any, Any, Any]:
        future = inputs.pop("future_values", None)
        model, inputs, flags = original(model, inputs)
        if future is not None:
            inputs["future_values"] = future.to(device=module_device(model), dtype=module_dtype(model))
        return model, inputs, flags

    return prepared


def adds_what_is_taken(original: Prepare) -> Prepare:
    """``prepare_for_export`` works out what follows from a table of sizes (``cu_seqlens``, ``position_ids``) for whatever reads
    one by the name of ``grid_thw``. The resampler of ernie4_5_vl_moe reads it, and takes nothing else by name."""

    @wraps(original)
    def prepared(model: Any, inputs: Any) -> tuple[Any, Any, Any]:
        given = set(inputs)
        model, inputs, flags = original(model, inputs)
        parameters = inspect.signature(model.forward).parameters
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            for name in [name for name in inputs if name not in given and name not in parameters]:
                del inputs[name]
        return model, inputs, flags

    return prepared


def prepared_as_taken(original: Prepare) -> Prepare:
    """``prepare_for_export`` with both."""
    return adds_what_is_taken(reads_the_future(original))
