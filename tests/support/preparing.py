"""What the tests of prepared datasets share: images to prepare, and the command."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from elir_jax.commands.prepare import main

ROOT = Path(__file__).resolve().parents[2]


def photograph(seed, height=20, width=24):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def prepare(kind, images, data, *options):
    return main([kind, "--images", str(images), "--data-dir", str(data), *options])


def files(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def python(code, *arguments, **environment):
    """Run ``code``. It writes no bytecode: what tests do to the disk would damage it for good."""
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
