"""Write images once as a dataset: python -m elir_jax.data.prepare KIND --images DIR --data-dir DIR

KIND  folder       any folder of images, searched recursively; one split, train
      ffhq         the same for FFHQ's square images, resized to 512x512 or to --size
      celeba_test  DIR/hq and DIR/lq, matched by path without the extension; one split, test

The dataset, DATA_DIR/NAME/1.0.0, has the layout of tensorflow-datasets with ArrayRecord files;
neither writing nor reading it needs TensorFlow. A PNG or JPEG of 8-bit RGB that needs no resizing
is stored unchanged, everything else as PNG. If the command was stopped, the same command resumes
it. A file that cannot be used is reported and left out, and the exit code is then 1.
"""

import argparse
import dataclasses
import re
import sys
from pathlib import Path

import tqdm

from elir_jax.commands import frame
from elir_jax.data.layout import MADE_FROM, VERSION, find_datasets
from elir_jax.data.preparing.recipes import RECIPES
from elir_jax.data.preparing.writing import check_same, make_plan, write_dataset
from elir_jax.errors import UserError

EXIT_BAD_FILES = 1
NAME = re.compile(r"[a-z][a-z0-9_]*")  # the names that tensorflow-datasets accepts
TERMINAL_INTERVAL = 0.2  # seconds between redraws of the bar
LOG_FILE_INTERVAL = 30.0  # the same if the output is no terminal


def prepare(kind: str, images: Path, data_dir: Path, size: int | None, name: str) -> int:
    """Write the dataset and print a summary; returns the exit code."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"--name {name!r}: must consist of small letters, digits and _, and start with a letter"
        )
    recipe = RECIPES[kind]
    if size is not None:
        if size < 1:
            raise UserError(f"--size {size}: must be positive")
        recipe = dataclasses.replace(recipe, size=size)
    folder = data_dir / name / VERSION
    plan = make_plan(folder, kind, recipe, images)
    if find_datasets(folder) == [folder]:
        if not (folder / MADE_FROM).exists():
            raise UserError(f"{folder}: a dataset that this command did not make; choose --name")
        check_same(folder, plan)
        print(f"{folder}: already complete; nothing to do")
        return 0

    interactive = sys.stderr.isatty()
    with _Bar(
        total=len(plan.entries),
        unit="image",
        mininterval=TERMINAL_INTERVAL if interactive else LOG_FILE_INTERVAL,
        dynamic_ncols=interactive,
    ) as bar:
        rows = write_dataset(plan, bar)
    bad = sum(len(row["bad"]) for row in rows)
    left_out = f"; left out {bad} unusable files, named above" if bad else ""
    print(f"wrote {folder}: {sum(row['records'] for row in rows)} records{left_out}")
    return EXIT_BAD_FILES if bad else 0


class _Bar(tqdm.tqdm):
    """A progress bar whose messages go to the same stream as the bar."""

    @classmethod
    def write(cls, s: str, file=None, end: str = "\n", nolock: bool = False) -> None:
        line = " ".join(s.split())
        super().write(line, file or sys.stderr, end, nolock)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=frame.program("elir_jax.data.prepare"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", metavar="KIND", choices=sorted(RECIPES), help="see above")
    parser.add_argument("--images", type=Path, required=True, help="folder of the images")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the datasets")
    parser.add_argument(
        "--size",
        type=int,
        help="resize the shorter side of each image; for celeba_test: of hq, and lq by as much",
    )
    parser.add_argument("--name", help="name of the dataset (default: KIND)")
    given = parser.parse_args(argv)
    return frame.exit_code_of(
        lambda: prepare(
            given.kind, given.images, given.data_dir, given.size, given.name or given.kind
        ),
        argv,
    )
