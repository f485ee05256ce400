"""For tests of pictures: small ones, and by byte what Pillow and OpenCV cannot write.

Layouts: ICC.1:2001-04 for profiles, the PNG specification, TIFF 6.0.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

D50 = (0.9642, 1.0, 0.8249)
# Columns: what red, green and blue are in XYZ under D50.
SRGB_TO_XYZ = np.array(
    [[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]]
)
ADOBE_TO_XYZ = np.array(
    [[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]]
)


def _xyz(values):
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def gamma(power):
    return b"curv\0\0\0\0" + struct.pack(">IH2x", 1, round(power * 256))


def srgb_curve():
    x = np.linspace(0, 1, 1024)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    values = np.round(linear * 65535).astype(">u2").tobytes()
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + values


def _profile(kind, space, connection, tags):
    text = b"made for a test\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(79)
    tags = {b"desc": description, b"wtpt": _xyz(D50)} | tags
    place = 128 + 4 + 12 * len(tags)
    table, content = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, place + len(content), len(data))
        content += data
    head = struct.pack(">I4sI", place + len(content), b"lcms", 0x02400000)
    head += kind + space + connection + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    head = head.ljust(68, b"\0") + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + content


def rgb_icc(matrix, curve):
    """A display's profile: linear light by ``curve``, then ``matrix`` to XYZ."""
    tags = {letter + b"TRC": curve for letter in (b"r", b"g", b"b")}
    tags |= {
        letter + b"XYZ": _xyz(column)
        for letter, column in zip((b"r", b"g", b"b"), matrix.T, strict=True)
    }
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def grey_icc(curve):
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve})


def cmyk_icc(lab):
    """A press whose ink corners (C, M, Y, K each 0 or 1, K fastest) look as ``lab`` (16 x 3) says.

    L in [0, 100], a and b in [-128, 127]: a table of 8 bits (lut8Type), linear between.
    """
    corners = np.round(lab * [2.55, 1, 1] + [0, 128, 128]).astype(np.uint8).tobytes()
    identity = bytes(range(256))
    one = struct.pack(">9i", *(65536 * np.eye(3, dtype=int).ravel()))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + one + 4 * identity + corners + 3 * identity
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut, b"A2B1": lut})


def png_chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(samples, between=b"", behind=b""):
    """A PNG of uint8 or uint16, h w c with 1 (grey), 2, 3 or 4 channels; chunks around the data."""
    height, width, channels = samples.shape
    rows = samples.astype(samples.dtype.newbyteorder(">")).reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + between
        + png_chunk(b"IDAT", zlib.compress(data))
        + behind
        + png_chunk(b"IEND", b"")
    )


def tiff(samples, photometric=None, order="<", **more):
    """An uncompressed TIFF of h w c samples of any type.

    ``photometric``: 0 white is zero, 1 black is zero, 2 RGB, 5 CMYK, 8 LAB. ``more``: orientation,
    extra (1 colours are multiplied by alpha, 2 they are not), planar (2: one plane a channel), bits
    (that the directory claims a sample to have).
    """
    height, width, channels = samples.shape
    photometric = photometric if photometric is not None else (1 if channels == 1 else 2)
    planar = more.get("planar", 1)
    stored = samples.transpose(2, 0, 1) if planar == 2 else samples
    data = stored.astype(samples.dtype.newbyteorder(order)).tobytes()
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    strips = channels if planar == 2 else 1
    size = len(data) // strips
    tags = {
        256: [width], 257: [height], 259: [1],
        258: [more.get("bits", 8 * samples.itemsize)] * channels,
        262: [photometric], 273: [0] * strips, 274: [more.get("orientation", 1)], 277: [channels],
        278: [height], 279: [size] * strips, 284: [planar], 339: [kind] * channels,
    }  # fmt: skip
    if "extra" in more:
        tags[338] = [more["extra"]]
    start = 8 + 2 + 12 * len(tags) + 4  # of what is too long for the directory
    pixels = start + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    tags[273] = [pixels + size * strip for strip in range(strips)]
    entries, long = b"", b""
    for tag, values in sorted(tags.items()):
        field = struct.pack(f"{order}{len(values)}I", *values)
        entries += struct.pack(f"{order}HHI", tag, 4, len(values))  # 4: LONG
        if len(values) == 1:
            entries += field
        else:
            entries += struct.pack(f"{order}I", start + len(long))
            long += field
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + entries + bytes(4) + long + data


# Small pictures, and what tests ask of them

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9, 4)).astype(np.uint16)
DEEP[..., 3] |= 1  # visible
ALPHA = (np.arange(6 * 9) + 1).astype(np.uint8).reshape(6, 9)
RGB = Image.fromarray(PIXELS)
ADOBE = rgb_icc(ADOBE_TO_XYZ, gamma(563 / 256))
SRGB = rgb_icc(SRGB_TO_XYZ, srgb_curve())


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, **({"format": "PNG"} | options))
    return buffer.getvalue()


def levels(samples, top=255):
    return np.round(samples.astype(np.float64) * top).astype(int)


def encoded(linear):
    """Linear light -> sRGB."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def grey_of(image):
    return np.asarray(image.convert("L"))[..., None].repeat(3, -1)


def check_deep(picture, colours, alpha):
    np.testing.assert_array_equal(picture.rgb, colours.astype(np.float32) / np.float32(65535))
    assert picture.bits == 16
    if alpha is None:
        assert picture.alpha is None
    else:
        np.testing.assert_array_equal(picture.alpha, alpha.astype(np.float32) / np.float32(65535))
