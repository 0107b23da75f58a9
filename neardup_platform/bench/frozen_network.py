"""The classifier's network as a list of plain operations, for engines other than TensorFlow.

Traced Keras network → **operations with constant weights** → NumPy, or an ONNX file for onnxruntime. Operations are
converted one by one, so this works for any network built from those in `_ONNX_NAMES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import BadArtefact

Floats = NDArray[np.float32]

# TensorFlow's name: ONNX's name.
_ONNX_NAMES = {
    "AddV2": "Add",
    "BiasAdd": "Add",
    "Identity": "Identity",
    "MatMul": "MatMul",
    "Maximum": "Max",
    "Mul": "Mul",
    "RealDiv": "Div",
    "Relu": "Relu",
    "Sigmoid": "Sigmoid",
    "Sqrt": "Sqrt",
    "Sub": "Sub",
    "Tanh": "Tanh",
}
_NUMPY: Mapping[str, Any] = {
    "Add": np.add,
    "Identity": lambda x: x,
    "MatMul": np.matmul,
    "Max": np.maximum,
    "Mul": np.multiply,
    "Div": np.divide,
    "Relu": lambda x: np.maximum(x, np.float32(0)),
    "Sigmoid": lambda x: np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * x),
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Tanh": np.tanh,
}
_OPSET, _IR_VERSION, _FLOAT = 13, 8, 1


@dataclass(frozen=True, slots=True)
class Operation:
    """One step: its ONNX name, and the names of its inputs and output."""

    kind: str
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True)
class FrozenNetwork:
    """Operations in a valid order of execution.

    Attributes:
        entry: name of the features, float32 [n, features].
        features: number of features.
        result: name of the probabilities, float32 [n, 1].
        constants: weights by name.
    """

    entry: str
    features: int
    result: str
    constants: Mapping[str, Floats]
    operations: Sequence[Operation]


def freeze(concrete: Any) -> FrozenNetwork:
    """The operations of a traced TensorFlow function from [n, features] to [n, 1].

    Raises:
        BadArtefact: it contains an unsupported operation.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph = convert_variables_to_constants_v2(concrete).graph
    constants, operations, entry, features = {}, [], "", 0
    for node in graph.get_operations():
        if node.type == "Const":
            constants[node.outputs[0].name] = np.asarray(tf.make_ndarray(node.get_attr("value")))
        elif node.type == "Placeholder":
            entry, features = node.outputs[0].name, node.outputs[0].shape[1]
        elif node.type in _ONNX_NAMES:
            names = tuple(tensor.name for tensor in node.inputs)
            operations.append(Operation(_ONNX_NAMES[node.type], names, node.outputs[0].name))
        elif node.type != "NoOp":
            raise BadArtefact(f"the network has the unsupported operation {node.type}: add it to {__name__}")
    return FrozenNetwork(entry, features, operations[-1].output, constants, operations)


def numpy_probability(network: FrozenNetwork, features: Floats) -> Floats:
    """Probabilities, float32 [n], of features, float32 [n, features]."""
    values: dict[str, Floats] = {**network.constants, network.entry: features}
    for operation in network.operations:
        values[operation.output] = _NUMPY[operation.kind](*(values[name] for name in operation.inputs))
    return values[network.result][:, 0]


def onnx_bytes(network: FrozenNetwork) -> bytes:
    """An ONNX model of the network, in the wire format of Protocol Buffers; input "x", output "y"."""
    names = {network.entry: "x", network.result: "y"}

    def name(tensor: str) -> bytes:
        return names.get(tensor, tensor).encode()

    nodes = b"".join(
        _field(1, b"".join(_field(1, name(i)) for i in op.inputs) + _field(2, name(op.output)) + _field(4, op.kind))
        for op in network.operations
    )
    weights = b"".join(
        _field(
            5,
            b"".join(_field(1, size) for size in value.shape)
            + _field(2, _FLOAT)
            + _field(8, name(key))
            + _field(9, value.astype("<f4").tobytes()),
        )
        for key, value in network.constants.items()
    )
    graph = nodes + _field(2, "classifier") + weights
    graph += _field(11, _value_info("x", network.features)) + _field(12, _value_info("y", 1))
    return _field(1, _IR_VERSION) + _field(7, graph) + _field(8, _field(2, _OPSET))


def _value_info(name: str, columns: int) -> bytes:
    shape = _field(1, _field(2, "n")) + _field(1, _field(1, columns))
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, shape)))


def _field(number: int, payload: bytes | str | int) -> bytes:
    if isinstance(payload, int):
        return _varint(number << 3) + _varint(payload)
    data = payload.encode() if isinstance(payload, str) else payload
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])
