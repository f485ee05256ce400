"""Cut a part out of an ONNX file, between values that are named, without the onnx package.

An ONNX file is a protocol buffer (onnx/onnx.proto): a sequence of fields, each a number, a kind and
its content. A part is the same file with fewer fields in its graph: the nodes that lead from the
inputs to the output, the weights that these read, and the types of the new inputs and output. The
fields themselves are copied, never changed.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

# Numbers of fields in onnx.proto.
MODEL_GRAPH, MODEL_METADATA = 7, 14
GRAPH_NODE, GRAPH_NAME, GRAPH_INITIALIZER = 1, 2, 5
GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE = 11, 12, 13
NODE_INPUT, NODE_OUTPUT = 1, 2
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
VALUE_NAME, ENTRY_KEY, ENTRY_VALUE = 1, 1, 2
TYPES = {1: "float32", 3: "int8", 10: "float16"}  # of tensors, as our files have them
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # kinds


class NotOnnx(ValueError):
    """The bytes are no ONNX model, or the model lacks a value."""


class Field(NamedTuple):
    """A field: its number, all of its bytes and its content (empty if it is a number)."""

    number: int
    whole: memoryview
    content: memoryview


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message in order. Raises NotOnnx if they do not fill it exactly."""
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        number, kind, content = key >> 3, key & 7, message[:0]
        if kind == VARINT:
            _, at = _varint(message, at)
        elif kind == BYTES:
            length, at = _varint(message, at)
            content, at = message[at : at + length], at + length
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        else:
            raise NotOnnx("damaged")
        if at > len(message) or not number:
            raise NotOnnx("damaged")
        yield Field(number, message[start:at], content)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """(number, the place behind it)."""
    number = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
    raise NotOnnx("damaged")


def metadata(model: bytes) -> dict[str, str]:
    """The strings that the file carries, by name. Raises NotOnnx."""
    entries = [f.content for f in fields(memoryview(model)) if f.number == MODEL_METADATA]
    try:
        return {_text(entry, ENTRY_KEY): _text(entry, ENTRY_VALUE) for entry in entries}
    except UnicodeDecodeError as error:
        raise NotOnnx("damaged") from error


class Tensor(NamedTuple):
    """A tensor that the file holds."""

    name: str
    dtype: str  # NumPy's name; "" for a type that our weights never have
    shape: tuple[int, ...]
    content: memoryview  # its values, little-endian


def tensors(model: bytes) -> Iterator[Tensor]:
    """The weights and constants of the graph, whose values are not copied. Raises NotOnnx."""
    for graph in (f.content for f in fields(memoryview(model)) if f.number == MODEL_GRAPH):
        for said in (f.content for f in fields(graph) if f.number == GRAPH_INITIALIZER):
            known = list(fields(said))
            shape = tuple(n for f in known if f.number == TENSOR_DIMS for n in _numbers(f))
            kind = [n for f in known if f.number == TENSOR_TYPE for n in _numbers(f)]
            raw = [f.content for f in known if f.number == TENSOR_RAW]
            dtype = TYPES.get(kind[0], "") if kind else ""
            yield Tensor(_text(said, TENSOR_NAME), dtype, shape, raw[0] if raw else said[:0])


def _numbers(field: Field) -> Iterator[int]:
    """The numbers of a field, which holds one, or several in a row."""
    message, at = field.content, 0
    if not message:
        message, at = field.whole, _varint(field.whole, 0)[1]
    while at < len(message):
        number, at = _varint(message, at)
        yield number


def cut(model: bytes, inputs: Sequence[str], output: str) -> bytes:
    """The model that computes the value ``output`` from the values ``inputs``. Raises NotOnnx."""
    kept, graph = [], None
    for field in fields(memoryview(model)):
        if field.number == MODEL_GRAPH:
            graph = list(fields(field.content))
        else:
            kept.append(field.whole)
    if graph is None:
        raise NotOnnx("no graph")
    content = b"".join(_cut_graph(graph, inputs, output))
    return b"".join([*kept, _message(MODEL_GRAPH, content)])


def _cut_graph(graph: list[Field], inputs: Sequence[str], output: str) -> Iterator[bytes]:
    nodes = [f for f in graph if f.number == GRAPH_NODE]
    maker = {name: n for n, f in enumerate(nodes) for name in _texts(f.content, NODE_OUTPUT)}
    wanted, seen, used = [output], set(inputs), set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in maker:
            used.add(maker[name])
            wanted += _texts(nodes[maker[name]].content, NODE_INPUT)
    for number, field in enumerate(nodes):
        if number in used:
            yield bytes(field.whole)
    weights = seen - set(inputs)
    for field in graph:
        named = field.number == GRAPH_INITIALIZER and _text(field.content, TENSOR_NAME) in weights
        if named or field.number == GRAPH_NAME:
            yield bytes(field.whole)
    types = {
        _text(field.content, VALUE_NAME): bytes(field.content)
        for field in graph
        if field.number in (GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE)
    }
    for number, names in ((GRAPH_INPUT, inputs), (GRAPH_OUTPUT, [output])):
        for name in names:
            if name not in types:
                raise NotOnnx(f"no value {name}")
            yield _message(number, types[name])


def _texts(message: memoryview, number: int) -> list[str]:
    return [str(f.content, "utf-8") for f in fields(message) if f.number == number]


def _text(message: memoryview, number: int) -> str:
    return next(iter(_texts(message, number)), "")


def _message(number: int, content: bytes) -> bytes:
    key, length = number << 3 | BYTES, len(content)
    head = bytearray()
    for value in (key, length):
        while value > 127:
            head.append(value & 127 | 128)
            value >>= 7
        head.append(value)
    return bytes(head) + content
