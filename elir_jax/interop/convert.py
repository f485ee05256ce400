"""Convert weights: python -m elir_jax.interop.convert SRC DST [--overwrite]

SRC is a file of the PyTorch release (.pth, Lightning .ckpt), of TAESD or of diffusers'
AutoencoderTiny, each also as .safetensors; or a folder of this project, converted or trained (its
averaged weights). The layout is told from the file. DST ending in .pth or .safetensors is written
in the release's layout. Any other DST is a folder that train.py starts from and evaluate.py
evaluates with --workdir=DST; an autoencoder alone is for --config.autoencoder.weights=DST.
Floating point tensors are kept as float32, bit for bit.
"""

import argparse
import shlex
import sys
from pathlib import Path

import jax

from elir_jax import cli
from elir_jax.errors import UserError
from elir_jax.interop.files import SUFFIXES, write_tensors
from elir_jax.interop.layouts import PARTS, open_source
from elir_jax.interop.release import from_release, to_release
from elir_jax.interop.sizes import read_sizes
from elir_jax.interop.weights import FILE, has_weights, read_weights, write_weights
from elir_jax.training.checkpoint import read_averaged
from elir_jax.types import Params


def load(source: Path) -> tuple[str, Params, list[str]]:
    """(what it is, parameters, the options that ask for these networks) of any source."""
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if source.is_dir() and (source / "checkpoints").is_dir():
        step, averaged, frozen = read_averaged(source / "checkpoints")
        return f"averaged weights of step {step}", frozen | averaged, []
    if source.is_dir() and has_weights(source):
        return "converted weights", read_weights(source), []
    opened = open_source(source)
    sizes = read_sizes(opened)
    fields = sizes.options().items()
    options = [f"--config.{name}={value}".replace(" ", "") for name, value in fields]
    return opened.title, from_release(opened, sizes.like()), options


def convert(source: Path, target: Path, overwrite: bool) -> None:
    """Read, write, and say what was done."""
    to_file = target.suffix.lower() in SUFFIXES
    taken = target if to_file else target / FILE
    if taken.exists() and not overwrite:
        raise UserError(f"{taken}: exists; choose another name or give --overwrite")
    if not to_file and (target / "checkpoints").exists():
        raise UserError(f"{target}: a run that has checkpoints; choose another folder")
    if to_file and not target.parent.is_dir():
        raise UserError(f"{target.parent}: no such folder")

    title, params, options = load(source)
    counts = {
        part: sum(leaf.size for leaf in jax.tree.leaves(params[part]))
        for part in PARTS.values()
        if part in params
    }
    print(f"{source}: {title}; parameters: {', '.join(f'{k} {v:,}' for k, v in counts.items())}")
    if to_file:
        write_tensors(target, to_release(params))
        print(f"wrote {target}, in the release's layout")
        return
    print(f"wrote {write_weights(target, params)}")
    if options:
        place = "--workdir=" if "velocity" in params else "--config.autoencoder.weights="
        print("use it with:", shlex.join([f"{place}{target}", *options]))


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m elir_jax.interop.convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC", type=Path)
    parser.add_argument("target", metavar="DST", type=Path)
    parser.add_argument("--overwrite", action="store_true", help="replace what is at DST")
    options = parser.parse_args(argv)
    return cli.told(lambda: convert(options.source, options.target, options.overwrite), argv)


if __name__ == "__main__":
    sys.exit(main())
