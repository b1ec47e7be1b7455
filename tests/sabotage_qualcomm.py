"""Qualcomm's HTP broken on purpose, by import path; a module of its own, since its runtime is an extra."""

from __future__ import annotations

from typing import Any

import onnxruntime
from sabotage import Constant, Maskless, Scaled, broken

from pytest_ipfs_accelerate.hardware.qualcomm import HtpRunner, Qualcomm, QualcommEndpoint
from pytest_ipfs_accelerate.hardware.qualcomm_contexts import Compiled, assigned


class ScaledMore(Scaled):
    """A tenth too large: one per cent is within what fp16 and integers round."""

    factor = 1.1


class OnTheCpu(HtpRunner):
    """A session that fell back to the CPU whole, which ONNX Runtime does without a word."""

    def _open(self, shapes: Any, given: Any) -> Compiled:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        session = onnxruntime.InferenceSession(
            self._onnx.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return Compiled(session, assigned(session))


class FallenBack(Qualcomm):
    """Computes on the CPU, and perfectly."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        endpoint = super().lower(checkpoint, program)
        for runner in endpoint.runners.values():
            runner.__class__ = OnTheCpu
        return endpoint


class DeafToPrecision(Qualcomm):
    """Asked for integers of 16 bits, and computes in those of 8."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        asked, self.precision = self.precision, "a8w8"
        endpoint = super().lower(checkpoint, program)
        endpoint.precision = asked
        return endpoint


class DeafToQuantising(Qualcomm):
    """Asked for integers, and computes in fp16."""

    def lower(self, checkpoint: Any, program: Any) -> Any:
        asked, self.precision = self.precision, ""
        endpoint = super().lower(checkpoint, program)
        endpoint.precision = asked
        return endpoint


ScaledQualcomm = broken(ScaledMore, Qualcomm, QualcommEndpoint)
MasklessQualcomm = broken(Maskless, Qualcomm, QualcommEndpoint)
ConstantQualcomm = broken(Constant, Qualcomm, QualcommEndpoint)
