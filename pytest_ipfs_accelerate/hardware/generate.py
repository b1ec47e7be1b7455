"""Greedy generation: by a model, and by a model whose forwards are exported components.

``transformers.exporters`` exports the stages of a generation but gives nothing that drives them. The loop of ``generate``
holds all that a model type does around its forwards (masks, positions, caches, the prompt of a speech model), so it is kept:
for the time of one call every forward that was exported is replaced by the component's runner.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, masking_utils
from transformers.exporters.runners.base import ModelRunner
from transformers.exporters.utils import patch_attributes, precompute_export_inputs

from ..words import plural
from .base import NotOnHardware
from .caches import bound_arguments, cache_length, in_decode
from .outputs import generated, step_logits

Forward = Callable[..., Any]


STAGES = ("prefill", "decode")
"""Components that are the same module in two states."""


class Driver:
    """A model that generates, or runs forward, through the runners of its exported components.

    ``runners`` maps the name of a component to its runner, and ``modules`` the name to the module whose forward it replaces.
    ``prefill`` and ``decode`` replace the forward of the same module, the whole model's or that of the language model inside
    it that generates: the state of the cache chooses.
    """

    def __init__(self, model: PreTrainedModel, runners: Mapping[str, ModelRunner], modules: Mapping[str, str]) -> None:
        self.calls: Counter[str] = Counter()
        self.runners = runners
        self.modules = modules
        self.model = poisoned(model, modules)

    @torch.no_grad()
    def generate(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with self._replaced(), step_logits(self.model) as steps:
            options = {"return_dict_in_generate": True, "output_logits": True}
            return generated(self.model.generate(**inputs, **options), steps)  # type: ignore[operator]

    @torch.no_grad()
    def forward(self, inputs: Mapping[str, Tensor]) -> Any:
        with self._replaced():
            return self.model(**inputs)

    @contextmanager
    def _replaced(self) -> Iterator[None]:
        """Every exported forward replaced, and put back whatever happens."""
        replacements = self._replacements()
        try:
            for module, forward in replacements:
                module.__dict__["forward"] = forward
            with masks_written_out():
                yield
        finally:
            for module, _ in replacements:
                module.__dict__.pop("forward", None)

    def _replacements(self) -> list[tuple[nn.Module, Forward]]:
        stages: dict[str, dict[str, Forward]] = {}
        replacements = []
        for name, path in self.modules.items():
            module = self.model.get_submodule(path)
            forward = self._runs(name, module)
            if path and name not in STAGES:
                replacements.append((module, forward))
            else:
                stages.setdefault(path, {})[name] = forward
        for path, forwards in stages.items():
            module = self.model.get_submodule(path)
            replacements.append((module, self._chosen(module, forwards)))
        return replacements

    def _chosen(self, module: nn.Module, stages: Mapping[str, Forward]) -> Forward:
        """A forward of the module that generates: ``decode`` once the cache holds something, ``prefill`` before that; a model
        that has no prefill of its own (its parts are exported one by one) runs its own code on its replaced parts."""
        prefill = stages.get("prefill", functools.partial(type(module).forward, module))

        @functools.wraps(type(module).forward.__get__(module))
        def forward(*args: Any, **kwargs: Any) -> Any:
            return stages["decode"](*args, **kwargs) if in_decode(kwargs) else prefill(*args, **kwargs)

        return forward

    def _runs(self, name: str, module: nn.Module) -> Forward:
        runner = self.runners[name]
        signature = inspect.signature(type(module).forward)

        # generate() keeps the arguments that the signature names, so the replacement must show the same one.
        @functools.wraps(type(module).forward.__get__(module))
        def forward(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            arguments = bound_arguments(signature, module, args, kwargs)
            fill_mask(
                arguments, runner, in_decoder=not hasattr(module, "get_input_embeddings") or cache_length(arguments) > 0
            )
            precompute_export_inputs(module, arguments)
            taken = {key: value for key, value in arguments.items() if key in runner.metadata.kwargs}
            # share_inputs=False: OpenVINO read freed memory of a shared encoder output and crashed.
            return with_restored_counters(runner(share_inputs=False, **taken))

        return forward


@contextmanager
def masks_written_out() -> Iterator[None]:
    """For a time transformers leaves no mask away that would change nothing: a program that was exported from a padded batch
    reads one. (The mask of a recurrent layer is made by a function that the models have by name: inkling_mm_model's is made
    outside of the program.)"""
    names = ("_ignore_causal_mask_sdpa", "_ignore_bidirectional_mask_sdpa")
    recurrent = "create_recurrent_attention_mask"
    own = [module for name, module in list(sys.modules.items()) if ".modeling_" in name and recurrent in vars(module)]
    patches = [(masking_utils, name, lambda original: lambda *args, **kwargs: False) for name in names]
    with patch_attributes([*patches, *((module, recurrent, recurrent_mask_always) for module in own)]):
        yield


def recurrent_mask_always(original: Callable[..., Tensor | None]) -> Callable[..., Tensor | None]:
    """The mask (batch, tokens) of a recurrent layer, all ones where nothing is padded. A step of one token has none."""

    @functools.wraps(original)
    def create(config: Any, inputs_embeds: Tensor, attention_mask: Tensor | None, *args: Any, **kwargs: Any) -> Any:
        batch, length = inputs_embeds.shape[:2]
        if length == 1 or (attention_mask is not None and attention_mask.ndim != 2):
            return original(config, inputs_embeds, attention_mask, *args, **kwargs)
        if attention_mask is None:
            return torch.ones(batch, length, dtype=torch.long, device=inputs_embeds.device)
        return attention_mask[:, -length:].contiguous()

    return create


def fill_mask(arguments: dict[str, Any], runner: ModelRunner, *, in_decoder: bool) -> None:
    """Write out an attention mask that ``generate`` left away because it is all ones: the program reads one."""
    if arguments.get("attention_mask") is not None or runner.metadata.kwargs.get("attention_mask", {}).get("rank") != 2:
        return
    if arguments.get("encoder_outputs") is not None:
        hidden = arguments["encoder_outputs"][0]
        arguments["attention_mask"] = torch.ones(hidden.shape[:2], dtype=torch.long)
        return
    inputs = arguments.get("input_ids")
    inputs = arguments["inputs_embeds"] if inputs is None else inputs
    length = inputs.shape[1] + cache_length(arguments)
    arguments["attention_mask"] = torch.ones(inputs.shape[0], length, dtype=torch.long)


def with_restored_counters(outputs: Any) -> Any:
    """A sliding-window cache comes back with the counter it was traced with: count its positions again."""
    cache = outputs.get("past_key_values") if hasattr(outputs, "get") else None
    for part in (cache, getattr(cache, "self_attention_cache", None), getattr(cache, "cross_attention_cache", None)):
        for layer in getattr(part, "layers", []):
            if hasattr(layer, "cumulative_length") and getattr(layer, "keys", None) is not None:
                layer.cumulative_length = layer.keys.shape[-2]
    return outputs


@torch.no_grad()
def poisoned(model: PreTrainedModel, modules: Mapping[str, str]) -> PreTrainedModel:
    """A copy of ``model`` in which every parameter that a component replaces is NaN: if torch computed with one of them in
    the component's place, the output would show it. Where no component is the whole prefill, the model's own code runs around
    the components, so that every other matrix is NaN too until a module that holds it is called: then it gets its numbers
    back, and :func:`left_to_torch` finds it. So does a table, wherever it is; beside a whole prefill, before which chameleon
    looks the words of its pictures up, for that one call. What no call touches, such as the tower that makes pictures of a
    model that is asked to read them, stays NaN."""
    skeleton = copy.deepcopy(model)
    whole = modules.get("prefill") == ""
    replaced = [path for path in modules.values() if path or whole]
    for path in replaced:
        for parameter in skeleton.get_submodule(path).parameters():
            parameter.fill_(torch.nan)
    tables = [name for name, module in skeleton.named_modules() if isinstance(module, nn.Embedding)]
    for name, module in skeleton.named_modules():
        inside = whole or any(name == path or name.startswith(f"{path}.") for path in replaced)
        looks_up = any(name == path or name.startswith(f"{path}.") for path in tables)
        held = _held(name, module, inside=inside, looks_up=looks_up)
        for key in held:
            module.get_parameter(key).fill_(torch.nan)
        if held:
            module.register_forward_pre_hook(functools.partial(_restored, model.get_submodule(name), held))
        if held and whole:
            # A head that is tied to the table must not come back with it.
            module.register_forward_hook(functools.partial(_taken_back, held))
    return skeleton


def _held(name: str, module: nn.Module, *, inside: bool, looks_up: bool) -> list[str]:
    """The parameters of a module that are NaN until it is called: tables, wherever they are, with the norm of what is looked up
    that lies in one (inkling2), and matrices that lie inside of no component. Not what the model itself learns as an input: a
    ``generate`` that never calls its forward would not get it back."""
    parameters = dict(module.named_parameters(recurse=False))
    if looks_up:
        return list(parameters)
    if inside:
        return []
    learned = {key for key in parameters if not name and _is_an_input(module, key)}
    return [key for key, parameter in parameters.items() if parameter.dim() > 1 and key not in learned]


@torch.no_grad()
def _restored(original: nn.Module, held: Sequence[str], module: nn.Module, arguments: Any) -> None:
    for key in held:
        module.get_parameter(key).copy_(original.get_parameter(key))


@torch.no_grad()
def _taken_back(held: Sequence[str], module: nn.Module, arguments: Any, output: Any) -> None:
    for key in held:
        module.get_parameter(key).fill_(torch.nan)


def left_to_torch(skeleton: nn.Module, *, allow_fallback: bool = False) -> tuple[list[str], int]:
    """Names of the parameters that a driven model still holds, so that torch computes with them, and how many of these are
    matrices that are multiplied by, and not tables that are looked up or inputs that are learned.

    Raises:
        NotOnHardware: there is such a matrix, and the user allows no fallback.
    """
    left = [name for name, parameter in skeleton.named_parameters() if not parameter.isnan().any()]
    tables = {f"{name}.weight" for name, module in skeleton.named_modules() if isinstance(module, nn.Embedding)}
    computed = [
        name
        for name in left
        if name not in tables and skeleton.get_parameter(name).dim() > 1 and not _is_an_input(skeleton, name)
    ]
    if computed and not allow_fallback:
        raise NotOnHardware(
            f"torch computes with {plural(len(computed), 'matrix', 'matrices')}: {', '.join(computed[:3])} …"
        )
    return left, len(computed)


def _is_an_input(model: nn.Module, name: str) -> bool:
    """Whether a parameter is an input that is learned, such as the queries of a Q-Former: (1, tokens, width), repeated for each
    input of a batch, and the weight of no layer."""
    parameter = model.get_parameter(name)
    return parameter.dim() == 3 and parameter.shape[0] == 1 and not name.endswith("weight")
