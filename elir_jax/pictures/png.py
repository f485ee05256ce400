"""PNG by its chunks: what decoders need of a file, what else we keep of it, and chunks to write.

The layout is that of the PNG specification (third edition), with XMP as Adobe and EXIF as older
versions of ImageMagick put them into text. Pillow and OpenCV get the chunks that pixels follow from
and no others, so neither a long text nor a damaged comment can stop them.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = 33  # bytes: signature and IHDR, which always comes first and has a fixed size
DEPTH = 24  # the byte that holds the bits of a sample
DECODED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})
KEPT = frozenset({b"iCCP", b"pHYs", b"eXIf", b"acTL", b"tEXt", b"zTXt", b"iTXt"})
MOST = 2**24  # bytes of a chunk other than IDAT, compressed or not, that are read
XMP, RAW_EXIF = b"XML:com.adobe.xmp", b"Raw profile type exif"
METRE = 1  # the unit of pHYs


class Png(NamedTuple):
    """What a file holds besides its pixels, and the file without it."""

    content: bytes  # a whole PNG
    exif: bytes | None
    xmp: bytes | None
    icc: bytes | None
    dpi: tuple[float, float] | None  # columns, rows
    frames: int


def read_png(file: io.BufferedIOBase, pixels: bool) -> Png:
    """Read the chunks of a file; without ``pixels``, its IDAT chunks are skipped.

    Chunks that the pixels do not follow from are ignored if their checksums are wrong, and so is a
    missing end behind the last pixel. Raises ValueError if a checksum or the end of another is.
    """
    known: dict[bytes, bytes] = {}
    content = [SIGNATURE]
    for kind, data in _chunks(file, pixels):
        if kind in DECODED:
            content.append(chunk(kind, data))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            name, _, text = data.partition(b"\0")
            if name in (XMP, RAW_EXIF):
                known.setdefault(name, _text(kind, text))
        else:
            known.setdefault(kind, data)
    if not content[1:] or content[1][:8] != struct.pack(">I4s", 13, b"IHDR"):
        raise ValueError("its header is missing")
    if not pixels:
        content.append(chunk(b"IDAT", b""))
    content.append(chunk(b"IEND", b""))
    icc = known.get(b"iCCP", b"").partition(b"\0")[2][1:]  # name, method, compressed profile
    return Png(
        b"".join(content),
        known.get(b"eXIf") or _from_hex(known.get(RAW_EXIF, b"")),
        known.get(XMP),
        _inflated(icc) or None,
        _dpi(known.get(b"pHYs", b"")),
        int.from_bytes(known.get(b"acTL", b"")[:4], "big") or 1,
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return b"".join([struct.pack(">I4s", len(data), kind), data, _checksum(kind, data)])


def resolution(dpi: tuple[float, float]) -> bytes:
    """The chunk that says how many columns and rows an inch has; empty if it cannot be said."""
    try:
        return chunk(b"pHYs", struct.pack(">IIB", *(round(n / 0.0254) for n in dpi), METRE))
    except (struct.error, ValueError, ArithmeticError):  # negative, NaN, infinite
        return b""


def _chunks(file: io.BufferedIOBase, pixels: bool) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of each chunk that is wanted and whole."""
    file.seek(len(SIGNATURE))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        decoded = kind in DECODED
        if kind == b"IEND":
            return
        if not (decoded or kind in KEPT) or (kind == b"IDAT" and not pixels):
            file.seek(length + 4, 1)
            continue
        if kind != b"IDAT" and length > MOST:
            if decoded:
                raise ValueError(f"its chunk {kind.decode()} is too large")
            file.seek(length + 4, 1)
            continue
        data, checksum = file.read(length), file.read(4)
        if len(data) < length:
            if decoded:
                raise ValueError("its end is missing")
            return
        # The end of the file may be missing; compressed pixels have a checksum of their own.
        if len(checksum) == 4 and checksum != _checksum(kind, data):
            if decoded:
                raise ValueError(f"the checksum of its chunk {kind.decode()} is wrong")
            continue
        yield kind, data


def _inflated(data: bytes) -> bytes:
    """The content of a zlib stream; nothing if it is damaged or has more than MOST bytes."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, MOST)
    except zlib.error:
        return b""
    return found if stream.eof else b""


def _checksum(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _text(kind: bytes, rest: bytes) -> bytes:
    """The text behind the keyword of a tEXt, zTXt or iTXt chunk."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflated(rest[1:])  # behind the method
    text = rest[2:].split(b"\0", 2)[-1]  # behind flag, method, language and translated keyword
    return _inflated(text) if rest[:1] == b"\1" else text


def _from_hex(text: bytes) -> bytes | None:
    """Lines of digits behind an empty line, a name and a length."""
    try:
        return bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:])) or None
    except ValueError:
        return None


def _dpi(physical: bytes) -> tuple[float, float] | None:
    if len(physical) != 9 or physical[8] != METRE:
        return None
    columns, rows, _ = struct.unpack(">IIB", physical)
    return columns * 0.0254, rows * 0.0254
