"""Do two checkouts compute the same numbers? python benchmarks/same_numbers.py BEFORE AFTER

Each checkout trains the quickstart's small form for 20 steps; then both restore the same
photographs with the weights that BEFORE trained, and evaluate them on two folders. Losses, pixels
and figures are compared bit for bit, on this machine; the exit code is 1 if any differs. Commands
and fields keep their names, so commits from before a reorganisation can be compared with later
ones. ``--no-noise`` compares commits that draw different noise.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

TRAINING = ["--config", "configs/quickstart.py:tiny", "--config.num_steps=20"]
SIDE = 160  # pixels of the photographs


def run(checkout: Path, *words: str) -> None:
    """Run a command of a checkout; its output is shown if it fails."""
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    done = subprocess.run(
        [sys.executable, *words], cwd=checkout, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{checkout}: {' '.join(words)}\n{done.stdout}{done.stderr}")


def write_pairs(folder: Path) -> None:
    """Two photographs and noisy versions of them, in ``hq`` and ``lq``."""
    rng = np.random.default_rng(0)
    for name in ("astronaut", "coffee"):
        clean = getattr(data, name)()[:SIDE, :SIDE]
        noisy = np.clip(clean + rng.normal(0, 30, clean.shape), 0, 255).astype(np.uint8)
        for side, image in (("hq", clean), ("lq", noisy)):
            (folder / side).mkdir(exist_ok=True)
            Image.fromarray(image).save(folder / side / f"{name}.png")


def losses(workdir: Path) -> list[dict]:
    """The metrics of each step that do not depend on the clock."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    names = ("step", "loss", "grad_norm", "param_norm", "update_norm")
    return [{name: row[name] for name in names} for row in rows if "loss" in row]


def figures(folder: Path) -> dict:
    """The means of the only evaluation in a folder, whichever commit wrote them.

    Commits before evaluations had folders of their own wrote the means alone.
    """
    (path,) = folder.rglob("metrics.json")
    stored = json.loads(path.read_text())
    return stored.get("figures", stored)


def numbers(checkout: Path, weights: Path | None, place: Path, noise: list[str]) -> dict:
    """All compared numbers; ``weights`` None: those that this checkout trains."""
    workdir = place / "run"
    run(checkout, "train.py", *TRAINING, f"--workdir={workdir}")
    weights, pairs = weights or workdir, place.parent
    run(checkout, "-m", "elir_jax.restore", str(pairs / "lq"), "--output", str(place / "restored"),
        "--checkpoint", str(weights), *noise)  # fmt: skip
    restored = sorted((place / "restored").glob("*.png"))
    found = {
        "training": losses(workdir),
        "restore": [np.asarray(Image.open(path)).tolist() for path in restored],
    }
    if not noise:
        run(checkout, "evaluate.py", f"--lq={pairs / 'lq'}", f"--hq={pairs / 'hq'}",
            f"--checkpoint={weights}", f"--workdir={place / 'figures'}")  # fmt: skip
        found["evaluate"] = figures(place / "figures" / "evaluation")
    return found


def main() -> int:
    """Print a line for each comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", metavar="BEFORE", type=Path)
    parser.add_argument("after", metavar="AFTER", type=Path)
    parser.add_argument("--no-noise", action="store_true", help="restore without source noise")
    options = parser.parse_args()
    noise = ["--no-noise"] if options.no_noise else []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_pairs(place)
        before = numbers(options.before, None, place / "before", noise)
        after = numbers(options.after, place / "before" / "run", place / "after", noise)
    same = {name: before[name] == after[name] for name in before}
    for name, equal in same.items():
        print(f"{name:<10} {'the same, bit for bit' if equal else 'DIFFERENT'}")
    return 0 if all(same.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
