"""What really computed while a handler answered: torch modules, OpenVINO's requests, ONNX Runtime's sessions.

It is seen where the libraries themselves are called, so that no wrapper hides it and no label counts.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn.modules import module as hooks

_DTYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}
_LOWEST_FIRST = ("bf16", "fp16", "fp32")
_HINTS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}


class Ran:
    """What ran, in objects: ``modules`` are the outermost ones with parameters. ``given`` are the tensors that models of
    transformers were first called with, by name."""

    def __init__(self) -> None:
        self.modules: list[nn.Module] = []
        self.compiled: list[Any] = []
        self.sessions: list[Any] = []
        self.given: dict[str, Tensor] = {}

    def add(self, other: Ran) -> None:
        """What ran at another time, too."""
        for kept, more in (
            (self.modules, other.modules),
            (self.compiled, other.compiled),
            (self.sessions, other.sessions),
        ):
            for one in more:
                _keep(kept, one)

    def __bool__(self) -> bool:
        return bool(self.modules or self.compiled or self.sessions)

    @property
    def module_devices(self) -> list[str]:
        """Kinds of the devices that the parameters of the modules are on."""
        return sorted({parameter.device.type for module in self.modules for parameter in module.parameters()})

    @property
    def execution_devices(self) -> list[str]:
        """Where OpenVINO says that its models were executed."""
        return sorted({str(name) for model in self.compiled for name in model.get_property("EXECUTION_DEVICES")})

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's providers, those of each session in its order."""
        return list(dict.fromkeys(str(name) for session in self.sessions for name in session.get_providers()))

    @property
    def precisions(self) -> list[str]:
        """The precisions of what ran, the lowest first; ``fp32`` where nothing says another."""
        found = {
            _HINTS.get(str(model.get_property("INFERENCE_PRECISION_HINT").get_type_name())) for model in self.compiled
        }
        found |= set(self.parameter_precisions)
        return [name for name in _LOWEST_FIRST if name in found] or ["fp32"]

    @property
    def parameter_precisions(self) -> list[str]:
        """The precisions of the parameters that torch ran on, the lowest first."""
        found = {_DTYPES.get(parameter.dtype) for module in self.modules for parameter in module.parameters()}
        return [name for name in _LOWEST_FIRST if name in found]

    def evidence(self) -> dict[str, Any]:
        """The same in builtin values."""
        found: dict[str, Any] = {}
        if self.modules:
            found["torch modules"] = sorted({type(module).__name__ for module in self.modules})
            found["parameters on"] = self.module_devices
        if self.compiled:
            found["OpenVINO executed on"] = self.execution_devices
        if self.sessions:
            found["ONNX Runtime's providers"] = self.providers
        return found

    def __str__(self) -> str:
        parts = []
        if self.modules:
            names = ", ".join(sorted({type(module).__name__ for module in self.modules}))
            parts.append(f"torch ran {names} on {', '.join(self.module_devices) or 'no device'}")
        if self.compiled:
            parts.append(f"OpenVINO ran on {', '.join(self.execution_devices)}")
        if self.sessions:
            parts.append(f"ONNX Runtime ran with {', '.join(self.providers)}")
        return "; ".join(parts) or "nothing computed"


@contextmanager
def seeing() -> Iterator[Ran]:
    """See what computes."""
    ran = Ran()
    with ExitStack() as stack:
        stack.enter_context(_torch(ran))
        if openvino := sys.modules.get("openvino"):
            for name in ("infer", "start_async"):
                stack.enter_context(_called(openvino.InferRequest, name, lambda request: _keep_compiled(ran, request)))
        if onnxruntime := sys.modules.get("onnxruntime"):
            for name in ("run", "run_with_iobinding"):
                stack.enter_context(_called(onnxruntime.InferenceSession, name, lambda one: _keep(ran.sessions, one)))
        yield ran


@contextmanager
def _torch(ran: Ran) -> Iterator[None]:
    depth = 0

    def enters(module: nn.Module, inputs: Any) -> None:
        nonlocal depth
        # What traces or exports a model runs it on tensors that hold nothing.
        if depth == 0 and next(module.parameters(), None) is not None:
            _keep(ran.modules, module)
        depth += 1

    def leaves(module: nn.Module, inputs: Any, *rest: Any) -> None:
        nonlocal depth
        depth -= 1
        # Where the forward raised torch leaves the keywords out, and what it was given led to no answer.
        if depth == 0 and len(rest) == 2 and isinstance(module, transformers.PreTrainedModel):
            _note_given(ran.given, module, inputs, rest[0])

    handles = [
        hooks.register_module_forward_pre_hook(enters),
        hooks.register_module_forward_hook(leaves, with_kwargs=True, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _note_given(
    given: dict[str, Tensor], module: nn.Module, inputs: tuple[Any, ...], keywords: Mapping[str, Any]
) -> None:
    """Note what a forward was called with, by the names of its parameters; of each the first, which is the whole input, where
    what follows are steps of a generation."""
    names = list(inspect.signature(module.forward).parameters)
    for name, value in {**dict(zip(names, inputs, strict=False)), **keywords}.items():
        if isinstance(value, Tensor) and name not in given:
            given[name] = value.detach().cpu().clone()


def _keep(kept: list[Any], one: Any) -> None:
    if not any(other is one for other in kept):
        kept.append(one)


def _keep_compiled(ran: Ran, request: Any) -> None:
    model = request.get_compiled_model()
    # A new wrapper each time: the devices tell them apart well enough.
    if len(ran.compiled) < 8:
        ran.compiled.append(model)


@contextmanager
def _called(owner: Any, name: str, tell: Callable[[Any], None]) -> Iterator[None]:
    """Tell of every object that a method of a class is called on."""
    plain = getattr(owner, name)
    own = name in vars(owner)

    @wraps(plain)
    def seen(self: Any, *arguments: Any, **keywords: Any) -> Any:
        tell(self)
        return plain(self, *arguments, **keywords)

    setattr(owner, name, seen)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, plain)
        else:
            delattr(owner, name)
