"""Weights that make a fault visible, whatever a class starts them at."""

from __future__ import annotations

import torch
from torch import nn

from pytest_ipfs_accelerate.models.initialize import initialize


class Snake(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 64, 1))


class EuclideanCodebook(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("embed", torch.zeros(16, 8))
        self.register_buffer("embed_avg", torch.zeros(16, 8))
        self.register_buffer("cluster_size", torch.zeros(16))


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    initialize(module, seed)
    return module


def test_what_scales_stays_about_one() -> None:
    model = drawn(nn.ModuleDict({"norm": nn.LayerNorm(64), "snake": Snake()}))
    weights = dict(model.named_parameters())
    for name in ("norm.weight", "snake.alpha"):
        assert abs(float(weights[name].detach().mean()) - 1) < 0.1
        assert weights[name].std() > 0.05
    assert abs(float(weights["norm.bias"].detach().mean())) < 0.1


def test_a_matrix_in_a_module_named_for_embeddings_is_a_matrix() -> None:
    model = drawn(nn.ModuleDict({"embedder": nn.Linear(400, 100), "embeddings": nn.Embedding(400, 100)}))
    assert model["embedder"].weight.std() < 0.1
    assert model["embeddings"].weight.std() > 0.4


def test_the_convolutions_of_a_codec_do_not_swell() -> None:
    plain = drawn(nn.ModuleDict({"conv": nn.Conv1d(32, 32, 7)}))
    codec = drawn(nn.ModuleDict({"conv": nn.Conv1d(32, 32, 7), "snake": Snake()}))
    assert torch.allclose(codec["conv"].weight, plain["conv"].weight / 2)


def test_a_codebook_has_entries() -> None:
    book = drawn(EuclideanCodebook())
    assert book.embed.std() > 0.5
    assert torch.equal(book.embed, book.embed_avg)
    assert not book.cluster_size.any()
    assert not torch.equal(book.embed, drawn(EuclideanCodebook(), seed=1).embed)


def test_the_row_of_the_padding_token_is_zero() -> None:
    assert not drawn(nn.Embedding(8, 4, padding_idx=3)).weight[3].any()
