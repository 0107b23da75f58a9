"""A user's own Keras, SavedModel or ONNX network as an embedder.

Pixels → **vector** → topic. The contract with the network: the input is RGB as float32 0…255 (the network normalises it
itself), pictures squeezed to its input size, batch first, channels last (ONNX also channels first); the output is one
vector per picture [n, dim], which is published unchanged.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neardup_platform.errors import BadArtefact, SetupError
from neardup_platform.images.decode import Pixels

_BATCH = 32


class _Network(NamedTuple):
    """A loaded network: `run` maps float32 [n, height, width, 3] to float32 [n, dim]."""

    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    input_shape: tuple[Any, ...]
    output_shape: tuple[Any, ...]


class UserEmbedder:
    """Embeds pictures with a network read from `path`; its version is `<file name>-<hash of the content>`.

    Raises:
        BadArtefact: `path` is missing, of another type, unreadable, or its input or output has no fixed size.
        SetupError: the model is an ONNX file and onnxruntime is not installed.
    """

    def __init__(self, kind: str, path: Path) -> None:
        network, self._channels_first = _open(path)
        self._run = network.run
        self._height, self._width = _input_size(path, network.input_shape, self._channels_first)
        self.kind = kind
        self.dim = _output_dim(path, network.output_shape)
        self.blocks: tuple[tuple[str, int, int, str], ...] = (
            (("whole", 0, self.dim, "cosine"),) if kind == "pair" else ()
        )
        self.enough_px = max(self._height, self._width)
        self.model_version = f"{path.stem[:64]}-{content_hash(path)}"

    def embed(self, pictures: Sequence[Pixels]) -> NDArray[np.float32]:
        """Embed pictures, uint8 [height, width, 3] each, as float32 [n, dim]."""
        rows = [np.zeros((0, self.dim), np.float32)]
        for start in range(0, len(pictures), _BATCH):
            batch = np.stack([self._squeeze(pixels) for pixels in pictures[start : start + _BATCH]])
            if self._channels_first:
                batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
            rows.append(np.asarray(self._run(batch), dtype=np.float32).reshape(len(batch), self.dim))
        return np.concatenate(rows)

    def _squeeze(self, pixels: Pixels) -> NDArray[np.float32]:
        size = (self._width, self._height)
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), dtype=np.float32)


def content_hash(path: Path) -> str:
    """12 hex digits of the SHA-256 of a file, or of all files of a folder with their names, sorted."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(file.relative_to(path).as_posix().encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]


def _open(path: Path) -> tuple[_Network, bool]:
    if not path.exists():
        raise BadArtefact(f"model {path} does not exist: correct images.lsh_model or images.pair_model")
    try:
        if path.suffix == ".keras":
            return _open_keras(path), False
        if path.suffix == ".onnx":
            network = _open_onnx(path)
            return network, len(network.input_shape) == 4 and network.input_shape[1] == 3
        if (path / "saved_model.pb").is_file():
            return _open_saved_model(path), False
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise BadArtefact(f"model {path} cannot be loaded ({reason}): save it again") from error
    raise BadArtefact(f"model {path} is not a .keras file, SavedModel folder or .onnx file")


def _open_keras(path: Path) -> _Network:
    import keras

    # safe_mode refuses Lambda layers: a model file must not run its own code.
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    return _Network(lambda batch: np.asarray(model.predict_on_batch(batch)), model.input_shape, model.output_shape)


def _open_saved_model(path: Path) -> _Network:
    import tensorflow as tf

    model = tf.saved_model.load(str(path))
    if "serving_default" not in model.signatures:
        raise ValueError("it has no serving_default signature")
    signature = model.signatures["serving_default"]
    (name, spec), *more_inputs = signature.structured_input_signature[1].items()
    (output, output_spec), *more_outputs = signature.structured_outputs.items()
    if more_inputs or more_outputs:
        raise ValueError("its serving_default signature has more than one input or output")

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        # `model` must stay referenced: its variables are freed with it.
        return np.asarray(model.signatures["serving_default"](**{name: tf.constant(batch)})[output].numpy())

    return _Network(run, tuple(spec.shape), tuple(output_spec.shape))


def _open_onnx(path: Path) -> _Network:
    try:
        import onnxruntime
    except ImportError as error:
        raise SetupError(
            f"model {path} needs onnxruntime: pip install 'neardup-platform[bench]', or save it for Keras"
        ) from error
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (state.Fail, state.InvalidProtobuf, state.InvalidGraph, state.InvalidArgument) as error:
        raise ValueError(str(error)) from error
    entry, output = session.get_inputs()[0], session.get_outputs()[0]
    return _Network(
        lambda batch: np.asarray(session.run([output.name], {entry.name: batch})[0]),
        tuple(entry.shape),
        tuple(output.shape),
    )


def _input_size(path: Path, shape: tuple[Any, ...], channels_first: bool) -> tuple[int, int]:
    sides = shape[2:4] if channels_first else shape[1:3]
    channels = shape[1] if channels_first else shape[-1]
    if len(shape) != 4 or channels != 3 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise BadArtefact(
            f"model {path} takes {list(shape)}: expected [n, height, width, 3] (ONNX also [n, 3, height, width])"
            " of fixed height and width"
        )
    return int(sides[0]), int(sides[1])


def _output_dim(path: Path, shape: tuple[Any, ...]) -> int:
    if len(shape) != 2 or not isinstance(shape[1], int) or shape[1] < 1:
        raise BadArtefact(f"model {path} returns {list(shape)}: expected [n, dim] of fixed dim")
    return int(shape[1])
