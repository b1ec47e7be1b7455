"""Operators that Qualcomm's HTP refuses or computes wrongly, written another way where the shapes are known."""

from __future__ import annotations

from math import prod

import numpy as np
from onnx import NodeProto, TensorProto, helper

from .qualcomm_fixed import Known, attributes
from .qualcomm_operators import replace_nodes

BEYOND = 5.9e4
"""What is as large counts as infinite: a little less than what is clamped to :data:`LARGEST`."""


def gather_by_one_index(known: Known) -> int:
    """``GatherND`` as ``Gather`` of the data with the axes that are indexed as one. The HTP takes no GatherND of Booleans, and
    one of constants (the weights of experts) by the indices of a ``TopK`` reads elsewhere on QNN's simulator 2.7: it gives
    other rows, or ends in an error or a fault of memory."""

    def gathered(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "GatherND":
            return None
        data, indices = node.input
        shape, index_shape = known.shape(data), known.shape(indices)
        if shape is None or index_shape is None:
            return None
        output = node.output[0]
        batch = attributes(node).get("batch_dims", 0)
        indexed = batch + index_shape[-1]
        strides = np.array([prod(shape[axis + 1 : indexed]) for axis in range(indexed)], np.int64)
        first = np.zeros([1] * (len(index_shape) - 1), np.int64)
        for axis in range(batch):  # the input of the batch that is read from, by its place
            places = np.arange(shape[axis]) * strides[axis]
            first = first + places.reshape([-1 if other == axis else 1 for other in range(len(index_shape) - 1)])
        nodes: list[NodeProto] = []
        rows = f"{output}/rows"
        if (number := known.number(indices)) is not None:
            sizes = np.array(shape[batch:indexed])
            known.constant(rows, (np.where(number < 0, number + sizes, number) * strides[batch:]).sum(-1) + first)
        else:
            nodes += _rows(known, indices, index_shape, strides[batch:], first if batch else None, rows)
        is_mask = known.type(data) == TensorProto.BOOL
        flat, taken = f"{output}/flat", f"{output}/taken"
        if is_mask:
            nodes.append(helper.make_node("Cast", [data], [f"{output}/numbers"], to=TensorProto.INT32))
            data = f"{output}/numbers"
        nodes += [
            known.reshape(data, [prod(shape[:indexed]), *shape[indexed:]], flat),
            helper.make_node("Gather", [flat, rows], [taken if is_mask else output], axis=0),
        ]
        if is_mask:
            nodes.append(helper.make_node("Cast", [taken], [output], to=TensorProto.BOOL))
        return nodes

    return replace_nodes(known.graph, gathered)


def _rows(
    known: Known,
    indices: str,
    shape: tuple[int, ...],
    strides: np.ndarray,
    first: np.ndarray | None,
    output: str,
) -> list[NodeProto]:
    """One index in place of several: each times what it strides over, and their sum."""
    if len(strides) == 1 and first is None:
        return [known.reshape(indices, shape[:-1], output)]
    by, last = known.constant(f"{output}/strides", strides), known.constant(f"{output}/last", [-1])
    total = output if first is None else f"{output}/total"
    nodes = [
        helper.make_node("Mul", [indices, by], [f"{output}/offsets"]),
        helper.make_node("ReduceSum", [f"{output}/offsets", last], [total], keepdims=0),
    ]
    if first is not None:
        nodes.append(helper.make_node("Add", [total, known.constant(f"{output}/first", first)], [output]))
    return nodes


def keep_triangles(known: Known) -> int:
    """``Trilu`` as a choice by a constant mask."""

    def chosen(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Trilu":
            return None
        shape = known.shape(node.input[0])
        offset = known.number(node.input[1]) if len(node.input) > 1 and node.input[1] else np.array(0)
        if shape is None or offset is None:
            return None
        upper = bool(attributes(node).get("upper", 1))
        behind = (
            np.arange(shape[-1]) - np.arange(shape[-2])[:, None]
        )  # how far a column is to the right of the diagonal
        mask = known.constant(f"{node.output[0]}/mask", behind >= offset if upper else behind <= offset)
        if known.type(node.input[0]) == TensorProto.BOOL:
            return [helper.make_node("And", [node.input[0], mask], list(node.output))]
        zero = helper.tensor_dtype_to_np_dtype(known.type(node.input[0])).type(0)
        zeros = known.constant(f"{node.output[0]}/zero", np.array(zero))
        return [helper.make_node("Where", [mask, node.input[0], zeros], list(node.output))]

    return replace_nodes(known.graph, chosen)


def compare_with_infinity(known: Known) -> int:
    """``IsInf`` as a comparison with :data:`BEYOND`, and ``IsNaN`` as what is not its own equal."""

    def compared(node: NodeProto) -> list[NodeProto] | None:
        output = node.output[0]
        if node.op_type == "IsNaN":
            return [
                helper.make_node("Equal", [node.input[0], node.input[0]], [f"{output}/same"]),
                helper.make_node("Not", [f"{output}/same"], [output]),
            ]
        if node.op_type != "IsInf":
            return None
        given = attributes(node)
        positive, negative = given.get("detect_positive", 1), given.get("detect_negative", 1)
        name, nodes = node.input[0], []
        if positive and negative:
            nodes.append(helper.make_node("Abs", [name], [f"{output}/size"]))
            name = f"{output}/size"
        bound = known.constant(f"{output}/beyond", np.array(BEYOND if positive else -BEYOND, np.float32))
        return [*nodes, helper.make_node("Greater" if positive else "Less", [name, bound], [output])]

    return replace_nodes(known.graph, compared)


LOWEST_POWER = -30.0
"""exp of it is zero in fp16, whose smallest number is exp(-16.6)."""


def bound_powers(known: Known) -> int:
    """``Exp`` of nothing below :data:`LOWEST_POWER`: of -100 (a number that was masked, say) QNN's simulator 2.7 makes -131008,
    of -1000 131008."""

    def bounded(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Exp" or known.type(node.output[0]) != TensorProto.FLOAT:
            return None
        return _power(known, node.input[0], node.output[0])

    return replace_nodes(known.graph, bounded)


def _power(known: Known, x: str, output: str) -> list[NodeProto]:
    low = known.constant(f"{output}/low", np.array(LOWEST_POWER, np.float32))
    return [
        helper.make_node("Clip", [x, low], [f"{output}/bounded"]),  # Max takes four axes at most
        helper.make_node("Exp", [f"{output}/bounded"], [output]),
    ]


def write_out_sigmoid(known: Known) -> int:
    """``Sigmoid`` of x, where x is negative, as exp(x) times that of -x, which is the same: the HTP's own is right to 3e-4 of
    one, and so wrong of a small number (relative L2 1.2e-2 from -6 to -3, 0.25 from -10 to -6, and 5e-4 so: dab-detr)."""

    def written_out(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Sigmoid":
            return None
        (x,), (output,) = node.input, node.output

        def name(part: str) -> str:
            return f"{output}/{part}"

        zero = known.constant(name("zero"), np.array(0, np.float32))
        return [
            helper.make_node("Abs", [x], [name("size")]),
            helper.make_node("Sigmoid", [name("size")], [name("above")]),
            helper.make_node("Neg", [name("size")], [name("below")]),
            *_power(known, name("below"), name("power")),
            helper.make_node("Mul", [name("above"), name("power")], [name("small")]),
            helper.make_node("Less", [x, zero], [name("negative")]),
            helper.make_node("Where", [name("negative"), name("small"), name("above")], [output]),
        ]

    return replace_nodes(known.graph, written_out)


def write_out_softmax(known: Known) -> int:
    """``Softmax`` of x as exp(x - max x) over its sum: the HTP's own is less exact (relative L2 1.2e-3 to 1.9e-3 on normal
    distributions, and 5e-4 to 1e-3 so)."""

    def written_out(node: NodeProto) -> list[NodeProto] | None:
        shape = known.shape(node.input[0])
        if node.op_type != "Softmax" or shape is None:
            return None
        (x,), (output,) = node.input, node.output

        def name(part: str) -> str:
            return f"{output}/{part}"

        axis = known.constant(name("axis"), [attributes(node).get("axis", -1) % len(shape)])
        return [
            helper.make_node("ReduceMax", [x, axis], [name("largest")], keepdims=1),
            helper.make_node("Sub", [x, name("largest")], [name("below")]),
            *_power(known, name("below"), name("power")),
            helper.make_node("ReduceSum", [name("power"), axis], [name("sum")], keepdims=1),
            helper.make_node("Div", [name("power"), name("sum")], [output]),
        ]

    return replace_nodes(known.graph, written_out)


def write_out_softplus(known: Known) -> int:
    """``Softplus`` of x as max(x, 0) + log(1 + exp(-abs(x))), which is the same: the HTP's own is off by up to 1.6e-2
    (relative L2 9e-3 on a normal distribution, and 1e-4 so)."""

    def written_out(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "Softplus":
            return None
        (x,), (output,) = node.input, node.output

        def name(part: str) -> str:
            return f"{output}/{part}"

        one = known.constant(name("one"), np.array(1, np.float32))
        return [
            helper.make_node("Abs", [x], [name("size")]),
            helper.make_node("Neg", [name("size")], [name("below")]),
            *_power(known, name("below"), name("power")),
            helper.make_node("Add", [name("power"), one], [name("sum")]),
            helper.make_node("Log", [name("sum")], [name("log")]),
            helper.make_node("Relu", [x], [name("above")]),
            helper.make_node("Add", [name("above"), name("log")], [output]),
        ]

    return replace_nodes(known.graph, written_out)


def scatter_booleans_as_numbers(known: Known) -> int:
    """``ScatterElements`` of Booleans as one of numbers: the HTP takes none of Booleans."""

    def numbers(node: NodeProto) -> list[NodeProto] | None:
        if node.op_type != "ScatterElements" or known.type(node.input[0]) != TensorProto.BOOL:
            return None
        data, indices, updates = node.input
        output = node.output[0]
        return [
            helper.make_node("Cast", [data], [f"{output}/data"], to=TensorProto.INT32),
            helper.make_node("Cast", [updates], [f"{output}/updates"], to=TensorProto.INT32),
            helper.make_node(
                "ScatterElements",
                [f"{output}/data", indices, f"{output}/updates"],
                [f"{output}/numbers"],
                **attributes(node),
            ),
            helper.make_node("Cast", [f"{output}/numbers"], [output], to=TensorProto.BOOL),
        ]

    return replace_nodes(known.graph, numbers)


def softmax_along_the_last(known: Known) -> int:
    """``Softmax`` along another axis than the last as one along the last, between two ``Transpose``: QNN 2.7 ends in an error
    of memory when it compiles the first (groupvit)."""

    def turned(node: NodeProto) -> list[NodeProto] | None:
        shape = known.shape(node.input[0])
        if node.op_type not in {"Softmax", "LogSoftmax"} or shape is None:
            return None
        axis = attributes(node).get("axis", -1) % len(shape)
        if axis == len(shape) - 1:
            return None
        order = [*range(axis), len(shape) - 1, *range(axis + 1, len(shape) - 1), axis]  # its own inverse
        output = node.output[0]
        return [
            helper.make_node("Transpose", [node.input[0]], [f"{output}/turned"], perm=order),
            helper.make_node(node.op_type, [f"{output}/turned"], [f"{output}/along_the_last"], axis=-1),
            helper.make_node("Transpose", [f"{output}/along_the_last"], [output], perm=order),
        ]

    return replace_nodes(known.graph, turned)


def scale_scores_by_vectors(known: Known) -> int:
    """A number that scores are multiplied with on their way to a ``Softmax``, as a vector: QNN 2.7 puts the number into the
    Softmax and ends in an error of memory, where a ``Transpose`` lies between (groupvit) or the scores come from a difference
    under a mask (layoutlmv3)."""
    by_output = {name: node for node in known.graph.node for name in node.output}
    scaled: dict[str, tuple[int, int]] = {}  # by the output of the product: which operand is the number, and its length
    for node in known.graph.node:
        found = by_output.get(node.input[0]) if node.op_type == "Softmax" else None
        while found is not None and found.op_type == "Transpose":
            found = by_output.get(found.input[0])
        if found is None or found.op_type != "Mul":
            continue
        shape = known.shape(found.output[0])
        for place, name in enumerate(found.input):
            number = known.number(name)
            if number is not None and number.size == 1 and shape:
                scaled[found.output[0]] = place, shape[-1]

    def by_a_vector(node: NodeProto) -> list[NodeProto] | None:
        if node.output[0] not in scaled:
            return None
        place, length = scaled[node.output[0]]
        number = known.number(node.input[place])
        assert number is not None, "it was one above"
        inputs = list(node.input)
        inputs[place] = known.constant(f"{node.output[0]}/vector", np.full(length, number.item(), np.float32))
        return [helper.make_node("Mul", inputs, list(node.output))]

    return replace_nodes(known.graph, by_a_vector)
