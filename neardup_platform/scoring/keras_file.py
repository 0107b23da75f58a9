"""Reads the network of a saved pair classifier without importing Keras or TensorFlow, which takes seconds.

`model.keras` (a zip archive: the layers as JSON, their weights as HDF5) → **weights** → compiled network. Only networks
that are built as in `keras_network.py` are understood. Nothing in the file is executed.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
_MOST_BYTES = 64 << 20


class OtherNetworkError(ValueError):
    """The file holds a network of another structure, or none."""


@dataclass(frozen=True, slots=True)
class Dense:
    """The weights of a layer; float32 [inputs, units] and [units]."""

    kernel: F32
    bias: F32


@dataclass(frozen=True, slots=True)
class Network:
    """Features → normalised → members of two hidden layers (relu) and a logit each → mean → sigmoid.

    Attributes:
        mean, deviation: float32 [features], of the normalisation.
        members: the three layers of each.
        calibration: float32 slope [1, 1] and offset [1], applied to the mean of the logits before the sigmoid.
    """

    mean: F32
    deviation: F32
    members: tuple[tuple[Dense, Dense, Dense], ...]
    calibration: Dense


def read_keras_file(path: Path, n_features: int) -> Network:
    """Reads a classifier's network.

    Args:
        path: of the file.
        n_features: of a pair.

    Raises:
        OtherNetworkError: it has another structure, or the file is damaged.
    """
    # Imported here: training and the benchmarks of other parts do without it.
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(_content(archive, "config.json"))["config"]
            with h5py.File(io.BytesIO(_content(archive, "model.weights.h5"))) as stored:
                network = _network(layers, _weights(stored["layers"]))
    except OtherNetworkError:
        raise
    except (OSError, ValueError, TypeError, KeyError, IndexError, zipfile.BadZipFile, RecursionError) as error:
        raise OtherNetworkError(f"{type(error).__name__}: {error}") from error
    _expect(len(network.mean) == n_features, f"it takes {len(network.mean)} features, its card says {n_features}")
    return network


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    entry = archive.getinfo(name)
    _expect(entry.file_size <= _MOST_BYTES, f"{name} has {entry.file_size} bytes, at most {_MOST_BYTES}")
    return archive.read(entry)


def _weights(stored: Any) -> dict[str, list[F32]]:
    """Arrays of each layer by the layer's name."""
    found = (group["vars"] for group in stored.values())
    return {held.attrs["name"]: [np.array(held[str(n)], np.float32) for n in range(len(held))] for held in found}


def _network(content: Mapping[str, Any], weights: Mapping[str, list[F32]]) -> Network:
    layers = {layer["name"]: layer for layer in content["layers"]}
    (entry,), (last,) = (_endpoints(content[which]) for which in ("input_layers", "output_layers"))
    calibration, (average,) = _dense(layers[last], weights, "sigmoid")
    _expect(layers[average]["class_name"] == "Average", f"{average} is no Average")
    members, normalised, used = [], set(), [entry, average, last]
    for logit in _inputs(layers[average]):
        third, (deeper,) = _dense(layers[logit], weights, "linear")
        second, (hidden,) = _dense(layers[deeper], weights, "relu")
        first, (before,) = _dense(layers[hidden], weights, "relu")
        members.append((first, second, third))
        normalised.add(before)
        used += [logit, deeper, hidden]
    (normalisation,) = normalised
    mean, deviation = _normalisation(layers[normalisation])
    _expect(_inputs(layers[normalisation]) == [entry], "the normalisation does not follow the input")
    _expect(sorted([normalisation, *used]) == sorted(layers), "layers are shared or not used")
    _check_shapes(members, calibration, len(mean))
    return Network(mean, deviation, tuple(members), calibration)


def _dense(layer: Mapping[str, Any], weights: Mapping[str, list[F32]], activation: str) -> tuple[Dense, list[str]]:
    name, settings = layer["name"], layer["config"]
    _expect(layer["class_name"] == "Dense", f"{name} is no Dense")
    _expect(settings["activation"] == activation, f"{name} has the activation {settings['activation']}")
    _expect(settings["dtype"]["config"]["name"] == "float32", f"{name} does not compute in float32")
    kernel, bias = weights[name]
    return Dense(kernel, bias), _inputs(layer)


def _normalisation(layer: Mapping[str, Any]) -> tuple[F32, F32]:
    settings = layer["config"]
    _expect(layer["class_name"] == "Normalization" and not settings["invert"], f"{layer['name']} is no Normalization")
    _expect(settings["axis"] == [-1], f"{layer['name']} has the axes {settings['axis']}")
    mean, variance = (np.array(settings[which], np.float32) for which in ("mean", "variance"))
    return mean, np.maximum(np.sqrt(variance), np.float32(1e-7))


def _inputs(layer: Mapping[str, Any]) -> list[str]:
    """Names of the layers whose outputs a layer takes."""
    (node,) = layer["inbound_nodes"]
    (taken,) = node["args"]
    tensors = taken if isinstance(taken, list) else [taken]
    return [tensor["config"]["keras_history"][0] for tensor in tensors]


def _endpoints(found: Sequence[Any]) -> list[str]:
    """Names of the input or output layers: one triple, or a list of them."""
    return [found[0]] if isinstance(found[0], str) else [each[0] for each in found]


def _check_shapes(members: Sequence[tuple[Dense, Dense, Dense]], calibration: Dense, features: int) -> None:
    """Checks that all members have the same units, and every layer as many inputs as the one before has units."""
    (one, two), least = (len(layer.bias) for layer in members[0][:2]), min(features, 1)
    expected = ((features, one), (one, two), (two, 1))
    found = [tuple(layer.kernel.shape for layer in member) for member in members]
    biases = [tuple(len(layer.bias) for layer in member) for member in members]
    _expect(found == [expected] * len(members), f"the kernels of the members are {found}")
    _expect(biases == [(one, two, 1)] * len(members), f"the biases of the members are {biases}")
    _expect(
        calibration.kernel.shape == (1, 1) and calibration.bias.shape == (1,), "the calibration has several outputs"
    )
    _expect(min(least, one, two) > 0, "a layer is empty")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise OtherNetworkError(otherwise)
