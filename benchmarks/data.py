"""Samples per second and core from image file to finished pair, for each task and by stage.

Command: python benchmarks/data.py [--samples 60] [--tasks bfr ...] [--no-step] [--files N]
Files of 512x512 pixels are made from scikit-image's photographs, as PNG and as JPEG of quality 95.
One thread does everything. Tasks take turns, so that a slow moment of the machine affects all of
them; figures are means over the samples, in CPU time: what other jobs take is not counted.
``device``: the host sends 8-bit originals, which the train step degrades. ``plain`` is the BFR
degradation in Pillow and NumPy. Then follow the bytes of a pair on the way to the device, its wait
for a batch, the memory of a list of ``--files`` files, and what degrading costs in the step of BFR.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy is imported: measure one core
os.environ["JAX_PLATFORMS"] = "cpu"

import argparse  # noqa: E402
import io  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections import defaultdict  # noqa: E402
from pathlib import Path  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import listing  # noqa: E402
from benchmarks.device_cost import print_costs  # noqa: E402
from benchmarks.feeding import print_bytes, print_waits  # noqa: E402
from elir_jax.compose.data import build_data  # noqa: E402
from elir_jax.configurations import read_config  # noqa: E402
from elir_jax.data import pairs  # noqa: E402
from elir_jax.data.degradations import (  # noqa: E402
    blind_face_restoration,
    blind_super_resolution,
    tasks,
)
from elir_jax.data.pairs import PairMaker  # noqa: E402
from elir_jax.data.sources import EMBEDDED_HELD_OUT, EmbeddedPhotographs, ImageFiles  # noqa: E402
from elir_jax.pictures import images  # noqa: E402

SIZE = 512
TASKS = (
    "bfr",
    "super_resolution",
    "denoising",
    "inpainting",
    "colorization",
    "blind_super_resolution",
)
STAGES = [  # (module, function, stage)
    (images, "read_bytes", "read"),
    (images, "decode_image", "decode"),
    (pairs, "fit_short_side", "fit"),
    (pairs, "to_float", "to float"),
    (blind_face_restoration, "blur_down", "blur"),
    (blind_face_restoration, "add_noise", "noise"),
    (blind_face_restoration, "jpeg", "JPEG"),
    (blind_face_restoration, "resize_bilinear", "resize"),
    (tasks, "add_noise", "noise"),
    (tasks, "resize_bicubic", "resize"),
    (tasks, "finish", "clip"),
    (blind_super_resolution, "filter_image", "blur"),
    (blind_super_resolution, "resize", "resize"),
    (blind_super_resolution, "jpeg", "JPEG"),
    (blind_super_resolution, "add_gaussian_noise", "noise"),
    (blind_super_resolution, "add_poisson_noise", "noise"),
]


class Stopwatch:
    """A context manager that adds up the seconds spent in the functions of ``STAGES``."""

    def __init__(self):
        self.seconds = defaultdict(float)

    def __enter__(self):
        self.kept = [(module, name, getattr(module, name)) for module, name, _ in STAGES]
        for (module, name, function), (_, _, stage) in zip(self.kept, STAGES, strict=True):
            setattr(module, name, self._timed(function, stage))
        return self

    def __exit__(self, *_):
        for module, name, function in self.kept:
            setattr(module, name, function)

    def _timed(self, function, stage):
        def call(*args, **kwargs):
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[stage] += time.process_time() - start

        return call


def plain_bfr(rng: np.random.Generator, hq: np.ndarray) -> np.ndarray:
    """Equation 10 in plain Pillow and NumPy, for comparison."""
    height, width = hq.shape[:2]
    sigma, r, delta = (rng.uniform(*bounds) for bounds in ((0.1, 12), (1, 12), (0, 15)))
    line = np.exp(-((np.arange(41) - 20) ** 2) / (2 * sigma**2))
    line = (line / line.sum()).astype(np.float32)
    x = hq
    for axis in (0, 1):
        wide = np.pad(x, [(20, 20) if a == axis else (0, 0) for a in range(3)], mode="reflect")
        views = (wide.take(range(i, i + hq.shape[axis]), axis) for i in range(41))
        x = sum(weight * view for weight, view in zip(line, views, strict=True))

    def to_image(array):
        return Image.fromarray(np.round(np.clip(array, 0, 1) * 255).astype(np.uint8))

    small = to_image(x).resize((max(1, round(width / r)), max(1, round(height / r))), 2)
    noisy = np.asarray(small) / np.float32(255)
    noisy = noisy + np.float32(delta / 255) * rng.standard_normal(noisy.shape, np.float32)
    buffer = io.BytesIO()
    to_image(noisy).save(buffer, format="JPEG", quality=int(rng.integers(30, 101)))
    return np.asarray(Image.open(buffer).resize((width, height), 2)) / np.float32(255)


def write_files(folder: Path) -> dict[str, ImageFiles]:
    """The 512x512 centres of the photographs, by kind of file."""
    files = {}
    photographs = EmbeddedPhotographs((*EMBEDDED_HELD_OUT, "immunohistochemistry", "retina"))
    for suffix, options in (("png", {}), ("jpg", {"quality": 95})):
        paths = []
        for i in range(len(photographs)):
            pixels = images.fit_short_side(photographs[i], SIZE)
            paths.append(folder / f"{i}.{suffix}")
            Image.fromarray(images.centre(pixels, SIZE)).save(paths[-1], **options)
        files[suffix] = ImageFiles(paths)
    return files


def load(task: str, side: str):
    """A task's configuration, degraded on one side."""
    config = read_config(f"configs/{task}.py")
    with config.unlocked():
        config.data.embedded = True
        config.data.degrade_on = side
    return config


def measure(makers: dict[str, PairMaker], files: dict[str, ImageFiles], samples: int):
    """Seconds of each sample, and those of its stages, by (task, kind of file)."""
    whole, stages = defaultdict(list), defaultdict(lambda: defaultdict(list))
    for number in range(samples + 1):
        for suffix, source in files.items():
            for task, maker in makers.items():
                index, key = number % len(source), (task, suffix)

                def make(source=source, maker=maker, index=index, number=number):
                    rng = np.random.default_rng(number)
                    start = time.process_time()
                    maker.sample(rng, source[index], "")
                    return time.process_time() - start

                seconds = make()
                with Stopwatch() as watch:
                    make()
                if number:  # the first one warms up
                    whole[key].append(seconds)
                    for stage, spent in watch.seconds.items():
                        stages[key][stage].append(spent)
    return whole, stages


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=60, help="for each task and kind of file")
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--no-step", action="store_true", help="leave the device's cost out")
    parser.add_argument("--files", type=int, default=1_000_000, help="in the list; 0: leave it out")
    options = parser.parse_args()
    cv2.setNumThreads(1)

    data = {}
    for task in options.tasks:
        for side in ("host", "device"):
            name = task if side == "host" else f"{task}, device"
            data[name] = build_data(load(task, side))
    makers = {name: one.maker for name, one in data.items()}
    if "bfr" in makers:
        makers["bfr, plain"] = PairMaker(plain_bfr, SIZE)

    with tempfile.TemporaryDirectory() as folder:
        whole, stages = measure(makers, write_files(Path(folder)), options.samples)
    print(f"{SIZE}x{SIZE} files, one thread, CPU time, {options.samples} samples each")
    print(f"{'task':<32}{'file':>5}{'samples/s/core':>16}{'ms':>8}   mean ms by stage")
    for (task, suffix), seconds in whole.items():
        mean = statistics.fmean(seconds)
        parts = {stage: sum(spent) / len(seconds) for stage, spent in stages[task, suffix].items()}
        listed = ", ".join(f"{stage} {1e3 * spent:.1f}" for stage, spent in parts.items())
        print(f"{task:<32}{suffix:>5}{1 / mean:>16.1f}{1e3 * mean:>8.1f}   {listed}")
    print_bytes(data)
    print_waits(options.tasks[0], data[options.tasks[0]])
    if options.files:
        print(flush=True)
        subprocess.run([sys.executable, listing.__file__, f"--files={options.files}"], check=True)
    if not options.no_step:
        print_costs("configs/bfr.py", load("bfr", "device"))


if __name__ == "__main__":
    main()
