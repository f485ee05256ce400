"""Convert weights: python -m elir_jax.interop.convert SRC DST [--model] [--overwrite]

SRC is a file of the PyTorch release (.pth, Lightning .ckpt), of TAESD or of diffusers'
AutoencoderTiny, each also as .safetensors; of PMRF (Lightning .ckpt, its folder of the hub) or of
DifFace's SwinIR; or a folder of this project, converted or trained (its averaged weights). The
command recognises the layout from the file.

If DST ends in .pth or .safetensors, it is written in the release's layout. PMRF's networks are
written in PMRF's layout, as DST.ckpt or as a folder's model.safetensors. Any other DST is a folder:
with --workdir=DST, train.py starts from it and evaluate.py evaluates it. If SRC holds only an
autoencoder, use DST with --config.autoencoder.weights=DST. Floating point tensors are kept as
float32, bit for bit.

With --model, SRC is a run's folder and DST is one .safetensors file that restores by itself: the
averaged weights, folded, as 16-bit floats, with the configuration inside. --decoder replaces its
decoder by one that was trained after the run (configs/autoencoder.py:decoder).
"""

import argparse
from pathlib import Path

from elir_jax.commands import frame


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog=frame.program("elir_jax.interop.convert"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC", type=Path)
    parser.add_argument("target", metavar="DST", type=Path)
    parser.add_argument("--model", action="store_true",
                        help="write one file that restores by itself")  # fmt: skip
    parser.add_argument("--decoder", metavar="WEIGHTS", default="",
                        help="with --model: an autoencoder whose decoder the model gets, "
                             "or embedded")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    options = parser.parse_args(argv)

    def command() -> None:
        from elir_jax.commands.conversion import convert  # here: it loads jax, which takes seconds

        convert(options.source, options.target, options.overwrite, options.model, options.decoder)

    return frame.exit_code_of(command, argv)
