"""The nodes of an ExecuTorch program with what each of them gives, beside torch's trace of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch.export import ExportedProgram
from transformers.exporters.metadata import ExportMetadata

from .component_calls import float_leaves
from .executorch_program import read_out, traced
from .executorch_runtime import Loaded
from .export_torch import flat_call, structured
from .intermediate import Step, Values
from .traced_calls import Operation, TracedCall


class ExecutorchCall(TracedCall):
    """One call of a component that was lowered. A program with some values among its outputs is lowered to read them, for the
    sizes of this call alone."""

    def trace(self) -> tuple[ExportedProgram, ExportMetadata]:
        return traced(self.part, flat_call(self.part, self.given()))

    def steps(self) -> Sequence[Step]:
        program, _ = self.traced
        operations = (
            Operation(
                str(node.target).removeprefix("aten.") if node.name in self.nodes else "",
                [given.name for given in node.all_input_nodes],
                [node.name],
            )
            for node in program.graph.nodes
            if node.op == "call_function"
        )
        return list(self.steps_of(operations, {name: name for name in self.nodes}))

    def values(self, names: Sequence[str]) -> Values:
        call = flat_call(self.part, self.given())
        made, given = read_out(self.part, call, names)
        tensors = Loaded(made).run(call.tensors)
        program, metadata = self.traced
        outputs = tensors[: len(program.graph_signature.output_specs)]
        held = dict(zip(given, tensors, strict=True))
        return float_leaves(structured(metadata, outputs)) | {name: held[name].clone().float() for name in names}
