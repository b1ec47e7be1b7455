"""Experts that loop over those that are hit: the replacement computes the same, and is still needed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
import torch
from cases import recipe
from torch import Tensor, nn
from traces import Calls, Inputs, original_of, same, takes_another
from transformers import HiggsAudioV2Config
from transformers.exporters.exporter_onnx import use_experts_implementation
from transformers.models.higgs_audio_v2 import modeling_higgs_audio_v2
from transformers.models.jetmoe.modeling_jetmoe import JetMoeParallelExperts
from transformers.models.step3p7.modeling_step3p7 import Step3p7Experts

from pytest_ipfs_accelerate.hardware import export_experts
from pytest_ipfs_accelerate.hardware.export import _export
from pytest_ipfs_accelerate.hardware.export_registry import PATCHES
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint

WIDTH, EXPERTS = 6, 3


def module(name: str, kind: str, **config: Any) -> nn.Module:
    """A module of a model type, with its configuration's usual values but for these, and weights that are drawn."""
    modeling = import_module(f"transformers.models.{name}.modeling_{name}")
    configuration = import_module(f"transformers.models.{name}.configuration_{name}")
    settings = next(vars(configuration)[key] for key in configuration.__all__)(**config)
    found: nn.Module = getattr(modeling, kind)(settings, *([WIDTH] if name == "nllb_moe" else []))
    for parameter in found.parameters():
        nn.init.normal_(parameter)
    return found.eval()


def switch_router() -> nn.Module:
    return module(
        "switch_transformers", "SwitchTransformersTop1Router", d_model=WIDTH, num_experts=EXPERTS, expert_capacity=2
    )


def switch() -> nn.Module:
    return module("switch_transformers", "SwitchTransformersExperts", d_model=WIDTH, d_ff=WIDTH, num_experts=EXPERTS)


def nllb() -> nn.Module:
    return module("nllb_moe", "NllbMoeExperts", d_model=WIDTH, num_experts=EXPERTS, moe_token_dropout=0.2)


def dbrx() -> nn.Module:
    modeling = import_module("transformers.models.dbrx.modeling_dbrx")
    configuration = import_module("transformers.models.dbrx.configuration_dbrx")
    config = configuration.DbrxFFNConfig(hidden_size=WIDTH, ffn_hidden_size=4, moe_num_experts=EXPERTS)
    found: nn.Module = modeling.DbrxExperts(config)
    for parameter in found.parameters():
        nn.init.normal_(parameter)
    return found.eval()


def longcat() -> nn.Module:
    return module(
        "longcat_flash",
        "LongcatFlashExperts",
        hidden_size=WIDTH,
        expert_ffn_hidden_size=4,
        n_routed_experts=EXPERTS - 1,
        zero_expert_num=1,
    )


def chosen(batch: int, length: int) -> tuple[Tensor, ...]:
    tokens = batch * length
    index = torch.stack([torch.randperm(EXPERTS)[:2] for _ in range(tokens)])
    return torch.randn(tokens, WIDTH), index, torch.rand(tokens, 2)


def one_hot(batch: int, length: int) -> tuple[Tensor, ...]:
    """What the router of switch_transformers gives: no expert at all for a token beyond the capacity."""
    hidden, index, weights = chosen(batch, length)
    mask = nn.functional.one_hot(index[:, :1], EXPERTS)
    mask[0] = 0
    return hidden, mask, weights[:, :1]


def masked(batch: int, length: int) -> tuple[Tensor, ...]:
    hidden, index, _ = chosen(batch, length)
    mask = nn.functional.one_hot(index, EXPERTS).sum(1)
    return hidden, mask, torch.rand(mask.shape) * mask


def step() -> nn.Module:
    config = SimpleNamespace(num_local_experts=EXPERTS, hidden_size=WIDTH, moe_intermediate_size=4, hidden_act="silu")
    found = Step3p7Experts(config, swiglu_limit=0.5)
    for parameter in found.parameters():
        nn.init.normal_(parameter)
    return found.eval()


def chosen_or_none(batch: int, length: int) -> tuple[Tensor, ...]:
    """Tokens, one of which is sent to no expert."""
    hidden, index, weights = chosen(batch, length)
    index[0] = EXPERTS
    return hidden, index, weights


CASES: dict[str, tuple[str, Callable[[], nn.Module], Inputs]] = {
    "router": (
        "switch_transformers.modeling_switch_transformers.SwitchTransformersTop1Router.forward",
        switch_router,
        lambda batch, length: (torch.randn(batch, length, WIDTH),),
    ),
    "switch": (
        "switch_transformers.modeling_switch_transformers.SwitchTransformersExperts.forward",
        switch,
        one_hot,
    ),
    "nllb": ("nllb_moe.modeling_nllb_moe.NllbMoeExperts.forward", nllb, masked),
    "dbrx": (
        "dbrx.modeling_dbrx.DbrxExperts.forward",
        dbrx,
        lambda batch, length: (chosen(batch, length)[0].view(batch, length, WIDTH), *chosen(batch, length)[1:]),
    ),
    "step": ("step3p7.modeling_step3p7.Step3p7Experts.forward", step, chosen_or_none),
    "longcat": ("longcat_flash.modeling_longcat_flash.LongcatFlashExperts.forward", longcat, chosen),
}


class Bound(nn.Module):
    """A call of a module whose parameters are the trace's, as those of a model are."""

    def __init__(self, function: Any, made: nn.Module) -> None:
        super().__init__()
        self.function, self.made = function, made

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self.made, *inputs)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Any, Any, nn.Module, Inputs]:
    """What is replaced, what replaces it, a module to run them on, and inputs."""
    torch.manual_seed(7)
    path, make, inputs = CASES[request.param]
    original = original_of(path)
    return original, PATCHES[path](original), make(), inputs


@torch.no_grad()
def test_every_expert_sees_every_token_and_the_sum_is_the_same(case: tuple[Any, Any, nn.Module, Inputs]) -> None:
    original, replaced, made, inputs = case
    for batch, length in ((1, 5), (3, 17)):
        given = inputs(batch, length)
        found = replaced(made, *given)
        assert same(found, original(made, *given))
        assert not same(found, original(made, given[0] + 1, *given[1:]))


@torch.no_grad()
def test_a_replacement_is_needed(case: tuple[Any, Any, nn.Module, Inputs]) -> None:
    """Where this fails, transformers or torch no longer has the fault: the replacement can go."""
    original, replaced, made, inputs = case
    assert takes_another(Bound(replaced, made), inputs)
    assert not takes_another(Bound(original, made), inputs)


JETMOE = "jetmoe.modeling_jetmoe.JetMoeParallelExperts.forward"


@torch.no_grad()
def test_tokens_that_come_sorted_by_their_experts_are_not_split() -> None:
    """Where the original is split no more, the replacement can go: a tensor of as many tokens as the data says is none for the
    HTP and Core ML."""
    torch.manual_seed(7)
    original = original_of(JETMOE)
    made = JetMoeParallelExperts(EXPERTS, WIDTH, 4)
    nn.init.normal_(made.weight)
    hidden = torch.randn(9, WIDTH)

    def called(forward: Any) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda hidden, sizes: forward(made, hidden, sizes.tolist())

    def is_split(call: Any) -> bool:
        program = torch.export.export(Calls(call), ((hidden, torch.tensor([3, 3, 3])),), strict=False)
        return any("split" in str(node.target) for node in program.graph.nodes)

    expected, replaced = called(original), called(PATCHES[JETMOE](original))
    for sizes in (torch.tensor([3, 4, 2]), torch.tensor([0, 9, 0]), torch.tensor([5, 0, 4])):
        assert same(replaced(hidden, sizes), expected(hidden, sizes))
        assert not same(replaced(hidden, sizes.roll(1)), expected(hidden, sizes))
    assert is_split(expected)
    assert not is_split(replaced)


class Attends(nn.Module):
    """A self-attention that is no part of what is compared."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
        return hidden_states.flip(-1), None


def higgs(kind: str, *args: Any) -> Any:
    sizes = {
        "hidden_size": 8,
        "intermediate_size": 4,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    config = HiggsAudioV2Config(**sizes, vocab_size=20, num_hidden_layers=1, num_codebooks=2, codebook_size=9)  # type: ignore[arg-type]
    config.audio_token_id, config.audio_delay_token_id, config.pad_token_id = 7, 8, 0
    found = getattr(modeling_higgs_audio_v2, kind)(config, *args)
    for parameter in found.parameters():
        nn.init.normal_(parameter)
    return found.eval()


@torch.no_grad()
def test_words_and_sounds_of_higgs_go_through_both_networks() -> None:
    torch.manual_seed(7)
    path = "higgs_audio_v2.modeling_higgs_audio_v2.HiggsAudioV2DecoderLayer.forward"
    original = original_of(path)
    replaced, layer, hidden = PATCHES[path](original), higgs("HiggsAudioV2DecoderLayer", 0), torch.randn(2, 5, 8)
    layer.self_attn = Attends()
    for mask in (torch.rand(2, 5) < 0.5, torch.zeros(2, 5, dtype=torch.bool), torch.ones(2, 5, dtype=torch.bool), None):
        found = replaced(layer, hidden, position_embeddings=None, audio_token_mask=mask)
        assert same(found, original(layer, hidden.clone(), None, audio_token_mask=mask))
        assert mask is None or not same(
            found, replaced(layer, hidden, position_embeddings=None, audio_token_mask=~mask)
        )


@torch.no_grad()
def test_the_frames_of_higgs_that_count_come_first() -> None:
    torch.manual_seed(7)
    path = "higgs_audio_v2.modeling_higgs_audio_v2.HiggsAudioV2Model.forward"
    original = original_of(path)
    replaced, model = PATCHES[path](original), higgs("HiggsAudioV2Model")
    frames, counts = (
        torch.randint(0, 9, (2, 4, 2)),
        torch.tensor([[True, False, True, False], [False, False, True, False]]),
    )
    for tokens, mask in (
        ([[7, 8, 3, 4, 5], [2, 3, 7, 4, 5]], counts),
        ([[1, 2, 3, 4, 5], [2, 3, 4, 4, 5]], torch.zeros_like(counts)),
    ):
        given = {"input_ids": torch.tensor(tokens), "audio_input_ids": frames, "audio_input_ids_mask": mask}
        given["attention_mask"] = torch.ones(2, 5, dtype=torch.long)
        found = replaced(model, **given)["last_hidden_state"]
        assert same(found, original(model, **given)["last_hidden_state"])
        other = replaced(model, **(given | {"audio_input_ids": frames.flip(1)}))["last_hidden_state"]
        assert same(found, other) is not bool(mask.any())


class Scatters(nn.Module):
    """What higgs does with its sounds."""

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return hidden.masked_scatter(mask[..., None], hidden[mask] * 2)


def test_onnx_runtime_scatters_nothing() -> None:
    """Where this fails, a gathering of nothing is run: the replacements of higgs can go."""
    hidden, mask = torch.randn(2, 3, 4), torch.tensor([[True, False, True], [False, False, True]])
    component = _export(Scatters().eval(), {"hidden": hidden, "mask": mask}, "")
    session = onnxruntime.InferenceSession(component.onnx)
    names = [value.name for value in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, (hidden.numpy(), mask.numpy()), strict=True)))
    assert torch.allclose(torch.tensor(found), Scatters()(hidden, mask))
    with pytest.raises(Exception, match="invalid index found"):
        session.run(None, dict(zip(names, (hidden.numpy(), torch.zeros_like(mask).numpy()), strict=True)))


def test_the_experts_of_a_model_in_another_are_batched() -> None:
    """Where the exporter finds those of a decision, ``batched_experts`` can go."""
    model = build_checkpoint(recipe("qwen3_5_moe", "decision")).model
    inner = model.get_submodule("model.language_model")
    own = inner.config._experts_implementation
    with use_experts_implementation(model, "batched_mm"):
        assert inner.config._experts_implementation == own
    with export_experts.batched_experts(model):
        assert inner.config._experts_implementation == "batched_mm"
    assert inner.config._experts_implementation == own != "batched_mm"
