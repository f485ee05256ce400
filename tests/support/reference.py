"""Where the PyTorch release's golden arrays and weights lie; tests that use them skip elsewhere."""

from pathlib import Path

import pytest

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
