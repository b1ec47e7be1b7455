"""What a worker hands to ``init_openvino`` besides a checkpoint: callables that find, convert and open it for OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

Helper = Callable[..., Any]


def helpers(checkpoint: str, task: str, *, required: Container[str]) -> dict[str, Helper]:
    """The helpers by the names of their parameters. One that this machine has no library for is there only where a class
    requires it, and says so when it is called."""

    def get_openvino_pipeline_type(model_name: str, model_type: str | None = None) -> str:
        if str(model_name) != str(checkpoint):
            raise NotImplementedError(f"get_openvino_pipeline_type knows {checkpoint}, not {model_name}")
        return task

    real: dict[str, Helper] = {"get_openvino_pipeline_type": get_openvino_pipeline_type}
    missing = {
        name: _missing(name, library)
        for name, library in (
            ("get_openvino_model", "optimum-intel"),
            ("get_optimum_openvino_model", "optimum-intel"),
            ("get_openvino_genai_pipeline", "openvino-genai"),
            ("openvino_cli_convert", "optimum-intel"),
        )
        if name in required
    }
    return {**missing, **real}


def _missing(name: str, library: str) -> Helper:
    def helper(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{name} needs {library}, which is not installed here")

    helper.__name__ = name
    return helper
