"""The command that draws training pairs, as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elir_jax.commands.preview import MARGIN

ROOT = Path(__file__).resolve().parents[2]
SIZE = 64  # of the tiny configuration's crops


def preview(*options):
    return subprocess.run(
        [sys.executable, "-m", "elir_jax.data.preview", *options],
        cwd=ROOT, env=os.environ, capture_output=True, text=True,
    )  # fmt: skip


def test_each_column_is_an_original_above_its_degraded_version(tmp_path):
    config, out = "configs/denoising.py:tiny", tmp_path / "pairs.png"
    done = preview("--config", config, f"--out={out}", "--pairs=3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {out}: 3 pairs, denoising on the host\n"
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert("RGB"), float) / 255
    step = SIZE + MARGIN
    assert pixels.shape == (2 * step + MARGIN, 3 * step + MARGIN, 3)
    for left in range(MARGIN, 3 * step, step):
        hq, lq = (pixels[top : top + SIZE, left : left + SIZE] for top in (MARGIN, MARGIN + step))
        # The noise has a deviation of 0.35 before both are clipped to [0, 1].
        assert 0.1 < np.std(lq - hq) < 0.36
        assert abs(np.mean(lq) - np.mean(hq)) < 0.15
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.slow
def test_the_devices_pairs_stand_below_the_hosts_and_are_degraded_alike(tmp_path):
    out = tmp_path / "pairs.png"
    done = preview("--config", "configs/denoising.py:tiny", f"--out={out}", "--pairs=2", "--both")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {out}: 2 pairs, denoising on the host and device\n"
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert("RGB"), float) / 255
    step = SIZE + MARGIN
    assert pixels.shape == (4 * step + MARGIN, 2 * step + MARGIN, 3)
    for left in range(MARGIN, 2 * step, step):
        hq, host, again, device = (
            pixels[top : top + SIZE, left : left + SIZE] for top in range(MARGIN, 4 * step, step)
        )
        np.testing.assert_array_equal(hq, again)
        assert abs(np.std(host - hq) - np.std(device - hq)) < 0.01
        assert np.std(device - host) > 0.1  # noise of their own


@pytest.mark.slow
@pytest.mark.parametrize("out", ["file/pairs.png", "pairs.jpg"])
def test_a_picture_that_cannot_be_written_is_one_line(out, tmp_path):
    (tmp_path / "file").write_text("")
    done = preview("--config", "configs/denoising.py:tiny", f"--out={tmp_path / out}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert out in done.stderr and not (tmp_path / "pairs.jpg").exists()
