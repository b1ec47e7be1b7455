"""Inputs that the exporter of transformers refuses, though the model reads them."""

from __future__ import annotations

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
