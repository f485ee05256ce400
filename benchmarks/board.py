"""Restorers on the public test sets: python benchmarks/board.py FOLDER [--model W] [...]

FOLDER holds test sets as sub-folders: CBSD68, Kodak24, McMaster (colour noise), LIVE1_color,
LIVE1_gray, Classic5 (JPEG), Set5, Set14 (enlargement by 4); absent ones are left out. There is one
table for each set and degradation: the input; BM3D on noise (pip install bm3d); the posterior mean
and the restoration of each --model; other methods' results; and published figures. PSNR (dB) and
SSIM follow the published tables (benchmarks/testsets.py); the Fréchet distance to the originals is
that of benchmarks/models.py.

--results NAME=DIR takes DIR/SET/DEGRADATION/PICTURE.png, such as DIR/CBSD68/noise50/101085.png.
The figures of every picture go into --json; after a stop, the same command continues there.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measurements import Measured, Measurements, measured, pooled  # noqa: E402
from benchmarks.models import frozen_encoder  # noqa: E402
from benchmarks.published import INPUT, published  # noqa: E402
from benchmarks.restorers import Method, bm3d, from_folder, ours  # noqa: E402
from benchmarks.testsets import (  # noqa: E402
    SETS,
    Picture,
    Task,
    as_compared,
    figures,
    read_original,
)
from elir_jax.commands.frame import keep_programs  # noqa: E402
from elir_jax.data.sources import find_images  # noqa: E402
from elir_jax.errors import UserError  # noqa: E402
from elir_jax.metrics.frechet import frechet_distance  # noqa: E402
from elir_jax.pictures.images import to_float  # noqa: E402

SHIPPED = {"noise": "denoising", "jpeg": "photo", "sr": "photo"}
ORIGINAL = "original"
MULTIPLE = 8  # pixels to a latent
LEAST = 32  # pixels of --crop


def methods(name: str, task: Task, options: argparse.Namespace) -> tuple[list[Method], list[str]]:
    """(what is measured on a set, a line for each row that is left out)."""
    found, left_out = [Method((INPUT,), lambda picture: [picture.degraded])], []
    if task.kind == "noise" and not options.no_filters:
        found += bm3d(task)
        left_out += [] if len(found) > 1 else ["BM3D: left out, pip install bm3d"]
    for model in [] if options.no_model else options.model or [SHIPPED[task.kind]]:
        found += ours(model)
    for method, folder in options.results:
        place = folder / name / task.name
        if place.is_dir():
            found.append(from_folder(method, place))
        else:
            left_out.append(f"{method}: left out, there is no folder {place}")
    return found, left_out


def measure(picture: Picture, method: Method, known: Measurements, features) -> list[Measured]:
    """The figures of each row of the method; what is known is not computed again."""
    grey, version = SETS[picture.set].grey, method.version(picture)
    # Originals are the same for every strength.
    place = picture.task.kind if method.rows == (ORIGINAL,) else picture.task.name
    keys = [
        "/".join((picture.set, place, row, version, picture.name, picture.digest))
        for row in method.rows
    ]
    if not all(key in known for key in keys):
        height, width = (side - side % MULTIPLE for side in picture.original.shape[:2])
        for key, x in zip(keys, method.restore(picture), strict=True):
            pixels = as_compared(x, grey)
            near = figures(pixels, picture.original, picture.task, grey)
            latents = features(to_float(pixels[:height, :width])[None])
            known.add(key, measured(*near, latents))
    return [known[key] for key in keys]


def table(name: str, task: Task, options, known: Measurements, features) -> dict:
    """Measure a set: its rows, those left out, and the published ones."""
    found, left_out = methods(name, task, options)
    found.append(Method((ORIGINAL,), lambda picture: [to_float(picture.original)]))
    taken: dict[str, list[Measured]] = {row: [] for method in found for row in method.rows}
    paths = list(find_images(options.folder / name))[: options.most]
    for path in tqdm(paths, f"{name} {task.name}", unit="picture", leave=False):
        picture = Picture(name, task, path.stem, read_original(path, task, options.crop))
        for method in found:
            for row, one in zip(
                method.rows, measure(picture, method, known, features), strict=True
            ):
                taken[row].append(one)
    wanted = pooled(taken.pop(ORIGINAL))
    return {
        "set": name,
        "task": task.name,
        "pictures": len(paths),
        "crop": options.crop,
        "rows": [
            {
                "row": row,
                "psnr": float(np.mean([one.psnr for one in ones])),
                "ssim": float(np.mean([one.ssim for one in ones])),
                "frechet": frechet_distance(pooled(ones), wanted),
            }
            for row, ones in taken.items()
        ],
        "left_out": left_out,
        "published": [row._asdict() for row in published(name, task)],
    }


def shown(found: dict) -> str:
    """A table as text."""
    pictures, whole = found["pictures"], SETS[found["set"]].count
    about = f"{pictures} pictures" if pictures == whole else f"{pictures} of {whole} pictures"
    about += f", their middle {found['crop']} pixels" if found["crop"] else ""
    width = max(len(row["row"]) for row in [*found["rows"], *found["published"]])
    lines = [
        f"{found['set']}, {found['task']}: {about}",
        f"{'':<{width}} {'PSNR':>7} {'SSIM':>7} {'Fréchet':>8}",
    ]
    for row in found["rows"]:
        lines.append(
            f"{row['row']:<{width}} {row['psnr']:7.2f} {row['ssim']:7.4f} {row['frechet']:8.4f}"
        )
    lines += found["left_out"]
    if found["published"]:
        lines.append(f"published, {whole} whole pictures:")
    for row in found["published"]:
        near = "" if row["ssim"] is None else f"{row['ssim']:g}"
        lines.append(f"{row['row']:<{width}} {row['psnr']:7.2f} {near:>7} {'':8} {row['source']}")
    return "\n".join(lines) + "\n"


def cells(options: argparse.Namespace) -> list[tuple[str, Task]]:
    """The (set, degradation) of each table. Raises UserError if there is none."""
    there = [name for name in SETS if (options.folder / name).is_dir()]
    absent = [name for name in options.sets or [] if name not in there]
    if absent or not there:
        names = absent or list(SETS)
        raise UserError(f"{options.folder}: no folder {', '.join(names)}; put the test sets there")
    found = [
        (name, task)
        for name in options.sets or there
        for task in SETS[name].tasks
        if not options.tasks or task.kind in options.tasks
    ]
    if not found:
        raise UserError(f"--tasks {','.join(options.tasks)}: of no test set that was chosen")
    return found


def board(options: argparse.Namespace) -> None:
    """Measure and print all tables."""
    chosen, known = cells(options), Measurements(options.json)
    keep_programs()
    features = frozen_encoder()
    try:
        for name, task in tqdm(chosen, "board", unit="table"):
            found = table(name, task, options, known, features)
            known.tables.append(found)
            tqdm.write(shown(found))
    finally:
        known.save()
    print("wrote", options.json)


def _names(known) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} up")
        return int(text)

    return parse


def _named_folder(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    if not (name and equals and Path(folder).is_dir()):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=DIR with a folder DIR")
    return name, Path(folder)


def main(arguments: list[str] | None = None) -> None:
    """Print a table for each set and degradation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folder", metavar="FOLDER", type=Path)
    add("--sets", type=_names(SETS), help=f"of {','.join(SETS)} (default: those in FOLDER)")
    add("--tasks", type=_names(SHIPPED), help=f"of {','.join(SHIPPED)} (default: all)")
    add("--model", metavar="W", action="append", help="weights, as restoring takes them; may be "
        "repeated (default: denoising for noise, photo for the others)")  # fmt: skip
    add("--no-model", action="store_true", help="without any model of this package")
    add("--results", metavar="NAME=DIR", type=_named_folder, action="append", default=[],
        help="what another method made; may be repeated")  # fmt: skip
    add("--most", type=_at_least(1), help="pictures of each set (default: all)")
    add("--crop", metavar="SIDE", type=_at_least(LEAST), help="only the pictures' middles")
    add("--no-filters", action="store_true", help="without BM3D, which takes long")
    add("--json", metavar="FILE", type=Path, default=Path("runs/board.json"),
        help="figures of every picture (default: runs/board.json)")  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        board(options)
    except UserError as error:
        parser.exit(2, f"{error}\n")


if __name__ == "__main__":
    main()
