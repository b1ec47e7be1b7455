"""How visible is a fault? Scales one weight tensor at a time by 1.05 and asks whether the output leaves the tolerance of the
CPU.

    python benchmarks/faults.py                 # the model types of @strata, the primary task of each
    python benchmarks/faults.py bert,vit t5     # these model types, every task

A weight where no fault can show is left out by proof, not by hand:

- *not read*: filled with NaN, it puts no NaN into the output: this task does not read it;
- *without effect*: any other values of the same size move the output no more (a bias of the keys adds the same to every score
  of a query, and the softmax takes it away);
- *cancelled*: other values of the same size move the output, but scaled by 1.05 and by 2 it does not: a norm after it divides
  its scale out again.

Every other one counts, and is seen or missed.
"""

from __future__ import annotations

import os
import sys
from collections import Counter

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from torch import Tensor, nn

from pytest_ipfs_accelerate.builtin import TASKS
from pytest_ipfs_accelerate.hardware.torch_device import Cpu
from pytest_ipfs_accelerate.matrix import Case, base_task
from pytest_ipfs_accelerate.models.checkpoint import build_checkpoint
from pytest_ipfs_accelerate.opening import open_task
from pytest_ipfs_accelerate.parity import TOLERANCES, relative_l2
from pytest_ipfs_accelerate.registry import load_registry
from pytest_ipfs_accelerate.specs import Job

BOUND = TOLERANCES["cpu", "fp32"].relative_l2
FAULT = 1.05


class Probe:
    """One case whose weights are changed one at a time."""

    def __init__(self, model: str, task: str) -> None:
        registry = load_registry()
        recipe = registry.recipe(model, task)
        checkpoint = build_checkpoint(recipe)
        job = Job(case=Case(model, task, "cpu"), recipe=recipe, hardware="", task=TASKS[base_task(task)].target)
        kind = open_task(job, checkpoint)
        self.encoded = kind.encode([kind.samples()[0]])
        self.endpoint = Cpu().lower(checkpoint, None)
        self.generates = kind.generates
        self.model: nn.Module = self.endpoint.model
        self.before = self.outputs()

    def outputs(self) -> dict[str, Tensor]:
        return self.endpoint.generate(self.encoded) if self.generates else self.endpoint.forward(self.encoded)

    def change(self) -> float:
        """The largest relative change of an output; infinite for a NaN or another shape."""
        after = self.outputs()
        largest = 0.0
        for name, before in self.before.items():
            now = after.get(name)
            if now is None or now.shape != before.shape or (now.is_floating_point() and not now.isfinite().all()):
                return float("inf")
            if before.is_floating_point():
                largest = max(largest, relative_l2(before, now))
            elif not torch.equal(before, now):
                return float("inf")
        return largest

    @torch.no_grad()
    def kind_of(self, weight: nn.Parameter) -> str:
        """``seen``, ``missed``, ``cancelled``, ``without effect`` or ``not read``."""
        kept = weight.clone()
        try:
            weight.mul_(FAULT)
            if self.change() > BOUND:
                return "seen"
            weight.fill_(float("nan"))
            if self.change() <= BOUND:
                return "not read"
            weight.copy_(torch.randn_like(kept) * kept.std() if weight.numel() > 1 else kept + 1)
            if self.change() <= BOUND:
                return "without effect"
            weight.copy_(kept * 2)
            return "cancelled" if self.change() <= BOUND else "missed"
        finally:
            weight.copy_(kept)


def main(arguments: list[str]) -> None:
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    registry = load_registry()
    chosen = [name for word in arguments for name in word.split(",")] or list(registry.sets["strata"])
    total: Counter[str] = Counter()
    missed: list[str] = []
    for model in chosen:
        tasks = registry.tasks(model) if arguments else registry.tasks(model)[:1]
        for task in tasks:
            if registry.recipe(model, task).needs:
                continue
            try:
                probe = Probe(model, task)
            except Exception as error:
                print(f"{model}::{task}: does not run: {type(error).__name__}")
                continue
            found = Counter()
            for name, weight in probe.model.named_parameters():
                if weight.is_floating_point():
                    found[kind := probe.kind_of(weight)] += 1
                    missed += [f"{model}::{task}: {name}"] if kind == "missed" else []
            total += found
            print(
                f"{model}::{task}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(found.items())), flush=True
            )
    visible = total["seen"] + total["missed"]
    print("\nmissed:", *missed[:40], sep="\n  ")
    share = total["seen"] / max(visible, 1)
    print(f"\n{total['seen']} of {visible} weight tensors where a fault can show: {share:.1%} seen at {BOUND:.0e}")
    print(
        f"left out by proof: {total['cancelled']} cancelled by a norm, {total['without effect']} without "
        f"effect, {total['not read']} not read by the task"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
