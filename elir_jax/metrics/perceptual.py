"""LPIPS, DISTS, NIQE, MUSIQ, CLIP-IQA and FID, through IQA-PyTorch (``pyiqa``) if it is installed.

The settings are those of the paper's release: LPIPS on VGG's features, and the defaults of pyiqa
for the others (MUSIQ of KonIQ-10k, CLIP-IQA on ResNet-50, NIQE on luma, FID with clean-fid's
resizing). Images are rounded to 8 bits first, as they would be saved, so anybody can get the same
figures from the saved files. pyiqa uses a GPU if PyTorch sees one, otherwise the CPU.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image as PILImage

from elir_jax.errors import UserError
from elir_jax.metrics.frechet import Statistics, describe, frechet_distance, read_statistics

NAMES = ("lpips", "dists", "niqe", "musiq", "clipiqa", "fid")
OPTIONS = {"lpips": {"net": "vgg"}}
INSTALL = "pip install -r requirements-metrics.txt"

# The files that each metric reads (pyiqa 0.1.16): folder under PyTorch's hub, and address.
STORE = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main"
VGG = "https://download.pytorch.org/models/vgg16-397923af.pth"
CLIP = (
    "https://openaipublic.azureedge.net/clip/models/"
    "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762/RN50.pt"
)
WEIGHTS = {
    "lpips": (("checkpoints", VGG), ("pyiqa", f"{STORE}/LPIPS_v0.1_vgg-a78928a0.pth")),
    "dists": (("checkpoints", VGG), ("pyiqa", f"{STORE}/DISTS_weights-f5e65c96.pth")),
    "niqe": (("pyiqa", f"{STORE}/niqe_modelparameters.mat"),),
    "musiq": (("pyiqa", f"{STORE}/musiq_koniq_ckpt-e95806b9.pth"),),
    "clipiqa": (("clip", CLIP),),
    "fid": (("pyiqa", f"{STORE}/pt_inception-2015-12-05-6726825d.pth"),),
}

Batch = Float[np.ndarray, "b h w 3"]
Features = Float[np.ndarray, "n f"]


class Fid(NamedTuple):
    """A function from a folder to its images' features, and the statistics to compare with."""

    features: Callable[[Path], Features]
    reference: Statistics


class Perceptual:
    """The available metrics: of single images (:meth:`measure`), and FID of sets of images.

    ``names`` are the metrics of single images; ``notes`` has a line for each figure that failed.
    """

    def __init__(self, by_image: dict[str, Callable], fid: Fid | None):
        self.names = tuple(by_image)
        self._by_image = by_image
        self._fid = fid
        self._features: dict[str, list[Features]] = {}
        self._notes: dict[str, str] = {}

    @property
    def figures(self) -> tuple[str, ...]:
        """``names``, and ``fid`` if there is something to compare with."""
        return self.names if self._fid is None else (*self.names, "fid")

    @property
    def notes(self) -> list[str]:
        return list(self._notes.values())

    def measure(self, x: Batch, reference: Batch) -> dict[str, Float[np.ndarray, " b"]]:
        """Each metric of each image in ``x``, clipped to [0, 1], against ``reference``.

        If a metric fails on an image, for example because it is too small, the figure is NaN and a
        note gives the reason.
        """
        restored, originals = _eight_bits(x), _eight_bits(reference)
        return {
            name: np.array(
                [self._one(name, *pair) for pair in zip(restored, originals, strict=True)],
                np.float32,
            )
            for name in self.names
        }

    def _one(self, name: str, restored: PILImage.Image, original: PILImage.Image) -> float:
        try:
            # pyiqa ignores the original if a metric needs none.
            value = float(self._by_image[name](restored, original))
        except Exception as error:  # if a metric fails on an image, the others continue
            value, reason = np.nan, _line(error)
        else:
            reason = f"pyiqa returned {value}"
        if np.isfinite(value):
            return value
        size = f"{restored.width}x{restored.height} pixels"
        self._notes.setdefault(name, f"{name}: failed on an image of {size} ({reason})")
        return np.nan

    def add(self, stage: str, images: Batch) -> None:
        """Add ``images``, clipped to [0, 1], to the set of ``stage``."""
        if self._fid is None or f"fid {stage}" in self._notes:
            return
        try:
            with tempfile.TemporaryDirectory(prefix="fid") as folder:
                for number, image in enumerate(_eight_bits(images)):
                    image.save(Path(folder) / f"{number}.png")
                self._features.setdefault(stage, []).append(self._fid.features(Path(folder)))
        except Exception as error:  # a full disk, or PyTorch out of memory: the others continue
            self._lose_fid(stage, error)

    def finish(
        self, stages: Sequence[str], gather: Callable[[Features], Features] = lambda rows: rows
    ) -> dict[str, float]:
        """The FID of each stage over all added images; :attr:`notes` lists failed stages.

        ``gather`` turns this process's features into those of all processes, which all call it for
        the same ``stages``.
        """
        figures: dict[str, float] = {}
        if self._fid is None:
            return figures
        for stage in stages:
            lost = np.array([[f"fid {stage}" in self._notes]], np.float32)
            mine = self._features.get(stage, [np.zeros((0, 0), np.float32)])
            lost, features = gather(lost), gather(np.concatenate(mine))
            try:
                if lost.any():
                    raise ValueError("some of the images have no features")
                figures[stage] = frechet_distance(describe(features), self._fid.reference)
            except (ValueError, np.linalg.LinAlgError) as error:
                self._lose_fid(stage, error)
        return figures

    def _lose_fid(self, stage: str, error: Exception) -> None:
        self._features.pop(stage, None)
        line = f"fid: failed on the stage {stage} ({_line(error)})"
        self._notes.setdefault(f"fid {stage}", line)  # the first reason counts


NOTHING = Perceptual({}, None)  # no metric at all


def open_perceptual(fid_reference: Path | None) -> tuple[Perceptual, list[str]]:
    """The available metrics, and one line for each other one, with the remedy.

    ``fid_reference``: a folder of images, or an ``.npz`` file with their ``mu`` and ``sigma`` (the
    release uses ``ffhq_clean_trainval70k_512.npz``, from the same place as pyiqa's weights). Prints
    a line before each download. Raises UserError if ``fid_reference`` is neither.
    """
    given = _open_reference(fid_reference)
    try:
        from pyiqa import create_metric
    except Exception as error:  # an incompatible PyTorch and torchvision may raise anything
        absent = isinstance(error, ModuleNotFoundError) and error.name == "pyiqa"
        reason = "is not installed" if absent else f"cannot be loaded ({_line(error)})"
        return NOTHING, [f"{', '.join(NAMES)}: the package pyiqa {reason}; {INSTALL}"]

    metrics, fid, missing = {}, None, []
    for name in NAMES:
        if name == "fid" and given is None:
            missing.append("fid: nothing to compare with; name a folder of images or an .npz file")
            continue
        _announce(name)
        try:
            metric = create_metric(name, **OPTIONS.get(name, {}))
            if name == "fid":
                fid = _open_fid(metric, given)
            else:
                metrics[name] = metric
        except Exception as error:  # no network, a damaged file, a package that pyiqa misses
            missing.append(f"{name}: {_remedy(name, error)}")
    return Perceptual(metrics, fid), missing


def _open_reference(path: Path | None) -> Path | Statistics | None:
    if path is None or path.is_dir():
        return path
    if path.suffix != ".npz" or not path.is_file():
        raise UserError(f"{path}: no such file; FID needs a folder of images or an .npz file")
    return read_statistics(path)


def _open_fid(metric: Callable, given: Path | Statistics) -> Fid:
    from pyiqa.archs.fid_arch import get_folder_features

    def features(folder: Path) -> Features:
        # Without workers, which would be forks of a process in which JAX runs, and might hang.
        return get_folder_features(
            str(folder),
            metric.net.model,
            num_workers=0,
            batch_size=8,
            device=metric.device,
            mode="clean",
            verbose=False,
        )

    if isinstance(given, Statistics):
        return Fid(features, given)
    print(f"fid: reading the images in {given}", flush=True)
    return Fid(features, describe(features(given)))


def _absent(name: str) -> list[tuple[str, Path]]:
    """(address, folder) of each file of the metric that is missing on this machine."""
    from pyiqa.utils.download_util import DEFAULT_CACHE_DIR

    hub = Path(DEFAULT_CACHE_DIR).parent
    places = [(address, hub / folder) for folder, address in WEIGHTS[name]]
    return [(url, folder) for url, folder in places if not (folder / Path(url).name).exists()]


def _announce(name: str) -> None:
    for address, folder in _absent(name):
        print(f"{name}: downloading {address} to {folder}", flush=True)


def _remedy(name: str, error: Exception) -> str:
    absent = _absent(name)
    if not absent:
        return f"pyiqa cannot create it ({_line(error)}); {INSTALL}"
    by_hand = ", and ".join(f"put {address} into {folder}" for address, folder in absent)
    return f"its weights are missing ({_line(error)}); connect to the network, or {by_hand}"


def _eight_bits(images: Batch) -> list[PILImage.Image]:
    pixels = np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)
    return [PILImage.fromarray(image) for image in pixels]


def _line(error: Exception) -> str:
    """The message of an error, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
