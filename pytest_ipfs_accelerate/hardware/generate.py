"""Greedy generation: by a model, and by a model whose forwards are exported components.

``transformers.exporters`` exports the stages of a generation but gives nothing that drives them. The loop of ``generate``
holds all that a model type does around its forwards (masks, positions, caches, the prompt of a speech model), so it is kept:
for the time of one call every forward that was exported is replaced by the component's runner.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.exporters.runners.base import ModelRunner
from transformers.exporters.utils import precompute_export_inputs

from ..words import plural
from .base import NotOnHardware
from .outputs import generated

Forward = Callable[..., Any]


def cache_length(arguments: Mapping[str, Any]) -> int:
    """Number of positions in the cache among the arguments of a forward, 0 where it has none yet."""
    cache = arguments.get("past_key_values")
    return int(cache.get_seq_length()) if cache is not None else 0


class Driver:
    """A model that generates, or runs forward, through the runners of its exported components.

    ``runners`` maps the name of a component to its runner, and ``modules`` the name to the module whose forward it replaces.
    ``prefill`` and ``decode`` both replace the whole model's forward: the state of the cache chooses.
    """

    def __init__(self, model: PreTrainedModel, runners: Mapping[str, ModelRunner], modules: Mapping[str, str]) -> None:
        self.calls: Counter[str] = Counter()
        self.runners = runners
        self.modules = modules
        self.model = poisoned(model, modules)

    @torch.no_grad()
    def generate(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with self._replaced():
            options = {"return_dict_in_generate": True, "output_logits": True}
            return generated(self.model.generate(**inputs, **options))  # type: ignore[operator]

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
            yield
        finally:
            for module, _ in replacements:
                module.__dict__.pop("forward", None)

    def _replacements(self) -> list[tuple[nn.Module, Forward]]:
        stages: dict[str, Forward] = {}
        replacements = []
        for name, path in self.modules.items():
            module = self.model.get_submodule(path)
            forward = self._runs(name, module)
            if path:
                replacements.append((module, forward))
            else:
                stages[name] = forward
        if stages:
            replacements.append((self.model, self._chosen(stages)))
        return replacements

    def _chosen(self, stages: Mapping[str, Forward]) -> Forward:
        """A forward of the whole model: ``decode`` once the cache holds something, ``prefill`` before that; a model that
        has no prefill of its own (its parts are exported one by one) runs its own code on its replaced parts."""
        prefill = stages.get("prefill", functools.partial(type(self.model).forward, self.model))

        @functools.wraps(type(self.model).forward.__get__(self.model))
        def forward(*args: Any, **kwargs: Any) -> Any:
            return stages["decode"](*args, **kwargs) if cache_length(kwargs) else prefill(*args, **kwargs)

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


def bound_arguments(signature: inspect.Signature, module: nn.Module, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by name, those that ``**kwargs`` took in among them."""
    arguments = dict(signature.bind(module, *args, **kwargs).arguments)
    arguments.pop("self", None)
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(parameter.name, {}))
    return arguments


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
    the component's place, the output would show it. Where no component is the whole prefill, the model's own code still
    looks tokens up, so that what it needs for that stays: :func:`left_to_torch` names it."""
    skeleton = copy.deepcopy(model)
    whole = "prefill" in modules
    kept = set() if whole else {id(parameter) for parameter in token_embedding(skeleton)}
    for path in modules.values():
        if path or whole:
            for parameter in skeleton.get_submodule(path).parameters():
                if id(parameter) not in kept:
                    parameter.fill_(torch.nan)
    return skeleton


def token_embedding(model: PreTrainedModel) -> list[nn.Parameter]:
    """The parameters of the token embedding; none where the model has no single one."""
    try:
        return [*model.get_input_embeddings().parameters()]
    except NotImplementedError:
        return []


def left_to_torch(skeleton: nn.Module) -> list[str]:
    """Names of the parameters that a driven model still holds, so that torch computes with them.

    Raises:
        NotOnHardware: one of them is a matrix that is multiplied by, and not a table that is looked up.
    """
    left = [name for name, parameter in skeleton.named_parameters() if not parameter.isnan().any()]
    tables = {f"{name}.weight" for name, module in skeleton.named_modules() if isinstance(module, nn.Embedding)}
    if computed := [name for name in left if name not in tables and skeleton.get_parameter(name).dim() > 1]:
        raise NotOnHardware(
            f"torch computes with {plural(len(computed), 'matrix', 'matrices')}: {', '.join(computed[:3])} …"
        )
    return left
