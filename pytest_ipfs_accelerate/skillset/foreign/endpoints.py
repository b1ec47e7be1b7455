"""What an endpoint is: parameters that are those of the checkpoint, or a compiled model; and no mock anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from ..findings import Check, Finding
from .ran import Ran

DEPTH = 5
"""How deep an endpoint's, processor's or handler's own objects are looked into."""

_RUNTIMES = ("openvino", "onnxruntime", "coremltools", "executorch", "optimum")
_LIBRARIES = (*_RUNTIMES, "torch", "transformers", "tokenizers", "numpy", "PIL", "builtins", "asyncio", "queue")


def parts_of(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A value and all that it holds of the user's own: what functions close over, objects' attributes, entries of containers.
    The insides of libraries are left alone."""
    waiting, seen = [(path, value, 0)], {id(value)}
    while waiting:
        where, one, depth = waiting.pop(0)
        yield where, one
        if depth < DEPTH:
            for name, inner in _inside(one):
                if id(inner) not in seen and not isinstance(inner, ModuleType | str | int | float | Tensor | type):
                    seen.add(id(inner))
                    waiting.append((f"{where}{name}", inner, depth + 1))


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, MethodType):
        yield ".__self__", value.__self__
        value = value.__func__
    if isinstance(value, partial):
        yield ".func", value.func
        yield from ((f".args[{index}]", one) for index, one in enumerate(value.args))
        yield from ((f".keywords[{name!r}]", one) for name, one in value.keywords.items())
    elif isinstance(value, FunctionType):
        yield from _closed_over(value)
    elif isinstance(value, Mapping):
        yield from ((f"[{name!r}]", one) for name, one in list(value.items())[:50])
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{index}]", one) for index, one in enumerate(list(value)[:50]))
    elif not is_mock(value) and hasattr(value, "__dict__"):
        # Of a library's object, such as a pipeline of transformers, the model alone.
        library = type(value).__module__.partition(".")[0] in _LIBRARIES
        yield from ((f".{name}", one) for name, one in vars(value).items() if not library or name == "model")


def _closed_over(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f" closes over {name}", cell.cell_contents
        except ValueError:  # a cell that is still empty
            continue
    yield from ((f" has the default {one!r:.20}", one) for one in function.__defaults__ or ())
    yield from ((f" has the default of {name}", one) for name, one in (function.__kwdefaults__ or {}).items())
    if wrapped := getattr(function, "__wrapped__", None):
        yield " wraps", wrapped
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f" uses {name}", function.__globals__[name]


def is_mock(value: Any) -> bool:
    """Whether an object is one of ``unittest.mock``'s, whatever class it says that it has."""
    return any(kind.__module__ in ("unittest.mock", "mock", "mock.mock") for kind in type(value).__mro__)


def check_no_mock(things: Mapping[str, Any], file: str, line: int) -> list[Finding]:
    """Every mock in the endpoint, the processor and the handler, by where it was found."""
    found: dict[int, Finding] = {}
    for name, thing in things.items():
        for where, part in parts_of(thing, name):
            if is_mock(part) and id(part) not in found:
                says = f"{where} is a {type(part).__name__} of unittest.mock"
                found[id(part)] = Finding(check=Check.ENDPOINT, says=says, file=file, line=line)
    return list(found.values())


def modules_in(endpoint: Any) -> list[nn.Module]:
    """The torch modules with parameters in an endpoint."""
    return [
        part
        for _, part in parts_of(endpoint, "")
        if isinstance(part, nn.Module) and next(part.parameters(), None) is not None
    ]


def runtimes_in(endpoint: Any) -> list[str]:
    """The objects of runtimes in an endpoint that hold a compiled model, by the names of their classes."""
    return [
        type(part).__name__
        for _, part in parts_of(endpoint, "")
        if any(kind.__module__.partition(".")[0] in _RUNTIMES for kind in type(part).__mro__)
    ]


def check_endpoint(endpoint: Any, ran: Ran, weights: Mapping[str, Tensor], file: str, line: int) -> list[Finding]:
    """Whether an endpoint holds what can compute, whether that is what computed, and whether its weights are those of the
    checkpoint."""
    modules = modules_in(endpoint)
    found = []
    if not modules and not runtimes_in(endpoint) and not is_mock(endpoint):
        found.append(f"the endpoint is {_named(endpoint)} and holds no parameters and no compiled model")
    if not ran:
        found.append("nothing computed while it answered: no torch module, no OpenVINO, no ONNX Runtime")
    for module in {id(module): module for module in (*modules, *ran.modules)}.values():
        # In a module of the user's, or one that torch compiled, the model itself.
        model = next((part for part in module.modules() if isinstance(part, transformers.PreTrainedModel)), None)
        if model is not None:
            found += [f"{type(model).__name__}: {difference}" for difference in other_weights(model, weights)]
    return [Finding(check=Check.ENDPOINT, says=says, file=file, line=line) for says in dict.fromkeys(found)]


def _named(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def other_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """In one line, how the parameters of a module are not those of the checkpoint; those that it lacks are new, and a head that
    the module lacks is no difference."""
    by_end: dict[str, list[Tensor]] = {}
    for name, tensor in weights.items():
        parts = name.split(".")
        for start in range(len(parts)):
            by_end.setdefault(".".join(parts[start:]), []).append(tensor)
    same, other = 0, []
    used = [(name, parameter) for name, parameter in module.named_parameters() if not _unused(parameter)]
    for name, parameter in used:
        candidates = _candidates(name, by_end, weights)
        if any(_equal(parameter, candidate) for candidate in candidates):
            same += 1
        elif candidates:
            other.append(name)
    total = same + len(other)
    if other:
        return [f"{len(other)} of {total} parameters are not those of the checkpoint, {other[0]} first"]
    return [] if same or not used else ["none of its parameters is in the checkpoint"]


def _candidates(name: str, by_end: Mapping[str, list[Tensor]], weights: Mapping[str, Tensor]) -> Iterable[Tensor]:
    """The weights of the same name, with a prefix more or less: a model inside a larger one."""
    if found := by_end.get(name):
        return found
    parts = name.split(".")
    shorter = (".".join(parts[start:]) for start in range(1, len(parts) - 1))
    return next(([weights[short]] for short in shorter if short in weights), [])


def _equal(parameter: Tensor, weight: Tensor) -> bool:
    plain = parameter.detach().cpu()
    return plain.shape == weight.shape and torch.equal(plain, weight.to(plain.dtype))


def new_parameters(module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Names of the parameters of a module that the checkpoint lacks, which are therefore drawn anew each time it is loaded."""
    ends = {".".join(name.split(".")[start:]) for name in weights for start in range(name.count(".") + 1)}
    return [
        name
        for name, _ in module.named_parameters()
        if name not in ends and not any(".".join(name.split(".")[i:]) in weights for i in range(1, name.count(".") + 1))
    ]


def check_place(hardware: str, ran: Ran, file: str, line: int, asked: str = "") -> list[Finding]:
    """Whether what ran, ran on the hardware that the class names, and in the precision that was ``asked`` for, if any."""
    says = [_misplaced(hardware, ran)] if ran else []
    if ran and asked and asked not in ran.precisions:
        says.append(f"{asked} was asked for; it computed in {', '.join(ran.precisions)}")
    return [Finding(check=Check.PLACE, says=each, file=file, line=line) for each in says if each]


def check_precision(ran: Ran, weights: Mapping[str, Tensor], file: str, line: int) -> list[Finding]:
    """A note where torch ran on parameters of a lower precision than the checkpoint has, which nobody asked for."""
    lowest = ran.parameter_precisions[:1]
    if lowest in ([], ["fp32"]) or any(weight.dtype in (torch.float16, torch.bfloat16) for weight in weights.values()):
        return []
    says = f"its parameters are {lowest[0]} and the checkpoint's fp32: its answers are held to the tolerance of {lowest[0]}"
    return [Finding(check=Check.PLACE, says=says, file=file, line=line, note=True)]


def _torch_models(ran: Ran) -> bool:
    """Whether a model of transformers, or a part of one, computed in torch. One that only drives what a runtime computes has
    had its parameters made NaN, so that none can have been used."""
    models = (part for module in ran.modules for part in module.modules() if _is_transformers(part))
    return any(not all(map(_unused, model.parameters())) for model in models)


def _is_transformers(module: nn.Module) -> bool:
    """Whether a module is a model of transformers, or a part that only such a model has."""
    return any(kind.__module__.startswith("transformers.models.") for kind in type(module).__mro__) or isinstance(
        module, transformers.PreTrainedModel
    )


def _unused(parameter: Tensor) -> bool:
    return parameter.is_floating_point() and bool(parameter.detach().isnan().all())


def _misplaced(hardware: str, ran: Ran) -> str:
    match hardware:
        case "cpu":
            elsewhere = [name for name in ran.module_devices if name != "cpu"]
            elsewhere += [name for name in ran.execution_devices if name.partition(".")[0] != "CPU"]
            elsewhere += [name for name in ran.providers if name != "CPUExecutionProvider"]
            ok = not elsewhere
        case "cuda" | "rocm":
            ok = ran.module_devices == ["cuda"] or "CUDAExecutionProvider" in ran.providers
        case "openvino":
            ok = not _torch_models(ran) and (bool(ran.compiled) or "OpenVINOExecutionProvider" in ran.providers)
        case "onnxruntime":
            ok = not _torch_models(ran) and bool(ran.sessions)
        case "qualcomm":
            ok = not _torch_models(ran) and "QNNExecutionProvider" in ran.providers
        case "apple":
            ok = ran.module_devices == ["mps"] or "CoreMLExecutionProvider" in ran.providers
        case _:
            return f"nothing here can prove that it ran on {hardware}: {ran}"
    return "" if ok else f"it names {hardware}, and {ran}"
