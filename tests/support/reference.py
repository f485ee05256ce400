"""Where the PyTorch release's golden arrays and weights lie; tests that use them skip elsewhere."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

SHARED = Path(__file__).resolve().parents[3] / "shared"
KINDS = {"over": "overparametrized", "flat": "collapsed"}


def golden_files(kind: str) -> tuple[Path, Path]:
    """(arrays, weights) of the release, ``over`` (expanded) or ``flat``; skips without them."""
    arrays = SHARED / "reference" / "golden_k3.npz"
    weights = arrays.with_name(f"golden_k3_{KINDS[kind]}.pth")
    for path in (arrays, weights):
        if not path.is_file():
            pytest.skip(f"golden files of the PyTorch release are absent ({path.name})")
    pytest.importorskip("torch", reason="reading the release's .pth needs torch")
    return arrays, weights


def recorded_network(project: str, part: str) -> tuple[dict, dict]:
    """(arrays, tensors) of one network of PMRF or Latent-PMRF, bare names; skips without them."""
    folder = SHARED / "reference"
    files = folder / f"{project}_golden.npz", folder / f"{project}_weights.safetensors"
    for path in files:
        if not path.is_file():
            pytest.skip(f"golden files of the public code are absent ({path.name})")
    with np.load(files[0]) as recorded:
        arrays = {n: recorded[n] for n in recorded.files if n.startswith(f"{part}/")}
    tensors = load_file(files[1])
    return (
        {name.removeprefix(f"{part}/"): value for name, value in arrays.items()},
        {n.removeprefix(f"{part}."): a for n, a in tensors.items() if n.startswith(f"{part}.")},
    )
