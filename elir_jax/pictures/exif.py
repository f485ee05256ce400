"""EXIF: which way up a picture is, and the same data for a picture that stands upright.

The data are a small TIFF file (CIPA DC-008, TIFF 6.0). They are read and changed in place, entry by
entry: a field that breaks the standard harms no other, and what a camera's maker stored at fixed
places stays there. XMP may tell the orientation in its place, as text.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image as PILImage

ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825
WIDTHS, HEIGHTS = (0x0100, 0xA002), (0x0101, 0xA003)  # in the first directory, in EXIF's own
# Description, make, model, software, date, artist, copyright: what a TIFF says of a photograph.
SAID = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
ORDERS = {b"II": "<", b"MM": ">"}
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}  # type of a field -> its form
SHORT, LONG = 3, 4
RATIO = 5
RESOLUTIONS, UNIT, INCH, CENTIMETRE = (0x011A, 0x011B), 0x0128, 2, 3
PREFIX = b"Exif\0\0"
IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


class Field(NamedTuple):
    """A field of a directory: ``at`` is the place of its twelve bytes."""

    tag: int
    kind: int
    count: int
    at: int


def plain(exif: bytes | None) -> bytes | None:
    """The data without the prefix that JPEG gives them; None if they are nothing of the kind."""
    while exif and exif.startswith(PREFIX):
        exif = exif[len(PREFIX) :]
    return exif if exif and exif[:2] in ORDERS and len(exif) >= 8 else None


def orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """The orientation, 1 to 8, that plain EXIF tells, or else XMP; 1 if neither does."""
    found = None
    if exif is not None:
        order = ORDERS[exif[:2]]
        told = [f for f in _fields(exif, order, _first(exif, order)) if f.tag == ORIENTATION]
        found = _integer(exif, order, told[0]) if told else None
    if found is None and xmp and (match := IN_XMP.search(xmp)):
        found = int(match[1])
    return found if found in range(1, 9) else 1


def resolution(exif: bytes) -> tuple[float, float] | None:
    """How many columns and rows an inch has, if plain EXIF tells."""
    order = ORDERS[exif[:2]]
    fields = {field.tag: field for field in _fields(exif, order, _first(exif, order))}
    unit = _integer(exif, order, fields[UNIT]) if UNIT in fields else INCH
    found = [_ratio(exif, order, fields[tag]) for tag in RESOLUTIONS if tag in fields]
    if len(found) != 2 or None in found or unit not in (INCH, CENTIMETRE):
        return None
    scale = 2.54 if unit == CENTIMETRE else 1
    return found[0] * scale, found[1] * scale


def upright(exif: bytes, height: int, width: int) -> bytes:
    """Plain EXIF of a picture that stands upright and has this size, without a small preview."""
    order, changed = ORDERS[exif[:2]], bytearray(exif)
    first = _first(exif, order)
    fields = list(_fields(exif, order, first))
    inner = [_integer(exif, order, field) for field in fields if field.tag == EXIF_IFD]
    fields += [f for at in inner[:1] if at is not None for f in _fields(exif, order, at)]
    sizes = dict.fromkeys(WIDTHS, width) | dict.fromkeys(HEIGHTS, height)
    for field in fields:
        if field.tag == ORIENTATION:
            struct.pack_into(f"{order}HHIHH", changed, field.at, ORIENTATION, SHORT, 1, 1, 0)
        elif field.tag in sizes and _integer(exif, order, field) is not None:
            said = (field.tag, LONG, 1, sizes[field.tag])
            struct.pack_into(f"{order}HHII", changed, field.at, *said)
    following = first + 2 + 12 * _count(exif, order, first)
    if following + 4 <= len(exif):  # the place of the preview's directory
        struct.pack_into(f"{order}I", changed, following, 0)
    return bytes(changed)


def exif_of_tiff(image: PILImage.Image) -> bytes | None:
    """What the first page of a TIFF says of the photograph, as plain EXIF; None if nothing."""
    try:
        known, kept = image.getexif(), PILImage.Exif()
        kept.update({tag: known[tag] for tag in SAID if tag in known})
        inner = {tag: dict(known.get_ifd(tag)) for tag in (EXIF_IFD, GPS_IFD)}
        kept.update({tag: fields for tag, fields in inner.items() if fields})
        return plain(kept.tobytes()) if len(kept) else None
    except Exception:  # if the metadata are damaged, the picture may still be good
        return None


def _first(exif: bytes, order: str) -> int:
    return struct.unpack_from(f"{order}I", exif, 4)[0]


def _count(exif: bytes, order: str, at: int) -> int:
    return struct.unpack_from(f"{order}H", exif, at)[0] if at + 2 <= len(exif) else 0


def _fields(exif: bytes, order: str, at: int) -> Iterator[Field]:
    """The fields of the directory at a place; those beyond the end of the data are left out."""
    for number in range(_count(exif, order, at)):
        place = at + 2 + 12 * number
        if place + 12 > len(exif):
            return
        yield Field(*struct.unpack_from(f"{order}HHI", exif, place), place)


def _integer(exif: bytes, order: str, field: Field) -> int | None:
    form = INTEGERS.get(field.kind)
    if form is None or field.count != 1:
        return None
    return struct.unpack_from(f"{order}{form}", exif, field.at + 8)[0]


def _ratio(exif: bytes, order: str, field: Field) -> float | None:
    at = struct.unpack_from(f"{order}I", exif, field.at + 8)[0]
    if (field.kind, field.count) != (RATIO, 1) or at + 8 > len(exif):
        return None
    above, below = struct.unpack_from(f"{order}II", exif, at)
    return above / below if below else None
