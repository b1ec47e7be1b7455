"""Exceptions to the rules: time series, decisions and parts of other models."""

from __future__ import annotations

from typing import Any

from ..shrink import laid_over

SERIES = {
    "config": {
        "context_length": 16,
        "prediction_length": 8,
        "lags_sequence": [1, 2],
        "num_time_features": 1,
        "scaling": "std",
    },
    "inputs": {
        "tensors": {
            "past_values": {"normal": [18], "shift": 4},
            "past_time_features": {"normal": [18, 1]},
            "past_observed_mask": {"ones": [18], "dtype": "float32"},
            "future_values": {"normal": [8], "shift": 4},
            "future_time_features": {"normal": [8, 1]},
        }
    },
}
TIMESFM = {"num_hidden_layers": 2, "context_length": 64, "patch_length": 32}

EXCEPTIONS: dict[str, dict[str, Any]] = {
    # Its decoder starts from the trend of the past, and reads of the future only how long it is.
    "autoformer": laid_over(SERIES, {"inputs": {"tensors": {"future_values": {"content": False}}}}),
    "informer": SERIES,
    "time_series_transformer": SERIES,
    "timesfm": {"config": TIMESFM},
    "TimesFmModel": {
        "inputs": {
            "tensors": {
                "past_values": {"normal": [64]},
                "past_values_padding": {"zeros": [64]},
                "freq": {"zeros": [1]},
            }
        }
    },
    "blip_2_qformer": {
        "inputs": {
            "whole": True,
            "tensors": {"query_embeds": {"normal": [4, 64]}, "encoder_hidden_states": {"normal": [6, 64]}},
        }
    },
    "decision_transformer": {
        "inputs": {
            "tensors": {
                "states": {"normal": ["S", 17]},
                "actions": {"normal": ["S", 4]},
                "rewards": {"normal": ["S", 1], "content": False},
                "returns_to_go": {"normal": ["S", 1]},
                "timesteps": {"count": ["S"]},
                "attention_mask": {"ones": ["S"]},
            },
            "sizes": {"S": [6, 6]},
        },
        "padding_shifts": "three positions of its hidden states stand for each step, so that none is the padding of a step",
    },
}
