"""Convert weights: python -m elir_jax.interop.convert SRC DST [--overwrite]

SRC is a file of the PyTorch release (.pth, Lightning .ckpt), of TAESD or of diffusers'
AutoencoderTiny, each also as .safetensors; of PMRF (Lightning .ckpt, its folder of the hub) or of
DifFace's SwinIR; or a folder of this project, converted or trained (its averaged weights). The
layout is told from the file. DST ending in .pth or .safetensors is written in the release's layout,
PMRF's networks into DST.ckpt or a folder's model.safetensors in PMRF's. Any other DST is a folder
that train.py starts from and evaluate.py evaluates with --workdir=DST; an autoencoder alone is for
--config.autoencoder.weights=DST. Floating point tensors are kept as float32, bit for bit.
"""

import argparse
from pathlib import Path

from elir_jax.commands import frame


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=frame.program("elir_jax.interop.convert"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC", type=Path)
    parser.add_argument("target", metavar="DST", type=Path)
    parser.add_argument("--overwrite", action="store_true", help="replace what is at DST")
    options = parser.parse_args(argv)

    def command() -> None:
        from elir_jax.commands.conversion import convert  # here: it loads jax, which takes seconds

        convert(options.source, options.target, options.overwrite)

    return frame.told(command, argv)
