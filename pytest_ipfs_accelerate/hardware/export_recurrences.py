"""Recurrences over the tokens of a text, which an export would unroll at the length that it traces: each replaced, for the time
of a trace, by products that give the same numbers for every length.
"""

from __future__ import annotations

import sys
from functools import partial, wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.exporters.utils import patch_attributes

from .export_registry import given, replaces


def weights_of_past(log_decay: Tensor) -> Tensor:
    """For decays in logarithms, (..., L, n) along L, how much of step ``s`` is left at step ``t``: (..., L of t, L of s, n),
    zero for the steps to come."""
    passed = log_decay.cumsum(-2)
    between = passed.unsqueeze(-2) - passed.unsqueeze(-3)
    steps = torch.arange(log_decay.shape[-2], device=log_decay.device)
    past = (steps[:, None] >= steps[None, :])[..., None]
    # Masked before the exponential: of a step to come it may be infinite.
    return torch.where(past, between, torch.full_like(between, -torch.inf)).exp()


@replaces(*(f"{name}.modeling_{name}.mamba_selective_scan" for name in ("mamba", "falcon_mamba", "jamba", "zamba")))
def selective_scan_at_once(original: Any) -> Any:
    """The scan is a Python loop over the tokens (``for index in range(seq_len)``), which a trace unrolls for its own length,
    so that the program takes no other. Every state is a sum over the past instead, weighted by the decays in between."""

    def scan(
        hidden_states: Tensor,
        dt: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        D: Tensor | None = None,
        z: Tensor | None = None,
        delta_bias: Tensor | None = None,
        delta_softplus: bool = False,
        return_last_state: bool = False,
        **kwargs: Any,
    ) -> Any:
        if delta_bias is not None:
            dt = dt + delta_bias.to(dt.dtype)[..., None]
        if delta_softplus:
            dt = F.softplus(dt)
        B, C = B.transpose(1, 2), C.transpose(1, 2)
        # (batch, channel, token, state)
        weights = weights_of_past(A[None, :, None, :] * dt[..., None])
        written = dt[..., None] * B[:, None].float() * hidden_states[..., None].float()
        states = (weights * written.unsqueeze(-3)).sum(-2)
        output = (states.to(hidden_states.dtype) * C[:, None]).sum(-1)
        if D is not None:
            output = output + hidden_states * D[None, :, None]
        if z is not None:
            output = output * F.silu(z)
        return (output, states[:, :, -1].to(hidden_states.dtype)) if return_last_state else output

    return scan


@replaces("recurrent_gemma.modeling_recurrent_gemma.RecurrentGemmaRglru._rnn_scan")
def linear_scan_at_once(original: Any) -> Any:
    """A loop over the tokens, as of a selective scan, of one state a channel, which a token at position 0 resets."""

    def scan(
        self: Any,
        hidden_states: Tensor,
        recurrent_gate: Tensor,
        reset: Tensor,
        recurrent_states: Tensor | None,
        acc_dtype: torch.dtype = torch.float32,
    ) -> tuple[Tensor, Tensor]:
        log_decay = recurrent_gate.to(acc_dtype).log()
        # A reset forgets all before it; the logarithm of a decay of 0 is no number to add to another.
        text = reset.long().cumsum(1)
        weights = weights_of_past(log_decay) * (text[:, :, None] == text[:, None, :])
        states = (weights * hidden_states.to(acc_dtype)[:, None]).sum(2)
        if recurrent_states is not None:
            states = states + log_decay.cumsum(1).exp() * (text == 0) * recurrent_states[:, None]
        return states.to(hidden_states.dtype), states[:, -1]

    return scan


@replaces("rwkv.modeling_rwkv.rwkv_linear_attention", "rwkv.modeling_rwkv.rwkv_linear_attention_cpu")
def rwkv_at_once(original: Any) -> Any:
    """A loop over the tokens, as of a selective scan. What a token reads is an average of the values so far, weighted by
    ``exp(decay * age + key)``: the state, whose newest token has age 0, and the token itself with ``time_first`` for its
    decay. A given state is one more token before the first."""

    def attention(
        time_decay: Tensor,
        time_first: Tensor,
        key: Tensor,
        value: Tensor,
        state: Any = None,
        return_state: bool = False,
    ) -> Any:
        decay, keys, values = -torch.exp(time_decay), key.float(), value.float()
        steps = torch.arange(key.shape[1], device=key.device)
        age = (steps[:, None] - steps[None, :])[..., None]
        never = torch.full((), -torch.inf, device=key.device)
        # (batch, token that reads, token that is read, channel); the state before token t has seen those before it.
        kept = torch.where(age >= 0, decay * age + keys[:, None], never)
        read = torch.where(age > 0, decay * (age - 1) + keys[:, None], never)
        read = torch.where(age == 0, keys[:, None] + time_first, read)
        before = 0.0 if state is None else state[0][:, None]
        below = 0.0 if state is None else state[1][:, None]
        past = torch.full_like(keys, -1e38) if state is None else state[2][:, None] + decay * steps[:, None]
        top = torch.maximum(read.amax(2), past)
        weights, old = (read - top[:, :, None]).exp(), (past - top).exp()
        output = ((weights * values[:, None]).sum(2) + old * before) / (weights.sum(2) + old * below)
        output = output.to(key.dtype)
        if not return_state and state is None:
            return output, state
        kept, past = kept[:, -1], past[:, -1] + decay
        top = torch.maximum(kept.amax(1), past)
        weights, old = (kept - top[:, None]).exp(), (past - top).exp()
        before, below = (0.0, 0.0) if state is None else (state[0], state[1])
        return output, [(weights * values).sum(1) + old * before, weights.sum(1) + old * below, top]

    return attention


@replaces("xlstm.modeling_xlstm.xLSTMBackend.forward")
def xlstm_at_once(original: Any) -> Any:
    """Without its kernels the backend takes the tokens in pieces of 64, 32 and 16 and the rest one by one, all in loops that a
    trace unrolls for its own length. This is the parallel form of the same recurrence (Beck et al., 2024, appendix A.3),
    with a given state as what is there before the first token."""

    def forward(
        self: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        igate: Tensor,
        fgate: Tensor,
        c_initial: Tensor | None = None,
        n_initial: Tensor | None = None,
        m_initial: Tensor | None = None,
        return_last_states: bool | None = None,
        mode: str | None = None,
    ) -> Any:
        mode = mode or self.config.mode
        returned = "inference" in mode or (
            self.config.return_last_states if return_last_states is None else return_last_states
        )
        scaled = query * query.shape[-1] ** -0.5
        passed = F.logsigmoid(fgate).cumsum(-1)
        steps = torch.arange(query.shape[2], device=query.device)
        past = steps[:, None] >= steps[None, :]
        # (batch, head, token that reads, token that is read)
        written = passed[..., :, None] - passed[..., None, :] + igate[..., None, :]
        written = torch.where(past, written, torch.full_like(written, -torch.inf))
        before = passed if m_initial is None else passed + m_initial
        top = torch.maximum(written.amax(-1), before)
        weights, old = (written - top[..., None]).exp(), (before - top).exp()
        scores = (scaled @ key.transpose(-1, -2)) * weights
        read, norm = scores @ value, scores.sum(-1)
        if c_initial is not None and n_initial is not None:
            read = read + old[..., None] * (scaled @ c_initial)
            norm = norm + old * (scaled @ n_initial[..., None]).squeeze(-1)
        output = read / (torch.maximum(norm.abs(), (-top).exp()) + self.config.eps)[..., None]
        if not returned:
            return output
        newest, left = weights[..., -1, :, None] * key, old[..., -1, None]
        memory, norm = newest.transpose(-1, -2) @ value, newest.sum(-2)
        if c_initial is not None and n_initial is not None:
            memory, norm = memory + left[..., None] * c_initial, norm + left * n_initial
        return output, (memory, norm, top[..., -1:])

    return forward


@replaces(
    *(
        f"{name}.modeling_{name}.torch_chunk_gated_delta_rule"
        for name in ("olmo_hybrid", "qwen3_5", "qwen3_5_moe", "qwen3_next", "qwen4_exp")
    )
)
def solved_by_squares(original: Any) -> Any:
    """The triangular system of a chunk of 64 tokens, one solver call otherwise, is solved for an export in 63 steps of a
    Python loop a layer, which made the export of a tiny qwen3_5 take minutes. The solver's branch is taken, with a solver of
    six products."""
    module = sys.modules[original.__module__]
    stand_ins = [
        (module, "is_torchdynamo_exporting", partial(given, lambda: False)),
        (torch.linalg, "solve_triangular", partial(given, solve_unit_lower)),
    ]

    @wraps(original)
    def rule(*args: Any, **kwargs: Any) -> Any:
        with patch_attributes(stand_ins):
            return original(*args, **kwargs)

    return rule


def solve_unit_lower(system: Tensor, right: Tensor, *, upper: bool, unitriangular: bool) -> Tensor:
    """The solution of ``system @ x = right`` for a lower triangle whose diagonal is taken for ones: with the strict triangle
    ``N`` the inverse is ``(1 - N) (1 + N^2) (1 + N^4) …``, and a power beyond the size is zero."""
    assert unitriangular
    assert not upper
    power = -system.tril(-1)
    size, reached = system.shape[-1], 1
    while reached < size:
        right = right + power @ right
        power, reached = power @ power, reached * 2
    return right
