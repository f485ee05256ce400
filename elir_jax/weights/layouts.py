"""The layouts of other projects' files, recognised by the names of the tensors.

Every layout is read into the release's flat names (``enc.`` ``dec.`` ``mmse.`` ``fmir.``), with the
decoder's layers counted from 0:

- the release's ``.pth``: these names themselves;
- its Lightning ``.ckpt``: tables ``state_dict_enc`` ... with these names (the averaged weights),
  and entries of the trainer, which are ignored;
- TAESD's pair of files: bare numbers, the decoder's from 1, because its layer 0 is the clamp;
- both parts of TAESD in one file, ``encoder.`` and ``decoder.`` (what this project ships);
- diffusers' ``AutoencoderTiny``: ``encoder.layers.`` and ``decoder.layers.``, the decoder's from 0.

diffusers' class takes images in [-1, 1], but converts them to [0, 1] itself, outside its weights:
these are TAESD's, and mean the same here.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from elir_jax.errors import UserError
from elir_jax.weights.files import SAFETENSORS, SUFFIXES, Tensors, read_tensors

PARTS = {"enc": "encoder", "dec": "decoder", "mmse": "estimator", "fmir": "velocity"}
_AUTOENCODER = {"encoder": "enc", "decoder": "dec"}
_WORD = {part: rf"(?<![A-Za-z]){part}" for part in _AUTOENCODER}  # not the end of "autoencoder"


class Layout(NamedTuple):
    """The names of one layout."""

    title: str
    pattern: re.Pattern  # one of its names
    to_release: Callable[[re.Match], str]
    from_release: Callable[[str], str]
    keeps_others: bool = False  # other names belong to another program and are no errors


class Source(NamedTuple):
    """Tensors under the release's names, and their names in the file."""

    path: Path
    title: str
    tensors: Tensors
    original: Callable[[str], str]


def _split(name: str) -> tuple[str, int, str]:
    """``dec.layers.18.bias`` -> (``decoder``, 18, ``bias``)."""
    part, _, number, rest = name.split(".", 3)
    return PARTS[part], int(number), rest


def _numbered(part: str, number: int, rest: str) -> str:
    return f"{part[:3]}.layers.{number}.{rest}"


def _one_file_name(name: str) -> str:
    part, number, rest = _split(name)
    return f"{part}.{number + (part == 'decoder')}.{rest}"


def _diffusers_name(name: str) -> str:
    part, number, rest = _split(name)
    return f"{part}.layers.{number}.{rest}"


RELEASE = Layout(
    "the release's state dict",
    re.compile(r"(fmir|mmse|enc|dec)\..+"),
    lambda m: m[0],
    lambda name: name,
)
LIGHTNING = Layout(
    "the release's Lightning checkpoint",
    re.compile(r"state_dict_((?:fmir|mmse|enc|dec)\..+)"),
    lambda m: m[1],
    lambda name: f"state_dict_{name}",
    keeps_others=True,
)
DIFFUSERS = Layout(
    "diffusers' AutoencoderTiny",
    re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)"),
    lambda m: _numbered(m[1], int(m[2]), m[3]),
    _diffusers_name,
)
ONE_FILE = Layout(
    "TAESD in one file",
    re.compile(r"(encoder|decoder)\.(\d+)\.(.+)"),
    lambda m: _numbered(m[1], int(m[2]) - (m[1] == "decoder"), m[3]),
    _one_file_name,
)
LAYOUTS = (LIGHTNING, RELEASE, DIFFUSERS, ONE_FILE)
_BARE = re.compile(r"\d+\..+")


def open_source(path: Path) -> Source:
    """Read a file, or TAESD's pair (a folder or either file), into the release's names.

    Raises UserError if the layout is none of these.
    """
    path, tensors = _read(path)
    layout = next((k for k in LAYOUTS if any(map(k.pattern.fullmatch, tensors))), None)
    if layout is None:
        raise UserError(
            f"{path}: unknown layout: its first tensor is {sorted(tensors)[0]}; give a file "
            f"of the ELIR release, of TAESD or of diffusers' AutoencoderTiny"
        )
    renamed, unknown = {}, []
    for name, value in tensors.items():
        match = layout.pattern.fullmatch(name)
        if match:
            renamed[layout.to_release(match)] = value
        elif not layout.keeps_others:
            unknown.append(name)
    if unknown:
        raise UserError(f"{path}: {len(unknown)} unknown tensor(s): {listed(unknown)}")
    return Source(path, layout.title, renamed, layout.from_release)


def listed(names) -> str:
    """The first few names."""
    names = sorted(names)
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def _read(path: Path) -> tuple[Path, Tensors]:
    if path.is_dir():
        pair = {part: _only(path, part) for part in _AUTOENCODER}
        return path, {k: v for part, file in pair.items() for k, v in _part(file, part).items()}
    tensors = read_tensors(path)
    if not all(map(_BARE.fullmatch, tensors)):
        return path, tensors
    # One file of TAESD's pair: its first layer shows which one, and the other is next to it.
    part, other = ("encoder", "decoder") if "0.weight" in tensors else ("decoder", "encoder")
    twin = path.with_name(re.sub(_WORD[part], other, path.name))
    if twin == path:
        raise UserError(
            f"{path}: only one part of TAESD's pair; name it *{part}*{path.suffix} and put "
            f"*{other}*{path.suffix} next to it"
        )
    return path, _part(path, part) | _part(twin, other)


def _part(path: Path, part: str) -> Tensors:
    return {f"{part}.{name}": value for name, value in read_tensors(path).items()}


def _only(folder: Path, part: str) -> Path:
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    found = [path for path in files if re.search(_WORD[part], path.name)]
    if len(found) != 1:
        raise UserError(
            f"{folder}: {len(found)} files named *{part}*{SAFETENSORS}, but exactly one is needed; "
            f"name a folder with TAESD's pair of files, or one file"
        )
    return found[0]
