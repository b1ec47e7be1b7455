"""The forwards of a generation, watched from outside: how long the prompt took and how long each token after it, and whether
these read the whole text again. What was seen counts, not what a config says."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin

from .caches import CACHES, bound_arguments, cache_length

Clock = Callable[[], float]

READ = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")
"""Arguments that a forward reads positions of, those of a decoder first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One forward: when it began and ended (seconds of the clock), how many positions it read, the class of the cache that it
    was given, empty where there was none, and how many positions that one counted."""

    began: float
    ended: float
    length: int
    cache: str
    cached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One call of ``generate``. ``began`` is when it was called; the first of ``steps`` is the prefill, which reads the
    prompt, the others decode."""

    began: float
    steps: tuple[Step, ...]
    batch: int
    new_tokens: int

    @property
    def prefill(self) -> float:
        """Seconds to the end of the first forward; what runs before it (an encoder, a tower for pictures) is part of it."""
        return self.steps[0].ended - self.began

    @property
    def decode(self) -> float:
        """Seconds from there to the end of the last forward, with what the loop does between two of them."""
        return self.steps[-1].ended - self.steps[0].ended

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many positions the steps that decode read, each number once."""
        return tuple(sorted({step.length for step in self.steps[1:]}))

    @property
    def caches(self) -> bool:
        """Whether every step that decodes read its own position alone, so that the rest came from a cache."""
        return self.lengths == (1,)

    def evidence(self) -> dict[str, Any]:
        """What a verdict says of it: builtin values, times in seconds."""
        found: dict[str, Any] = {"batch": self.batch, "new tokens": self.new_tokens, "forwards": len(self.steps)}
        if not self.steps:
            return found | {"note": "its generate calls no forward that could be watched: nothing is timed apart"}
        decoding, last = len(self.steps) - 1, self.steps[-1]
        found |= {
            "prompt length": self.steps[0].length,
            "prefill, s": round(self.prefill, 6),
            "decode steps": decoding,
            "decode input lengths": list(self.lengths),
            "decode, s": round(self.decode, 6),
            "tokens per second": round(self.batch * decoding / self.decode, 1) if self.decode else None,
            "cache": last.cache or None,
            "positions in the cache": last.cached,
            "decodes from the cache": self.caches,
        }
        if decoding and not self.caches:
            again = min(self.lengths) > self.steps[0].length
            found["note"] = (
                "no cache is read: every step computes the whole text again"
                if again
                else "a step that decodes reads more than the new token"
            )
        if decoding != self.new_tokens - 1:
            found["steps"] = f"{decoding} forwards after the first for {self.new_tokens} new tokens"
        return found


class Watch:
    """What :func:`watched` fills: the steps of each module that can generate, the outermost first."""

    def __init__(self, clock: Clock) -> None:
        self.began = clock()
        self.steps: list[list[Step]] = []

    def generation(self, outputs: Mapping[str, Tensor]) -> Generation:
        """The record of the call that gave ``outputs``, of which ``tokens`` is batch × new tokens. Some models hand all of it
        to the language model inside them: it is then that one's forwards that count."""
        batch, new_tokens = outputs["tokens"].shape[:2]
        steps = next(filter(None, self.steps), [])
        return Generation(began=self.began, steps=tuple(steps), batch=int(batch), new_tokens=int(new_tokens))


@contextmanager
def watched(
    model: nn.Module, settle: Callable[[], None] = lambda: None, clock: Clock = time.perf_counter
) -> Iterator[Watch]:
    """Watch the forwards of a generation. ``settle`` waits until the device has done what it was given: without it the time
    of a forward on a GPU is that of queueing it."""
    watch = Watch(clock)
    generating = [part for part in model.modules() if part is model or isinstance(part, GenerationMixin)]
    with ExitStack() as stack:
        for part in generating:
            watch.steps.append(stack.enter_context(_steps_of(part, settle, clock)))
        yield watch


@contextmanager
def _steps_of(module: nn.Module, settle: Callable[[], None], clock: Clock) -> Iterator[list[Step]]:
    signature = inspect.signature(type(module).forward)
    opened: list[tuple[float, int, str, int]] = []
    steps: list[Step] = []

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            return  # one that is part of the graph of another: a clock would break that
        arguments = bound_arguments(signature, module, args, kwargs) if args else kwargs
        settle()
        opened.append((clock(), positions(arguments), cache_class(arguments), cache_length(arguments)))

    def after(module: nn.Module, args: Any, outputs: Any) -> None:
        if torch.compiler.is_compiling() or not opened:
            return
        settle()
        began, length, cache, cached = opened.pop()
        steps.append(Step(began=began, ended=clock(), length=length, cache=cache, cached=cached))

    hooks = [
        module.register_forward_pre_hook(before, with_kwargs=True),
        module.register_forward_hook(after),
    ]
    try:
        yield steps
    finally:
        for hook in hooks:
            hook.remove()


def positions(arguments: Mapping[str, Any]) -> int:
    """How many positions a forward with these arguments reads; 0 where it takes none."""
    read = next((tensor for name in READ if (tensor := arguments.get(name)) is not None), None)
    return int(read.shape[1]) if read is not None and read.dim() > 1 else 0


def cache_class(arguments: Mapping[str, Any]) -> str:
    """The class of the cache among the arguments of a forward, with that of the decoder's part of one for an encoder-decoder
    model; empty where there is none."""
    cache = next((found for name in CACHES if (found := arguments.get(name)) is not None), None)
    if cache is None:
        return ""
    own = getattr(cache, "self_attention_cache", None)
    return f"{type(cache).__name__} of {type(own).__name__}" if own is not None else type(cache).__name__
