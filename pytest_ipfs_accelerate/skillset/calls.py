"""How the methods of a skill class are called: the conventions of the older modules, read into one form.

``init_<hardware>`` is called as ``(model, device, label)``, as ``(model, model_type, device_label=…)``, and for OpenVINO with
four helpers that convert a model; a factory as ``(endpoint_model, device, label, endpoint, tokenizer)`` in any order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

from ..specs import HardwareSpec
from ..words import nearest
from .declared import Declared

MODEL = ("model", "model_name", "endpoint_model")
TASK = ("task", "model_type")
DEVICE = ("device",)
HELPERS = (
    "get_optimum_openvino_model",
    "get_openvino_model",
    "get_openvino_pipeline_type",
    "openvino_cli_convert",
)
"""What an older module converts a model with. It is taken and not called: a hardware here lowers models itself."""


@dataclass(frozen=True, slots=True)
class InitCall:
    """What a call of ``init_<hardware>`` asks for: ``model`` is a directory or Hub id, empty for the tiny checkpoint;
    ``device`` is one of the hardware's devices, empty for its own."""

    model: str
    task: str
    device: str


def read_init(declared: Declared, spec: HardwareSpec, words: Sequence[Any], named: Mapping[str, Any]) -> InitCall:
    """A call of ``init_<hardware>`` in any convention.

    Raises:
        TypeError: an argument that no convention has.
        ValueError: a device that is not one of this hardware's, or a word that is no task of the model type.
    """
    labels = (f"{spec.name}_label", "device_label", "hardware_label", "label")
    known = (*MODEL, *TASK, *DEVICE, *HELPERS, *labels)
    for name in named:
        if name not in known:
            raise TypeError(f"init_{spec.name}() takes no argument {name!r}{nearest(name, known)}")
    model = _only("model", [*words[:1], *(named[name] for name in MODEL if name in named)], spec)
    task: str | None = None
    device: str | None = None
    for word in [*words[1:], *(named[name] for name in TASK if name in named)]:
        if callable(word) or word in (None, "", declared.model):
            continue
        if task is None and (found := _task(declared, word)):
            task = found
        elif device is None:
            device = _device(declared, spec, str(word), maybe_task=task is None)
        # What follows a device is its label.
    for name in DEVICE:
        if named.get(name):
            device = _device(declared, spec, str(named[name]), maybe_task=False)
    return InitCall(_source(model, declared), task or declared.primary, device or "")


def _task(declared: Declared, word: str) -> str | None:
    try:
        return declared.task_of(word)
    except LookupError:
        return None


def _only(what: str, given: Sequence[Any], spec: HardwareSpec) -> Any:
    if len(given) > 1:
        raise TypeError(f"init_{spec.name}() got more than one {what}")
    return given[0] if given else None


def _source(model: Any, declared: Declared) -> str:
    """A directory or Hub id as text; empty for the tiny checkpoint, which nothing, ``tiny`` and the model type mean."""
    if model is None or isinstance(model, str | PathLike):
        text = fspath(model) if model is not None else ""
        return "" if text in ("tiny", declared.model) else text
    raise TypeError(f"a model is a directory or a Hub id, not {type(model).__name__}")


def _device(declared: Declared, spec: HardwareSpec, word: str, *, maybe_task: bool) -> str:
    """The device that a word names; empty for the hardware's own, which a label such as ``cpu:0`` means."""
    head, _, number = word.partition(":")
    own = {spec.name, "cpu"} if spec.name in ("onnxruntime", "openvino") else {spec.name}
    for name in (word, number) if head in own else (word,):
        if spec.devices and (found := re.fullmatch(spec.devices, name, re.IGNORECASE)):
            return found[0].upper() if found[0].isalpha() and spec.name == "openvino" else found[0]
    if head.lower() in own or (spec.name == "apple" and head.lower() == "mps"):
        return ""
    what = f"neither a device of {spec.name} nor a task of {declared.model}" if maybe_task else "no device of it"
    hint = nearest(word, declared.recipes) if maybe_task else ""
    raise ValueError(f"init_{spec.name}() was asked for {word!r}, which is {what}{hint}")


def read_factory(name: str, words: Sequence[Any], named: Mapping[str, Any], is_endpoint: Callable[[Any], bool]) -> Any:
    """The endpoint among the arguments of a factory, whatever their order.

    Raises:
        TypeError: there is none, or more than one.
    """
    given = [value for value in (*words, *named.values()) if is_endpoint(value)]
    if len(given) != 1:
        raise TypeError(f"{name}() needs one endpoint of an init_<hardware> of this object, and got {len(given)}")
    return given[0]
