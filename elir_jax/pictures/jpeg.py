"""JPEG by its segments: what a decoder needs, EXIF by itself, and files whose end is missing.

Pillow opens no JPEG whose EXIF data break the standard in certain ways, so it does not see them.
"""

import io

from PIL import Image as PILImage

from elir_jax.pictures.exif import PREFIX

SIGNATURE = b"\xff\xd8\xff"
START, END, APP1, SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xe1", b"\xff\xda"


def read_jpeg(file: io.BufferedIOBase, pixels: bool) -> tuple[bytes, bytes | None]:
    """(the file without its EXIF data, these); without ``pixels``, only what precedes them."""
    file.seek(len(START))
    kept, exif = [START], []
    while True:
        marker, length = file.read(2), file.read(2)
        size = int.from_bytes(length, "big") - 2
        if marker[:1] != b"\xff" or marker == b"\xff\xff" or size < 0:  # the decoder's affair
            kept += [marker, length, file.read()]
            break
        data = file.read(size)
        if marker == APP1 and data.startswith(PREFIX):
            exif.append(data[len(PREFIX) :])
            continue
        kept += [marker, length, data]
        if marker == SCAN:
            kept.append(file.read() if pixels else b"")
            break
    return b"".join(kept), b"".join(exif) or None


def has_one_scan(image: PILImage.Image, content: bytes) -> bool:
    """Whether all channels are in one scan; of several, the last might be missing."""
    channels = content.rfind(SCAN) + 4  # behind marker and length
    return not image.info.get("progressive") and content[channels] == len(image.getbands())


def with_an_end(content: bytes) -> bytes:
    """A JPEG of one scan whose end is missing, with one. Raises ValueError if pixels are missing.

    If all are there, nothing that follows changes them: neither the end that the decoder fills with
    zeros, nor other bits.
    """
    content = content.rstrip(b"\xff")
    found = [content + more + END for more in (b"", b"\xaa" * 64)]
    pixels = []
    for whole in found:
        with PILImage.open(io.BytesIO(whole), formats=("JPEG",)) as image:
            pixels.append(image.tobytes())
    if pixels[0] != pixels[1]:
        raise ValueError("its end is missing")
    return found[0]
