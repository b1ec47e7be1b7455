"""Each replacement gives the numbers of what it replaces, and is still needed: the original does not trace, or not for a batch
or a length other than its own."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from cases import recipe, task_on
from torch import Tensor, nn
from traces import Call, Calls, Inputs, original_of, same, takes_another
from transformers import (
    Mistral3Config,
    PixtralVisionConfig,
    PixtralVisionModel,
    Siglip2VisionConfig,
    Wav2Vec2Config,
    Wav2Vec2ForXVector,
)
from transformers.exporters import utils
from transformers.models.mistral3.modeling_mistral3 import Mistral3PatchMerger
from transformers.models.siglip2.modeling_siglip2 import Siglip2VisionEmbeddings

from pytest_ipfs_accelerate.hardware.export import export_program
from pytest_ipfs_accelerate.hardware.export_patches import patched
from pytest_ipfs_accelerate.hardware.export_recurrences import solve_unit_lower
from pytest_ipfs_accelerate.hardware.export_registry import PATCHES
from pytest_ipfs_accelerate.hardware.parts import outermost


def scan(function: Any) -> Call:
    return lambda *inputs: function(*inputs, return_last_state=True, delta_softplus=True)


def scan_inputs(batch: int, length: int) -> tuple[Tensor, ...]:
    sizes = ((batch, 4, length), (batch, 4, length), (4, 3), (batch, 3, length), (batch, 3, length), (4,))
    hidden, dt, decay, b, c, d = (torch.randn(size) for size in sizes)
    return hidden, dt, -decay.exp(), b, c, d


def rwkv(function: Any) -> Call:
    return lambda decay, first, key, value, *state: function(decay, first, key, value, state or None, True)


def rwkv_inputs(batch: int, length: int) -> tuple[Tensor, ...]:
    return torch.randn(4), torch.randn(4), torch.randn(batch, length, 4), torch.randn(batch, length, 4)


def rwkv_with_state(batch: int, length: int) -> tuple[Tensor, ...]:
    state = (torch.randn(batch, 4), torch.rand(batch, 4) + 0.5, torch.randn(batch, 4))
    return (*rwkv_inputs(batch, length), *state)


def xlstm(function: Any) -> Call:
    backend = importlib.import_module("transformers.models.xlstm.modeling_xlstm").xLSTMBackend
    config = importlib.import_module("transformers").xLSTMConfig(
        hidden_size=16, num_heads=2, vocab_size=9, num_hidden_layers=1, mode="inference"
    )
    return lambda *inputs: function(backend(config), *inputs)


def xlstm_inputs(batch: int, length: int) -> tuple[Tensor, ...]:
    rows = [torch.randn(batch, 2, length, 4) for _ in range(3)]
    return (*rows, torch.randn(batch, 2, length), torch.randn(batch, 2, length) + 2)


def xlstm_with_state(batch: int, length: int) -> tuple[Tensor, ...]:
    state = (torch.randn(batch, 2, 4, 4), torch.randn(batch, 2, 4), torch.randn(batch, 2, 1))
    return (*xlstm_inputs(batch, length), *state)


def linear_scan(function: Any) -> Call:
    return lambda *inputs: function(None, *inputs)


def linear_scan_inputs(batch: int, length: int) -> tuple[Tensor, ...]:
    """Of the texts of the batch each begins two tokens later than the last one begins, after the end of another."""
    positions = torch.arange(length) - 2 * torch.arange(batch)[:, None]
    hidden, gate = torch.randn(batch, length, 4), torch.rand(batch, length, 4)
    return hidden, gate, (positions == 0)[..., None], torch.randn(batch, 4)


def lengths(function: Any) -> Call:
    return lambda sound: torch.arange(function(None, sound.shape[1]))


def experts(function: Any) -> Call:
    weights = {
        "gate_up_proj": torch.randn(3, 4, 10),
        "gate_up_proj_bias": torch.randn(3, 10),
        "down_proj": torch.randn(3, 5, 4),
        "down_proj_bias": torch.randn(3, 4),
    }
    kind = importlib.import_module("transformers.models.openai_privacy_filter.modeling_openai_privacy_filter")
    gate = kind.OpenAIPrivacyFilterExperts._apply_gate
    config = SimpleNamespace(_experts_implementation="eager")
    self = SimpleNamespace(**weights, config=config, num_experts=3, alpha=1.7, limit=7.0)
    self._apply_gate = lambda value: gate(self, value)
    return lambda *inputs: function(self, *inputs)


def expert_inputs(batch: int, length: int) -> tuple[Tensor, ...]:
    chosen = torch.stack([torch.randperm(3)[:2] for _ in range(batch * length)])
    return torch.randn(batch * length, 4), chosen, torch.rand(batch * length, 2)


def regulated_inputs(batch: int, length: int) -> tuple[Tensor, ...]:
    return torch.randn(batch, length, 4), torch.randint(0, 4, (batch, length))


def siglip2(function: Any) -> Call:
    config = Siglip2VisionConfig(hidden_size=8, num_patches=16, patch_size=2, num_channels=1)
    module = Siglip2VisionEmbeddings(config)
    nn.init.normal_(module.position_embedding.weight)
    return lambda *inputs: function(module, *inputs)


def siglip2_inputs(batch: int, length: int) -> tuple[Tensor, ...]:
    """Grids that are smaller than the table of 4 by 4, larger, and both."""
    grids = torch.tensor([(2, 3), (5, 5), (7, 2), (4, 4)])[:batch]
    return torch.randn(batch, 25 + length, 4), grids


def itself(function: Any) -> Call:
    return lambda *inputs: function(*inputs)


def pixtral(function: Any) -> Call:
    config = PixtralVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=4
    )
    model = PixtralVisionModel(config).eval()
    return lambda pixels: function(model, pixels).last_hidden_state


def merger(function: Any) -> Call:
    config = Mistral3Config(
        vision_config={"model_type": "pixtral", "hidden_size": 4, "patch_size": 4}, spatial_merge_size=2
    )
    module = Mistral3PatchMerger(config)

    def merge(features: Tensor) -> Any:
        # In a trace the sizes are those of the two pictures that it is made from.
        pictures = features.shape[0] // 8 if isinstance(features.shape[0], int) else 2
        return function(module, features, [(16, 8)] * pictures)

    return merge


def xvector(function: Any) -> Call:
    config = Wav2Vec2Config(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        conv_dim=(8,),
        conv_kernel=(4,),
        conv_stride=(4,),
        num_feat_extract_layers=1,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        tdnn_dim=(8, 8),
        tdnn_kernel=(3, 1),
        tdnn_dilation=(1, 1),
        xvector_output_dim=4,
        feat_extract_norm="layer",
    )
    module = Wav2Vec2ForXVector(config).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return lambda sound, mask: function(module, sound, attention_mask=mask).embeddings


def sounds(batch: int, length: int) -> tuple[Tensor, ...]:
    """Each a little shorter than the one before."""
    ends = 120 + 4 * length - 16 * torch.arange(batch)
    return torch.randn(batch, 120 + 4 * length), (torch.arange(120 + 4 * length) < ends[:, None]).long()


SCANS = ("mamba", "falcon_mamba", "jamba", "zamba")
RWKV = "rwkv.modeling_rwkv.rwkv_linear_attention"
XLSTM = "xlstm.modeling_xlstm.xLSTMBackend.forward"
CASES: dict[str, tuple[str, Callable[[Any], Call], Inputs]] = {
    **{name: (f"{name}.modeling_{name}.mamba_selective_scan", scan, scan_inputs) for name in SCANS},
    "recurrent_gemma": (
        "recurrent_gemma.modeling_recurrent_gemma.RecurrentGemmaRglru._rnn_scan",
        linear_scan,
        linear_scan_inputs,
    ),
    "rwkv": (RWKV, rwkv, rwkv_inputs),
    "rwkv with a state": (RWKV, rwkv, rwkv_with_state),
    "xlstm": (XLSTM, xlstm, xlstm_inputs),
    "xlstm with a state": (XLSTM, xlstm, xlstm_with_state),
    "moonshine": (
        "moonshine.modeling_moonshine.MoonshinePreTrainedModel._get_feat_extract_output_lengths",
        lengths,
        lambda batch, length: (torch.randn(batch, 4000 + 700 * length),),
    ),
    "openai_privacy_filter": (
        "openai_privacy_filter.modeling_openai_privacy_filter.OpenAIPrivacyFilterExperts.forward",
        experts,
        expert_inputs,
    ),
    "fsmt": (
        "fsmt.modeling_fsmt.make_padding_mask",
        itself,
        lambda batch, length: (torch.arange(batch * length).view(batch, length),),
    ),
    "fastspeech2": (
        "fastspeech2_conformer.modeling_fastspeech2_conformer.length_regulator",
        itself,
        regulated_inputs,
    ),
    "siglip2": ("siglip2.modeling_siglip2.Siglip2VisionEmbeddings.forward", siglip2, siglip2_inputs),
    "pixtral": (
        "pixtral.modeling_pixtral.PixtralVisionModel.forward",
        pixtral,
        lambda batch, length: (torch.randn(batch, 3, 16, 16),),
    ),
    "wav2vec2": ("wav2vec2.modeling_wav2vec2.Wav2Vec2ForXVector.forward", xvector, sounds),
    "mistral3": (
        "mistral3.modeling_mistral3.Mistral3PatchMerger.forward",
        merger,
        lambda batch, length: (torch.randn(batch * 8, 4),),
    ),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(7)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_a_replacement_gives_the_numbers_of_the_original(name: str) -> None:
    path, calls, inputs = CASES[name]
    original = original_of(path)
    torch.manual_seed(1)
    expected = calls(original)
    torch.manual_seed(1)
    replaced = calls(PATCHES[path](original))
    for batch, length in ((1, 5), (3, 37)):
        given = inputs(batch, length)
        assert same(replaced(*given), expected(*given))
        assert not same(replaced(*inputs(batch, length)), expected(*given)) or name in ("moonshine", "fsmt")


@pytest.mark.parametrize("name", [name for name in CASES if "state" not in name])
@torch.no_grad()
def test_a_replacement_is_needed(name: str) -> None:
    """Where this fails, transformers or torch no longer has the fault: the replacement can go."""
    path, calls, inputs = CASES[name]
    original = original_of(path)
    assert takes_another(calls(PATCHES[path](original)), inputs)
    assert not takes_another(calls(original), inputs)


def test_durations_of_nothing_are_written_as_the_model_writes_them() -> None:
    """They are an output of the model: a sound of which every token is predicted to last no frame."""
    path = "fastspeech2_conformer.modeling_fastspeech2_conformer.length_regulator"
    for durations in ([[0, 0, 0], [0, 0, 0]], [[0, 2, 1], [0, 0, 0]]):
        expected, found = torch.tensor(durations), torch.tensor(durations)
        frames = torch.randn(2, 3, 4)
        assert same(PATCHES[path](original_of(path))(frames, found), original_of(path)(frames, expected))
        assert torch.equal(found, expected)


def test_a_rotation_in_real_numbers_is_the_complex_one() -> None:
    path = "llama4.modeling_llama4.apply_rotary_emb"
    original = original_of(path)
    angles = torch.randn(2, 5, 4)
    given = (torch.randn(2, 5, 3, 8), torch.randn(2, 5, 1, 8), torch.polar(torch.full_like(angles, 1.2), angles))
    assert same(PATCHES[path](original)(*given), original(*given))
    registry = importlib.import_module("torch.onnx._internal.exporter._registration").ONNXRegistry.from_torchlib()
    # Where this fails, onnxscript takes an axis put into complex numbers, and the replacement can go.
    assert not [found for found in registry.get_decomps(torch.ops.aten.unsqueeze.default) if found.is_complex]


def test_the_quantile_of_gemma3n_is_needed() -> None:
    registry = importlib.import_module("torch.onnx._internal.exporter._registration").ONNXRegistry.from_torchlib()
    assert registry.get_decomps(torch.ops.aten.erfinv.default) == []
    path = "gemma3n.modeling_gemma3n.Gemma3nTextMLP._gaussian_topk"
    original = original_of(path)
    self, rows = SimpleNamespace(activation_sparsity=0.95), torch.randn(3, 64)
    assert same(PATCHES[path](original)(self, rows), original(self, rows))


@torch.no_grad()
def test_a_chunk_is_solved_in_few_steps() -> None:
    """Where the original no longer unrolls a loop over the chunk, the replacement can go."""
    path = "qwen3_5.modeling_qwen3_5.torch_chunk_gated_delta_rule"
    original = original_of(path)
    given = (*(torch.randn(2, 70, 2, 8) for _ in range(3)), -torch.rand(2, 70, 2), torch.rand(2, 70, 2))
    options = {"output_final_state": True, "use_qk_l2norm_in_kernel": True}

    def rule(function: Any) -> Call:
        return lambda *inputs: function(*inputs, **options)

    replaced = rule(PATCHES[path](original))
    assert same(replaced(*given), rule(original)(*given))
    sizes = [
        len(torch.export.export(Calls(call), (given,), strict=False).graph.nodes) for call in (replaced, rule(original))
    ]
    assert sizes[0] * 3 < sizes[1]
    system = torch.randn(2, 64, 64) / 8
    right = torch.randn(2, 64, 3)
    expected = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    assert same(solve_unit_lower(system, right, upper=False, unitriangular=True), expected)


def test_everything_is_put_back() -> None:
    originals = {path: original_of(path) for path in PATCHES}
    with patched():
        assert not [path for path, original in originals.items() if original_of(path) is original]
    assert not [path for path, original in originals.items() if original_of(path) is not original]


def test_a_part_in_another_is_no_part_of_its_own() -> None:
    paths = {
        "image_encoder": "model.vision",
        "audio_encoder": "model.vision",
        "head": "lm_head",
        "language_model": "model",
    }
    assert outermost(paths) == {"head": "lm_head", "language_model": "model"}
    del paths["language_model"]
    assert outermost(paths) == {"image_encoder": "model.vision", "head": "lm_head"}


def test_experts_are_gathered_for_each_token() -> None:
    task = task_on(recipe("mixtral", "feature-extraction"), "feature-extraction")
    program = export_program(task.checkpoint, task.encode(list(task.samples())), generates=False)
    graph = onnx.load_from_string(program.components["model"].onnx).graph
    # Tokens sorted by expert are counted and cut into groups, whose sizes depend on data.
    assert not {"CumSum", "ScatterElements"} & {node.op_type for node in graph.node}


@pytest.mark.parametrize("name", ["dots3_note", "glm_ocr"])
def test_the_exporter_leaves_out_the_norms_of_queries_and_keys(name: str) -> None:
    """Where this fails, the exporter has them, and its replacement can stand again."""
    exporter = importlib.import_module("transformers.exporters.exporter_dynamo")
    with_qkv = inspect.getsource(exporter._reshaped_vision_attention_forward).partition('hasattr(self, "qkv")')[2]
    assert "q_norm" not in with_qkv.partition("    else:\n        q_proj")[0]
    owner = f"transformers.models.{name}.modeling_{name}."
    kept = [patch for patch in utils._PATCHES["dynamo"] if patch[0].startswith(owner)]
    assert kept
    with patched():
        assert not [patch for patch in utils._PATCHES["dynamo"] if patch in kept]
