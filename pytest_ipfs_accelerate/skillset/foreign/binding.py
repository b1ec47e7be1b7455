"""Calls into a user's skill class, made by reading its signatures: what an argument is, its name says.

The classes that are out there spell the same argument in several ways and order them in several more, so each is passed by
name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ...matrix import base_task
from ...words import nearest
from ..findings import Check, Finding
from ..names import init_name, parse_factory
from .helpers import helpers
from .syntax import class_chain, listed, parse

CHECKPOINTS = frozenset(
    {"model", "model_name", "endpoint_model", "model_id", "model_path", "model_name_or_path", "checkpoint"}
)
TASKS = frozenset({"model_type", "task", "task_type", "pipeline_type"})
DEVICES = frozenset({"device", "device_name"})
ENDPOINTS = frozenset({"endpoint"})
PROCESSORS = frozenset({"tokenizer", "processor", "image_processor", "feature_extractor"})


class NotCallable(Exception):
    """No known convention fits the signature of a method; the finding says which parameter, and where."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.says)
        self.finding = finding


def call_init(skill: Any, hardware: str, *, checkpoint: str, task: str, device: str) -> Any:
    """What ``init_<hardware>`` of a skill returns for a checkpoint. ``device`` is what its runtime calls it: ``cuda:0``.

    Raises:
        NotCallable: there is no such method, or no convention fits its signature.
    """
    name = init_name(hardware)
    method = _method(skill, name)
    args, kwargs = bind_init(_signature(method), name, hardware, checkpoint, task, device, _place(method))
    return method(*args, **kwargs)


def call_factory(
    skill: Any, factory: str, *, checkpoint: str, device: str, label: str, endpoint: Any, processor: Any
) -> Any:
    """The handler that a factory of a skill makes of an endpoint.

    Raises:
        NotCallable: there is no such method, or no convention fits its signature.
    """
    method = _method(skill, factory)
    values = {"checkpoint": checkpoint, "device": device, "label": label, "endpoint": endpoint, "processor": processor}
    args, kwargs = bind_factory(_signature(method), factory, values, _place(method))
    return method(*args, **kwargs)


Place = tuple[str, int]
Arguments = tuple[list[Any], dict[str, Any]]


def bind_init(
    signature: inspect.Signature, name: str, hardware: str, checkpoint: Any, task: str, device: Any, place: Place
) -> Arguments:
    """The arguments of an ``init_<hardware>`` of this signature.

    Raises:
        NotCallable: it takes no checkpoint, or has a parameter that no convention knows.
    """
    label = f"{hardware}:0"
    roles = (
        dict.fromkeys(CHECKPOINTS, checkpoint) | dict.fromkeys(TASKS, base_task(task)) | dict.fromkeys(DEVICES, device)
    )
    # A class that has a device_label in the place of a device moves its model there.
    roles |= {"device_label": device, "label": label}
    parameters = signature.parameters
    optional = {n for n, p in parameters.items() if p.default is not inspect.Parameter.empty}
    roles |= helpers(checkpoint, base_task(task), required=set(parameters) - optional)
    args, kwargs = _bind(signature, roles, label, name, place)
    named = CHECKPOINTS & set(parameters)
    kinds = {p.kind for p in parameters.values()}
    if not named and inspect.Parameter.VAR_POSITIONAL in kinds and not kwargs:
        return [*args, checkpoint, device, label], {}
    if not named and inspect.Parameter.VAR_KEYWORD in kinds:
        return args, {**kwargs, "model": checkpoint, "device": device, f"{hardware}_label": label}
    if not named:
        raise _not_callable(f"{name} takes no checkpoint: its parameters are {listed(signature)}", place)
    return args, kwargs


def bind_factory(signature: inspect.Signature, name: str, values: Mapping[str, Any], place: Place) -> Arguments:
    """The arguments of a factory of this signature; ``values`` are the checkpoint, device, label, endpoint and processor.

    Raises:
        NotCallable: it has a parameter that no convention knows.
    """
    parameters = set(signature.parameters)
    checkpoint, endpoint = values["checkpoint"], values["endpoint"]
    roles = dict.fromkeys(CHECKPOINTS, checkpoint) | dict.fromkeys(DEVICES, values["device"])
    roles |= dict.fromkeys(ENDPOINTS, endpoint) | dict.fromkeys(PROCESSORS, values["processor"])
    roles |= {"label": values["label"], "device_label": values["device"]}
    parsed = parse_factory(name)
    roles |= dict.fromkeys(TASKS, parsed[1] if parsed else "")
    if not ENDPOINTS & parameters:
        roles["model"] = endpoint  # with no other parameter for it, the model is the one that was loaded
    args, kwargs = _bind(signature, roles, values["label"], name, place)
    kinds = {p.kind for p in signature.parameters.values()}
    if not args and not kwargs and inspect.Parameter.VAR_POSITIONAL in kinds:
        return [checkpoint, values["device"], values["label"], endpoint, values["processor"]], {}
    return args, kwargs


def _bind(signature: inspect.Signature, roles: Mapping[str, Any], label: str, name: str, place: Place) -> Arguments:
    """Each parameter that a role has the name of, by keyword where that can be; any other is left to its default."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    skipped = False
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        known = parameter.name in roles or parameter.name.endswith("_label")
        value = roles.get(parameter.name, label)
        positional = parameter.kind is parameter.POSITIONAL_ONLY
        if known and not (positional and skipped):
            if positional:
                args.append(value)
            else:
                kwargs[parameter.name] = value
        elif parameter.default is parameter.empty:
            raise _not_callable(f"{name} needs {parameter.name!r}, which no convention of the interface has", place)
        else:
            skipped = positional
    return args, kwargs


def _method(skill: Any, name: str) -> Callable[..., Any]:
    method = getattr(skill, name, None)
    if method is None:
        near = nearest(name, (other for other in dir(skill) if other != name and other.startswith(name[:5])))
        raise _not_callable(f"{type(skill).__name__} has no {name}{near}", _class_place(type(skill)))
    if not callable(method):
        raise _not_callable(f"{name} of {type(skill).__name__} is not callable", _class_place(type(skill)))
    result: Callable[..., Any] = method
    return result


def _signature(method: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(method)
    except (TypeError, ValueError):
        # Written in C, or says of itself what is no signature.
        kinds = inspect.Parameter
        return inspect.Signature([kinds("args", kinds.VAR_POSITIONAL), kinds("kwargs", kinds.VAR_KEYWORD)])


def _place(method: Any) -> Place:
    """File and line of a function or method."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else ("", 0)


def _class_place(cls: type) -> Place:
    """File and line of a class, by the file of its functions."""
    file = next((_place(value)[0] for value in vars(cls).values() if inspect.isfunction(value)), "")
    try:
        chain = class_chain(parse(file), cls.__name__)
    except (SyntaxError, OSError):
        chain = []
    return file, chain[0].lineno if chain else 0


def _not_callable(says: str, place: Place) -> NotCallable:
    return NotCallable(Finding(check=Check.INTERFACE, says=says, file=place[0], line=place[1]))
