"""What a worker hands to ``init_openvino`` besides a checkpoint: callables that name, convert and open it for OpenVINO.

They are real: a model is exported as the hardware ``openvino`` exports it, and compiled. Where there is nothing real to give,
they raise, and never give a mock.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

Helper = Callable[..., Any]


class NoHelper(NotImplementedError):
    """A helper cannot do what a class asks of it: that is no fault of the class."""


def helpers(checkpoint: str, task: str, *, required: Container[str]) -> dict[str, Helper]:
    """The helpers by the names of their parameters. What needs another library is there only for a class that requires it, and
    raises ``NoHelper`` when it is called."""

    def get_openvino_pipeline_type(model_name: str, model_type: str | None = None) -> str:
        if str(model_name) != str(checkpoint):
            raise NoHelper(f"get_openvino_pipeline_type knows the task of {checkpoint} alone, not of {model_name}")
        return task

    found: dict[str, Helper] = {
        "get_openvino_pipeline_type": get_openvino_pipeline_type,
        "get_openvino_model": get_openvino_model,
        "openvino_cli_convert": openvino_cli_convert,
    }
    for name, library in (
        ("get_optimum_openvino_model", "optimum-intel"),
        ("get_openvino_genai_pipeline", "openvino-genai"),
    ):
        if name in required:
            found[name] = _without(name, library)
    return found


def _without(name: str, library: str) -> Helper:
    def helper(*args: Any, **kwargs: Any) -> Any:
        raise NoHelper(f"{name} is one of {library}, which this plugin does not use")

    helper.__name__ = name
    return helper


def get_openvino_model(model_name: str, model_type: str | None = None, device_name: str | None = None) -> Any:
    """The model of a checkpoint, one forward of it, compiled for a device: ``openvino:0`` and ``CPU`` are the CPU.

    Raises:
        NoHelper: it is not one graph, or there is no input to export it with.
        OSError: there is no checkpoint of that name.
    """
    import openvino

    device = device_name or "CPU"
    # In fp32, as the reference: on a CPU that has it, bf16 is the default.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(
        _converted(model_name, "get_openvino_model"), "CPU" if device.startswith("openvino") else device, options
    )


def openvino_cli_convert(
    model_name: str,
    model_dst_path: str | None = None,
    task: str | None = None,
    weight_format: str | None = None,
    **options: Any,
) -> str:
    """Write the model of a checkpoint to ``openvino_model.xml`` in a directory; gives the path of that file. ``weight_format``
    is ``fp32`` or ``fp16``; ``options`` are those of integer formats.

    Raises:
        NoHelper: another format is asked for, or no directory, or as ``get_openvino_model`` does.
    """
    import openvino

    if model_dst_path is None or weight_format not in (None, "", "fp32", "fp16"):
        raise NoHelper(
            f"openvino_cli_convert writes fp32 and fp16 to a directory, not {weight_format!r} to {model_dst_path}"
        )
    file = Path(model_dst_path, "openvino_model.xml")
    file.parent.mkdir(parents=True, exist_ok=True)
    model = _converted(model_name, "openvino_cli_convert")
    openvino.save_model(model, str(file), compress_to_fp16=weight_format == "fp16")
    return str(file)


def _converted(model_name: str, helper: str) -> Any:
    """The model of a checkpoint as OpenVINO reads it, its inputs and outputs under their names in transformers."""
    import openvino
    import torch
    import transformers

    from ...hardware.export import WHOLE, export_program
    from ...hardware.parts import merges_features
    from ...models.checkpoint import Checkpoint
    from ...specs import Recipe

    config = transformers.AutoConfig.from_pretrained(model_name)
    name = (config.architectures or [""])[0]
    if not hasattr(transformers, name) or config.is_encoder_decoder:
        raise NoHelper(f"{helper} converts one forward of one graph, and {name or 'this checkpoint'} is not that")
    model = getattr(transformers, name).from_pretrained(model_name, dtype=torch.float32).eval()
    if merges_features(model):
        raise NoHelper(f"{helper} gives one graph, and {name} puts features of pictures or sounds among those of words")
    inputs = _inputs(str(model_name), model, helper)
    recipe = Recipe(
        model=config.model_type,
        category="",
        model_class=name,
        config_class=type(config).__name__,
        config={},
        processor=None,
    )
    program = export_program(Checkpoint(recipe, model, None, ""), inputs, generates=False)
    return openvino.Core().read_model(program.components[WHOLE].onnx)


def _inputs(model_name: str, model: Any, helper: str) -> Mapping[str, Any]:
    """A batch of two that the model takes, made by the processor of its checkpoint."""
    import numpy
    import transformers
    from PIL import Image

    processor = transformers.AutoProcessor.from_pretrained(model_name)  # type: ignore[no-untyped-call]
    taken = inspect.signature(model.forward).parameters
    parts = {type(part) for part in (processor, *vars(processor).values())}
    sounds = numpy.sin(numpy.arange(16_000, dtype=numpy.float32) / 7)
    given: dict[str, Any] = {}
    if "input_ids" in taken and any(issubclass(part, transformers.PreTrainedTokenizerBase) for part in parts):
        given["text"] = ["a small cat", "one house by the sea"]
    if any(issubclass(part, transformers.BaseImageProcessor) for part in parts):
        given["images"] = [Image.radial_gradient("L").convert("RGB"), Image.linear_gradient("L").convert("RGB")]
    if any(issubclass(part, transformers.SequenceFeatureExtractor) for part in parts):
        given["audio"] = [sounds, sounds[::-1].copy()]
    if isinstance(processor, transformers.SequenceFeatureExtractor):
        given = {"raw_speech": given["audio"], "sampling_rate": processor.sampling_rate}
    if "text" in given or "raw_speech" in given:
        given["padding"] = True
    if not given:
        raise NoHelper(f"{helper} makes no input for {type(processor).__name__}")
    return {name: value for name, value in processor(**given, return_tensors="pt").items() if name in taken}
