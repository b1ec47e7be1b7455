"""Qualcomm's HTP through ONNX Runtime's QNN provider: the NPU where there is one, Qualcomm's own simulator elsewhere.

The provider falls back to the CPU in many silent ways (another ``backend_type``, dynamic shapes, a retry after an error), each
of which gives a perfect and worthless result. So fallback is forbidden, shapes are fixed, and the assignment of every node is
read back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxruntime_qnn
import torch
from numpy.typing import NDArray
from onnx import ModelProto, helper
from onnxruntime_qnn.build_and_package_info import qnn_version
from transformers.exporters.metadata import ExportMetadata
from transformers.exporters.runners.base import ModelRunner
from transformers.exporters.utils import onnx_feed

from ..models.checkpoint import Checkpoint
from ..store import Store
from ..verdict import Implementation
from .base import Endpoint, Hardware, NotOnHardware
from .export import Component, Program
from .exported import ExportedEndpoint
from .onnxruntime import OnnxRuntimeEndpoint
from .placement import placed
from .qualcomm_axes import held
from .qualcomm_contexts import PROVIDER, Compiled, context_key, open_compiled
from .qualcomm_given import inputs_of_sizes, with_given
from .qualcomm_rewrites import Fixed, rewrite, rewrite_fixed
from .quantise import SCHEMES, quantised_program, quantised_tensors, scheme_found

SOC_MODEL = "57"
"""Snapdragon 8 Gen 3. Without a SoC model the simulator fails to allocate memory."""


@cache
def qnn_devices() -> tuple[Any, ...]:
    """The QNN devices of this machine. The library registers once a process; a second time raises.

    Raises:
        NotOnHardware: the library offers none.
    """
    onnxruntime.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
    devices = tuple(device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER)
    if not devices:
        raise NotOnHardware(f"onnxruntime-qnn {onnxruntime_qnn.__version__} offers no QNN device on this machine")
    return devices


class HtpRunner(ModelRunner):
    """One component on the HTP: a session for each combination of input shapes, since the HTP takes static ones alone."""

    def __init__(
        self,
        model: ModelProto,
        metadata: ExportMetadata,
        rewritten: Mapping[str, int],
        soc_model: str = SOC_MODEL,
        *,
        fixed: bool = True,
        allow_fallback: bool = False,
        store: Store | None = None,
    ) -> None:
        super().__init__(metadata)
        self.store = store
        self.allow_fallback = allow_fallback
        self.soc_model = soc_model
        self.rewritten = dict(rewritten)
        self._fixed = fixed
        self._onnx = model
        self._inputs = {value.name: value.type.tensor_type.shape.dim for value in model.graph.input}
        self._outputs = {
            value.name: helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in model.graph.output
        }
        self._sizes = inputs_of_sizes(model.graph) if fixed else frozenset()
        self._compiled: dict[tuple[Any, ...], Compiled] = {}

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @classmethod
    def from_program(cls, program: Any, metadata: ExportMetadata, device: Any = None) -> HtpRunner:
        model, rewritten = rewrite(program)
        return cls(model, metadata, rewritten)

    def __call__(self, share_inputs: bool = True, share_outputs: bool = False, **kwargs: Any) -> Any:
        feed = onnx_feed(list(self._inputs), kwargs)
        return self.unflatten([torch.from_numpy(output) for output in self.run(feed)])

    def run(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs of the graph, compiled for the shapes of these inputs, and for what those of sizes say, where it is not
        yet."""
        given = {name: feed[name] for name in self._inputs if name in self._sizes}
        key = *(feed[name].shape for name in self._inputs), *(value.tobytes() for value in given.values())
        if key not in self._compiled:
            self._compiled[key] = self._open({name: value.shape for name, value in feed.items()}, given)
        compiled = self._compiled[key]
        # What has more axes than the HTP takes goes in and comes out with some as one.
        inputs = {name: value.reshape(held(value.shape)) for name, value in feed.items() if name not in given}
        outputs = compiled.session.run(None, inputs)
        found = {value.name: output for value, output in zip(compiled.session.get_outputs(), outputs, strict=True)}
        for name, shape in compiled.outputs.items():
            found[name] = np.empty(shape, self._outputs[name]) if 0 in shape else found[name].reshape(shape)
        for name, total in compiled.totals.items():
            found[name] = found[name][: int(found[total].item())]
        return [found[name] for name in self._outputs]

    def _open(self, shapes: Mapping[str, tuple[int, ...]], given: Mapping[str, NDArray[Any]]) -> Compiled:
        device = qnn_devices()[0]
        model = with_given(self._onnx, given) if given else self._onnx
        fixed = rewrite_fixed(model, shapes) if self._fixed else Fixed(model)
        self.rewritten |= fixed.counts
        if given:
            self.rewritten["inputs of sizes as constants"] = len(given)
        written = fixed.model.SerializeToString()
        key = context_key(written, dict(shapes), self.soc_model, device.device.type, self.allow_fallback)
        compiled = open_compiled(written, lambda: self._options(shapes), key, self.store)
        compiled.session.disable_fallback()
        return replace(compiled, outputs=fixed.outputs, totals=fixed.totals)

    def _options(self, shapes: Mapping[str, tuple[int, ...]]) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "0" if self.allow_fallback else "1")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        for name, dimensions in self._inputs.items():
            for dimension, size in zip(dimensions, shapes[name], strict=True):
                if dimension.dim_param:
                    options.add_free_dimension_override_by_name(dimension.dim_param, size)
        options.add_provider_for_devices(list(qnn_devices()[:1]), {"backend_type": "htp", "soc_model": self.soc_model})
        return options

    def nodes(self) -> dict[str, int]:
        """Nodes by provider, over the graphs compiled so far."""
        found: Counter[str] = Counter()
        for compiled in self._compiled.values():
            found.update(compiled.nodes)
        return dict(found)

    def graphs(self) -> list[dict[str, Any]]:
        """Each graph that was compiled: the CID of the result, and whether it was there already."""
        return [{"cid": each.cid, "kept": each.kept} for each in self._compiled.values() if each.cid]

    def warnings(self) -> list[str]:
        return [each.warning for each in self._compiled.values() if each.warning]


class QualcommEndpoint(ExportedEndpoint):
    """A program on the HTP: in fp16, or quantised to integers of 16 and 8 bits."""

    settled = False  # a session opens with the first inputs of its shapes

    def __init__(
        self,
        program: Program,
        threads: int = 1,
        soc_model: str = SOC_MODEL,
        precision: str = "fp16",
        *,
        allow_fallback: bool = False,
        store: Store | None = None,
    ) -> None:
        self.threads = threads
        self.store = store
        self.soc_model = soc_model
        self.precision = precision
        rewritten = {
            name: rewrite(component.onnx, quantised=precision in SCHEMES)
            for name, component in program.components.items()
        }
        self.models = {name: model for name, (model, _) in rewritten.items()}
        self.rewritten = {name: counts for name, (_, counts) in rewritten.items()}
        if precision in SCHEMES:
            program = quantised_program(program, self.models, precision, threads)
            self.models = {name: onnx.load_from_string(part.onnx) for name, part in program.components.items()}
        self.tensors = quantised_tensors(self.models.values())
        device = qnn_devices()[0].device
        # On a machine without an NPU the same library simulates one, and says so by the type of its device.
        simulated = device.type is not onnxruntime.OrtHardwareDeviceType.NPU
        self.implementation = Implementation.SIMULATOR if simulated else Implementation.REAL
        self.device = f"Hexagon HTP {'simulator' if simulated else 'NPU'}, SoC model {soc_model}"
        super().__init__(program, allow_fallback=allow_fallback)

    def open(self, name: str, component: Component) -> HtpRunner:
        model, rewritten = self.models[name], self.rewritten[name]
        if component is not self.program.components[name]:  # with more outputs, for whoever looks inside
            model = onnx.load_from_string(component.onnx)
            if self.precision not in SCHEMES:  # what is quantised was rewritten before
                model, rewritten = rewrite(component.onnx)
        return HtpRunner(
            model,
            component.metadata,
            rewritten,
            self.soc_model,
            # What is quantised says of each value how it is: nothing may come between.
            fixed=self.precision not in SCHEMES,
            allow_fallback=self.allow_fallback,
            store=self.store,
        )

    def own_reference(self) -> Endpoint | None:
        """ONNX Runtime's CPU on the same quantised graphs: held against fp32, what quantising loses would hide a fault."""
        if self.precision not in SCHEMES:
            return None
        return OnnxRuntimeEndpoint(self.program, self.threads, optimise=False)

    def evidence(self) -> dict[str, Any]:
        found = scheme_found(self.tensors) or "fp16"
        if found != self.precision:
            raise NotOnHardware(
                f"{self.precision} was asked for; the graphs are in {found}: tensors by integer {self.tensors}"
            )
        return {
            **super().evidence(),
            "quantised tensors": self.tensors,
            "libraries": f"onnxruntime {onnxruntime.__version__}, onnxruntime-qnn {onnxruntime_qnn.__version__} "
            f"with QNN {qnn_version}, SoC model {self.soc_model}",
        }

    def component_evidence(self, runner: HtpRunner) -> dict[str, Any]:
        found = placed(runner.nodes(), PROVIDER, allow_fallback=self.allow_fallback)
        graphs = runner.graphs()
        return {**found, "rewritten": dict(runner.rewritten), **({"compiled graphs": graphs} if graphs else {})}

    def warnings(self) -> list[str]:
        runners: Iterable[Any] = self.runners.values()
        return [warning for runner in runners for warning in runner.warnings()]


class Qualcomm(Hardware):
    """The exported ONNX graphs on Qualcomm's HTP: in fp16, or quantised."""

    format = "onnx"

    def lower(self, checkpoint: Checkpoint, program: Program | None) -> Endpoint:
        assert program is not None, "this hardware reads an exported program"
        return QualcommEndpoint(
            program,
            self.threads,
            self.device or SOC_MODEL,
            self.precision or "fp16",
            allow_fallback=self.allow_fallback,
            store=self.store,
        )
