"""Parts that are cut out of a file, and what is no file."""

import exported
import numpy as np
import onnx
import pytest
from onnx.utils import Extractor

from elir_jax.edge import layout
from elir_jax.edge.cutting import NotOnnx, cut, fields, metadata, tensors
from elir_jax.edge.file import read_exported


@pytest.mark.parametrize("form", ["float32", "int8"])
@pytest.mark.parametrize("name", ["encode", "posterior_mean", "flow", "decode"])
def test_a_part_is_what_onnx_extracts(name, form, tmp_path):
    inputs, output = exported.cut_of(read_exported(exported.write(tmp_path, form)), name)
    model = onnx.load_model_from_string(exported.content(form))
    ours = onnx.load_model_from_string(cut(exported.content(form), inputs, output))
    onnx.checker.check_model(ours)
    theirs = Extractor(model).extract_model(list(inputs), [output])
    assert [v.name for v in ours.graph.input] == inputs
    assert [v.name for v in ours.graph.output] == [output]
    assert list(ours.graph.node) == list(theirs.graph.node)
    names = [{t.name for t in m.graph.initializer} - set(inputs) for m in (ours, theirs)]
    assert names[0] == names[1]
    assert len(names[0]) < len(model.graph.initializer)


def test_the_metadata_are_those_that_onnx_reads():
    model = onnx.load_model_from_string(exported.content())
    theirs = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata(exported.content()) == theirs and layout.METADATA in theirs


def test_a_value_that_is_not_there_is_named():
    with pytest.raises(NotOnnx, match="no value nothing"):
        cut(exported.content(), ("image",), "nothing")


@pytest.mark.parametrize("wrong", [b"\x00", b"\xff" * 12, b"PK\x03\x04 an archive", b"\x3a\x05ab"])
def test_other_bytes_are_refused(wrong):
    with pytest.raises(NotOnnx):
        list(fields(memoryview(wrong)))


def test_no_truncation_is_read_as_a_file():
    content = exported.content()
    for length in np.linspace(1, len(content) - 1, 20).astype(int):
        with pytest.raises(NotOnnx):
            cut(content[:length], ("image",), "latent")


@pytest.mark.parametrize("form", ["float32", "float16", "int8"])
def test_tensors_are_those_that_onnx_reads(form):
    model = onnx.load_model_from_string(exported.content(form))
    theirs = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    ours = {t.name: t for t in tensors(exported.content(form))}
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (array.dtype.name, array.shape)
        assert bytes(ours[name].content) == array.tobytes()
