"""The numbers of a file of weights: read if float32 holds them, else one line names the tensor."""

import json
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from elir_jax.errors import UserError
from elir_jax.weights.files import TYPES, read_tensors, write_tables
from elir_jax.weights.layouts import ONE_FILE
from elir_jax.weights.own import check_weights, read_weights
from elir_jax.weights.release import to_release
from elir_jax.weights.sections import read_section

LIKE = jax.eval_shape(small.AUTOENCODER.init, jax.random.key(0))
NAME = "decoder.19.bias"  # of three numbers
REAL = [name for name in TYPES if name != "C64"]
# A number and its bytes, the lowest first, as the standards of these types have them.
BYTES = {
    "F64": ("000000000000f03f", 1.0), "F32": ("0000803f", 1.0), "F16": ("003c", 1.0),
    "BF16": ("803f", 1.0), "F8_E4M3": ("38", 1.0), "F8_E5M2": ("3c", 1.0), "F8_E8M0": ("80", 2.0),
    "I64": (8 * "ff", -1), "I32": (4 * "ff", -1), "I16": ("ffff", -1), "I8": ("ff", -1),
    "U64": ("ffffff" + 5 * "00", 2**24 - 1), "U32": ("ffffff00", 2**24 - 1), "U16": ("ffff", 65535),
    "U8": ("ff", 255), "BOOL": ("01", 1),
}  # fmt: skip


def write(path, tensors):
    """A safetensors file of ``(type, shape, bytes)`` by name; its own writers know fewer types."""
    header, content = {}, b""
    for name, (kind, shape, data) in tensors.items():
        place = [len(content), len(content) + len(data)]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": place}
        content += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def of(kind, *values):
    return kind, [len(values)], np.array(values).astype(TYPES[kind]).tobytes()


def taesd(path, **changes):
    """An autoencoder's file, in which some tensors are others."""
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), LIKE)
    tensors = {ONE_FILE.from_release(name): a for name, a in to_release(zeros).items()}
    raw = {name: ("F32", list(a.shape), a.tobytes()) for name, a in tensors.items()}
    return write(path / "taesd.safetensors", raw | changes)


@pytest.mark.parametrize("kind", REAL)
def test_numbers_that_float32_holds_are_read_whatever_their_type(kind, tmp_path):
    values = (0.0, 1.0, 1.0) if kind == "BOOL" else (1.0, 2.0, 4.0)
    found = read_section(taesd(tmp_path, **{NAME: of(kind, *values)}), LIKE)
    bias = found["decoder"]["conv_out"]["bias"]
    assert bias.dtype == np.float32
    np.testing.assert_array_equal(bias, values)


def test_each_type_has_the_bytes_of_its_standard(tmp_path):
    raw = {kind: (kind, [1], bytes.fromhex(digits)) for kind, (digits, _) in BYTES.items()}
    found = read_tensors(write(tmp_path / "a.safetensors", raw))
    assert {kind: value.item() for kind, value in found.items()} == {
        kind: BYTES[kind][1] for kind in REAL
    }


@pytest.mark.parametrize(
    "tensor, words",
    [
        (of("C64", 1, 2, 3), "has complex64 values that float32 cannot hold"),
        (of("I64", 1, 2, 2**24 + 1), "has int64 values that float32 cannot hold"),
        (of("U64", 1, 2, 2**63), "has uint64 values"),
        (of("F32", 1, np.nan, np.nan), r"has 2 value\(s\) that are not finite"),
        (of("F64", 1, 2, 1e300), r"has 1 value\(s\) that are not finite"),
        (of("F8_E4M3", 1, 2, np.nan), "not finite"),
        (("F4", [2, 3], b"abc"), "type F4, which cannot be read"),
    ],
)
def test_others_are_one_line_that_names_the_tensor(tensor, words, tmp_path):
    with pytest.raises(UserError, match=words) as error:
        read_section(taesd(tmp_path, **{NAME: tensor}), LIKE)
    text = str(error.value)
    assert "taesd.safetensors" in text and "\n" not in text and (NAME in text or "F4" in text)


@pytest.mark.parametrize("tensor", [of("F16", 1, np.inf), of("C64", 1, 2), of("I32", 1, 2**30)])
def test_our_own_files_are_held_to_the_same(tensor, tmp_path):
    write(tmp_path / "weights.safetensors", {"head/bias": tensor})
    like = {"head": {"bias": jax.ShapeDtypeStruct((2,), jnp.float32)}}
    with pytest.raises(UserError, match="head/bias has "):
        check_weights(tmp_path, read_weights(tmp_path), like)


def test_what_another_program_keeps_beside_its_weights_may_be_anything(tmp_path):
    tensors = {"best_score": of("F32", np.inf), "seen": of("I64", 2**40), "w": of("F32", 1.0)}
    found = read_tensors(write(tmp_path / "a.safetensors", tensors))
    assert found["seen"] == 2**40 and np.isinf(found["best_score"]) and found["w"] == 1


def test_tensors_of_pytorch_are_read_in_every_form_that_float32_holds(tmp_path):
    torch = pytest.importorskip("torch", reason=".pth files need torch")
    plain = torch.tensor([0.0, 1.0, 2.0])
    forms = {
        "float8": plain.to(torch.float8_e4m3fn),
        "bfloat16": plain.bfloat16(),
        "double": plain.double(),
        "whole": plain.to(torch.int16),
        "sparse": plain.to_sparse(),
        "parameter": torch.nn.Parameter(plain),
        "negated": torch._neg_view(-plain),
    }
    torch.save(forms, tmp_path / "a.pth")
    for name, value in read_tensors(tmp_path / "a.pth").items():
        assert value.dtype == np.float32, name
        np.testing.assert_array_equal(value, plain, err_msg=name)
    torch.save({"x.bias": torch.empty(3, device="meta")}, tmp_path / "b.pth")
    with pytest.raises(UserError, match=r"b\.pth: tensor x\.bias .*meta.* cannot be read"):
        read_tensors(tmp_path / "b.pth")


def test_what_is_no_file_of_tensors_is_refused_without_torchs_advice(tmp_path):
    torch = pytest.importorskip("torch", reason=".pth files need torch")
    torch.save({"x": pytest.raises}, tmp_path / "code.pth")
    write_tables(tmp_path / "whole.pth", {"x": np.ones(3, np.float32)})
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:200])
    said = {"code": "none of its code was run", "empty": "is empty", "cut": "damaged"}
    for name, words in said.items():
        with pytest.raises(UserError, match=words) as error:
            read_tensors(tmp_path / f"{name}.pth")
        text = str(error.value)
        assert "weights_only" not in text and "\n" not in text
        assert name == "code" or "code" not in text
