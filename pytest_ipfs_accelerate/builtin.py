"""The built-in hardware and tasks, declared through the hooks that users have; called last, so that a user's declaration of the
same name replaces one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .hardware import probes
from .specs import HardwareSpec, TaskSpec
from .verdict import Stage

_ROOM = "pytest_ipfs_accelerate"


def _task(module: str, name: str, summary: str, *aliases: str) -> TaskSpec:
    title = "".join(part.capitalize() for part in name.split("-"))
    return TaskSpec(name=name, target=f"{_ROOM}.tasks.{module}:{title}", aliases=aliases, summary=summary)


def _hardware(
    name: str,
    target: str,
    summary: str,
    precisions: tuple[str, ...] = ("fp32",),
    devices: str = "",
    *,
    default: bool = True,
    run: float = 0,
) -> HardwareSpec:
    return HardwareSpec(
        name=name,
        target=f"{_ROOM}.hardware.{target}",
        probe=getattr(probes, name),
        summary=summary,
        precisions=precisions,
        devices=devices,
        default=default,
        timeouts={Stage.RUN: run} if run else {},
    )


_SOC_MODELS = "36|43|57|60|69|87"
"""SoC models on which onnxruntime-qnn 2.7 opens a session: Snapdragon 8 Gen 1 to 3, X Elite, 8 Elite and 8 Elite Gen 5. Another
one fails to allocate memory."""

_FLOATS = ("fp32", "fp16", "bf16")

LOWERED_IN_RUN = 900.0
"""Seconds for the stage ``run`` of hardware that lowers a component as it is called: more than a minute where one generates or
has a large picture, on a quiet machine."""

SIMULATED = 1800.0
"""Seconds for the stage ``run`` on Qualcomm's simulator: 319 measured for a recognition of speech in parts, beside others."""

HARDWARE = {
    spec.name: spec
    for spec in (
        _hardware("cpu", "torch_device:Cpu", "torch eager on the CPU; in fp32 the reference itself", _FLOATS),
        _hardware("cuda", "torch_device:Cuda", "torch eager on an NVIDIA GPU", _FLOATS, r"\d+"),
        _hardware(
            "onnxruntime",
            "onnxruntime:OnnxRuntime",
            "ONNX Runtime on the CPU, or on the provider asked for",
            devices=r"[A-Za-z]+(:\d+)?",
        ),
        _hardware(
            "openvino",
            "openvino:OpenVino",
            "OpenVINO on the CPU, or on the device asked for",
            ("fp32", "bf16", "fp16", "int8"),
            r"CPU|GPU(\.\d+)?|NPU|AUTO",
        ),
        _hardware(
            "apple",
            "apple:open_apple",
            "torch on an Apple GPU (MPS), or Core ML; off a Mac a conversion to Core ML, evaluated and not run by it",
            _FLOATS,
            "MPS|CoreML",
            run=LOWERED_IN_RUN,
        ),
        _hardware(
            "qualcomm",
            "qualcomm:Qualcomm",
            "Qualcomm's HTP through ONNX Runtime; a simulator off the device; the device is a SoC model",
            ("fp16", "a16w8", "a8w8"),
            _SOC_MODELS,
            run=SIMULATED,
        ),
        _hardware("inductor", "inductor:Inductor", "torch.compile on the CPU, as generated C++", default=False),
        _hardware(
            "executorch",
            "executorch:Executorch",
            "ExecuTorch with XNNPACK on the CPU",
            default=False,
            run=LOWERED_IN_RUN,
        ),
        _hardware("rocm", "torch_device:Rocm", "torch eager on an AMD GPU", _FLOATS, r"\d+", default=False),
        _hardware(
            "wasm",
            "web.onnxruntime_web:Wasm",
            "ONNX Runtime Web in a headless browser, as WebAssembly on the CPU",
            default=False,
        ),
        _hardware(
            "webgpu",
            "web.onnxruntime_web:WebGpu",
            "ONNX Runtime Web in a headless browser, on WebGPU; without a GPU that is a software adapter",
            devices="GPU|SwiftShader",
            default=False,
        ),
    )
}

_EMBEDDINGS = ("text-embedding", "image-embedding", "audio-embedding", "video-embedding", "embedding")
"""What the worker's classes call hidden states, by what they are of. Where a model type has the image features too, declared
later, those are the image embedding."""

TASKS = {
    spec.name: spec
    for spec in (
        _task("text", "fill-mask", "words for the mask token", "masked-lm", "mlm"),
        _task("text", "text-classification", "the label of a text", "sentiment-analysis"),
        _task("text", "token-classification", "the label of each token", "ner"),
        _task("text", "question-answering", "the span of the context that answers"),
        _task("text", "multiple-choice", "the continuation that fits"),
        _task("text", "next-sentence-prediction", "whether the second sentence follows the first"),
        _task("text", "pretraining", "the heads that the model was pretrained with"),
        _task("extraction", "feature-extraction", "hidden states", *_EMBEDDINGS),
        _task("extraction", "text-encoding", "hidden states of a text encoder"),
        _task("extraction", "image-feature-extraction", "hidden states of a picture", "image-embedding"),
        _task("vision", "image-classification", "the labels of a picture"),
        _task("vision", "masked-image-modeling", "a picture with its masked patches filled in"),
        _task("vision", "object-detection", "what is where in a picture"),
        _task("zero_shot", "zero-shot-image-classification", "which of the given labels fits a picture"),
        _task("zero_shot", "zero-shot-audio-classification", "which of the given labels fits a sound"),
        _task("audio", "audio-classification", "the labels of a sound"),
        _task("generation", "text-generation", "a text continued", "llm", "lm", "causal-lm"),
        _task(
            "generation", "text2text-generation", "a text made from a text", "summarization", "translation", "seq2seq"
        ),
        _task(
            "generation", "automatic-speech-recognition", "what was said", "speech-recognition", "transcription", "asr"
        ),
        _task("generation", "image-text-to-text", "a picture and a prompt continued", "image-to-text", "vlm"),
        _task("generation", "any-to-any", "a chat of text and pictures"),
        _task("generation", "visual-question-answering", "the answer to a question about a picture", "vqa"),
        _task("audio", "audio-frame-classification", "the labels of each moment of a sound"),
        _task("audio", "audio-xvector", "what identifies a speaker"),
        _task("extraction", "backbone", "feature maps, one a stage"),
        _task("vision", "causal-image-modeling", "the next pixel of a picture"),
        _task("series", "decision", "which of the options"),
        _task("dense", "depth-estimation", "how far each pixel is"),
        _task("documents", "document-question-answering", "the span of a page that answers"),
        _task("dense", "image-matting", "how opaque each pixel is"),
        _task("dense", "image-segmentation", "what each pixel belongs to"),
        _task("dense", "image-to-image", "a picture made of a picture"),
        _task("points", "keypoint-detection", "the points that stand out"),
        _task("points", "keypoint-matching", "which points of two pictures are the same"),
        _task("points", "mask-generation", "masks around given points"),
        _task("dense", "normal-estimation", "which way each pixel faces"),
        _task("dense", "pointmap-estimation", "where in space each pixel is"),
        _task("points", "pose-estimation", "where the joints of a person are"),
        _task("series", "retrieval", "embeddings for late interaction"),
        _task("documents", "table-question-answering", "the cells that answer"),
        _task("documents", "table-recognition", "the structure of a table"),
        _task("documents", "text-recognition", "the text of a line"),
        _task("audio", "text-to-audio", "a sound made of a text"),
        _task("series", "time-series-classification", "the class of a series"),
        _task("series", "time-series-prediction", "how a series goes on"),
        _task("series", "time-series-regression", "a number of a series"),
        _task("vision", "video-classification", "the labels of a film"),
        _task("zero_shot", "zero-shot-object-detection", "where in a picture what is named is"),
    )
}


@pytest.hookimpl(trylast=True)
def pytest_ipfs_hardware() -> Sequence[HardwareSpec]:
    return list(HARDWARE.values())


@pytest.hookimpl(trylast=True)
def pytest_ipfs_tasks() -> Sequence[TaskSpec]:
    return list(TASKS.values())
