"""A plugin for runs inside the tests (``-p fakes``): two model types, hardware whose availability does not depend on the
machine, and a host that computes nothing.

``ant`` has two tasks of language, ``bee`` one of vision. ``cpu``, ``onnxruntime`` and ``openvino`` are here; ``cuda``,
``apple`` and ``qualcomm`` are not. A case whose node id stands in the file ``broken.txt`` fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_ipfs_accelerate import Availability, Comparison, HardwareSpec, Implementation, Outcome, Stage, Verdict
from pytest_ipfs_accelerate.specs import Job
from pytest_ipfs_accelerate.speed import Numbers, Speed, Timing

HERE = ("cpu", "onnxruntime", "openvino")
ABSENT = ("cuda", "apple", "qualcomm")
ANT = 12
"""Cases of ``ant``: two tasks on six hardware, half of them here."""
BEE = 6


def run_case(job: Job, enter: Callable[[Stage], None]) -> Verdict:
    """Passes, or fails at parity where ``broken.txt`` says so."""
    case, broken = job.case, Path("broken.txt")
    fails = broken.exists() and case.nodeid in broken.read_text().split()
    numbers = {"relative_l2": 0.25 if fails else 1e-7, "max_abs": 0.5, "cosine": 0.9, "bound": 1e-4}
    return Verdict(
        model=case.model,
        task=case.task,
        hardware=case.hardware,
        outcome=Outcome.FAILED if fails else Outcome.PASSED,
        stage=Stage.PARITY if fails else Stage.BATCH if job.measure is None else Stage.MEASURE,
        reason="1 of 1 comparisons differ" if fails else "",
        detail="the traceback of a case" if fails else "",
        comparisons=(Comparison(against="reference", output="logits", ok=not fails, **numbers),),
        implementation=Implementation.SIMULATOR if case.hardware == "openvino" else Implementation.REAL,
        device="a device",
        precision="fp32",
        versions={"torch": "0.0"},
        numbers=numbers_of(job) if job.measure is not None and not fails else None,
    )


def timing_of(median: float, noise: float = 0.01) -> Timing:
    """A median that was measured within so much of it."""
    around = {"low": median * (1 - noise), "high": median * (1 + noise), "p95": median * (1 + 2 * noise)}
    return Timing(median=median, **around, runs=100, blocks=10, settled=noise <= 0.01)


def numbers_of(job: Job) -> Numbers:
    """A millisecond for each input; or, where ``pace.json`` has the node id, as many milliseconds as it says, and the noise."""
    assert job.measure is not None
    path = Path("pace.json")
    paces = json.loads(path.read_text()) if path.exists() else {}
    pace, noise = paces.get(job.case.nodeid, (1.0, 0.01))
    speeds = tuple(
        Speed(batch=batch, latency=timing_of(pace * batch, noise), throughput=1000 / pace, inputs={"x": (batch, 4)})
        for batch in job.measure.batches
    )
    waited = 0.4 if Path("busy.txt").exists() else 0.0
    around = {
        "load_s": 0.5,
        "lower_s": 0.25,
        "first_call_s": 0.75,
        "host_peak_bytes": 10**8,
        "waited": waited,
        "others": 1.5,
    }
    return Numbers(speeds=speeds, workers=job.measure.workers, **around)


def pytest_ipfs_hardware() -> list[HardwareSpec]:
    def here(name: str) -> Availability:
        reason = "" if name in HERE else "none in these tests"
        return Availability(available=not reason, reason=reason, device="a device")

    return [
        HardwareSpec(name=name, target="fakes:Nothing", probe=lambda name=name: here(name), summary="fake")  # type: ignore[misc]
        for name in (*HERE, *ABSENT)
    ]


def pytest_ipfs_models() -> dict[str, Any]:
    row = {"config_class": "BertConfig", "config": {}, "processor": "bert-wordpiece"}
    text = {"fill-mask": {"class": "BertForMaskedLM"}, "text-classification": {"class": "BertModel"}}
    return {
        "ant": {"category": "language", "tasks": text, **row},
        "bee": {"category": "vision", "tasks": {"image-classification": {"class": "ViTModel"}}, **row},
    }


class FakeHost:
    """Registered at configuration, after the plugin under test, so that its fixture takes the place of the real one."""

    @pytest.fixture(scope="session")
    @classmethod
    def ipfs_host(cls) -> Iterator[Any]:
        from pytest_ipfs_accelerate.host import InProcess

        return InProcess("fakes:run_case")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FakeHost(), "ipfs_fake_host")
