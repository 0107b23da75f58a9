"""A user's own network is used through a setting, and a bad one is refused in one line."""

from pathlib import Path

import keras
import numpy as np
import pytest

from neardup_platform.errors import BadArtefact
from neardup_platform.images.active_embedders import load_embedders
from neardup_platform.images.keras_user_embedder import UserEmbedder
from neardup_platform.settings import ImageSettings

PICTURES = [np.full((40, 60, 3), value, np.uint8) for value in (0, 100, 255)]


def mean_colour_model(height: int = 16, width: int = 24) -> keras.Model:
    """Its vector is the mean of each channel, which reveals the preprocessing."""
    entry = keras.Input((height, width, 3))
    return keras.Model(entry, keras.layers.GlobalAveragePooling2D()(entry))


def onnx_file(path: Path, shape: list[int | str]) -> Path:
    """Write a network of one ReduceMean over the sides, in the ONNX wire format."""

    def field(number: int, payload: bytes | int) -> bytes:
        if isinstance(payload, int):
            return bytes([number << 3]) + varint(payload)
        return bytes([number << 3 | 2]) + varint(len(payload)) + payload

    def varint(value: int) -> bytes:
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    def value_info(name: str, dims: list[int | str]) -> bytes:
        shaped = b"".join(field(1, field(1, d) if isinstance(d, int) else field(2, d.encode())) for d in dims)
        return field(1, name.encode()) + field(2, field(1, field(1, 1) + field(2, shaped)))

    channels_first = shape[1] == 3
    axes = field(1, b"axes") + b"".join(field(8, a) for a in ((2, 3) if channels_first else (1, 2))) + field(20, 7)
    axes = axes.replace(field(20, 7), bytes([0xA0, 0x01, 7]))
    keep = field(1, b"keepdims") + field(3, 0) + bytes([0xA0, 0x01, 2])
    node = field(1, b"x") + field(2, b"y") + field(4, b"ReduceMean") + field(5, axes) + field(5, keep)
    graph = field(1, node) + field(2, b"g") + field(11, value_info("x", shape)) + field(12, value_info("y", ["n", 3]))
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 13)))
    return path


@pytest.fixture(params=["keras", "saved_model", "onnx_last", "onnx_first"])
def model_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "keras":
        path = tmp_path / "mean.keras"
        mean_colour_model().save(path)
    elif request.param == "saved_model":
        path = tmp_path / "mean"
        mean_colour_model().export(path, verbose=False)
    else:
        shape = ["n", 16, 24, 3] if request.param == "onnx_last" else ["n", 3, 16, 24]
        path = onnx_file(tmp_path / "mean.onnx", shape)
    return path


def test_a_user_model_gets_rgb_from_0_to_255_at_its_own_size(model_path: Path) -> None:
    embedder = UserEmbedder("pair", model_path)
    pictures = [*PICTURES, np.dstack([np.full((9, 9), c, np.uint8) for c in (10, 20, 30)])]
    vectors = embedder.embed(pictures)
    assert (embedder.dim, vectors.dtype) == (3, np.float32)
    assert np.allclose(vectors, [[0] * 3, [100] * 3, [255] * 3, [10, 20, 30]], atol=1e-3)
    assert embedder.embed([]).shape == (0, 3)


def test_the_version_depends_on_the_content(tmp_path: Path) -> None:
    mean_colour_model().save(tmp_path / "a.keras")
    mean_colour_model(32, 32).save(tmp_path / "b.keras")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "a.keras").write_bytes((tmp_path / "a.keras").read_bytes())
    first = UserEmbedder("lsh", tmp_path / "a.keras").model_version
    assert first == UserEmbedder("lsh", tmp_path / "c" / "a.keras").model_version
    assert first != UserEmbedder("lsh", tmp_path / "b.keras").model_version


def test_settings_choose_the_user_model_for_one_kind_only(tmp_path: Path) -> None:
    mean_colour_model().save(tmp_path / "mine.keras")
    lsh, pair = load_embedders(ImageSettings(pair_model=tmp_path / "mine.keras"))
    assert (lsh.kind, lsh.dim) == ("lsh", 256)
    assert (pair.kind, pair.dim) == ("pair", 3)
    assert pair.model_version.startswith("mine-")


def test_a_model_that_runs_its_own_code_is_refused(tmp_path: Path) -> None:
    entry = keras.Input((8, 8, 3))
    model = keras.Model(entry, keras.layers.Lambda(lambda x: x[:, 0, 0, :])(entry))
    model.save(tmp_path / "evil.keras")
    with pytest.raises(BadArtefact, match=r"evil\.keras cannot be loaded"):
        UserEmbedder("lsh", tmp_path / "evil.keras")


def test_unsuitable_models_are_refused_with_the_reason(tmp_path: Path) -> None:
    flat = keras.Input((7,))
    keras.Model(flat, keras.layers.Dense(2)(flat)).save(tmp_path / "flat.keras")
    anysize = keras.Input((None, None, 3))
    keras.Model(anysize, keras.layers.GlobalAveragePooling2D()(anysize)).save(tmp_path / "anysize.keras")
    entry = keras.Input((8, 8, 3))
    keras.Model(entry, keras.layers.Conv2D(2, 3)(entry)).save(tmp_path / "map.keras")
    (tmp_path / "broken.keras").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "broken.onnx").write_bytes(b"no protobuf")
    (tmp_path / "picture.jpg").write_bytes(b"")
    for name, reason in {
        "flat.keras": "expected .n, height, width, 3",
        "anysize.keras": "fixed height and width",
        "map.keras": "expected .n, dim",
        "broken.keras": "cannot be loaded",
        "broken.onnx": "cannot be loaded",
        "picture.jpg": "not a .keras file, SavedModel folder or .onnx file",
        "missing.keras": "does not exist",
    }.items():
        with pytest.raises(BadArtefact, match=reason) as caught:
            UserEmbedder("lsh", tmp_path / name)
        assert "\n" not in str(caught.value)
