"""What a report calls stages and metrics, and which way a metric is better."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

STAGES = {"latent_mmse": "latent MMSE", "latent_mmse_noisy": "latent MMSE + noise"}

Value = TypeVar("Value")


class Metric(NamedTuple):
    """A metric for readers; ``better`` is 1 where larger is, -1 where smaller is, 0 if unknown."""

    title: str
    better: int = 0
    form: str = ".4g"
    unit: str = ""

    @property
    def heading(self) -> str:
        """The title with its unit: ``PSNR (dB)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def direction(self) -> str:
        """Which way is better, in words; nothing where nobody knows."""
        return {1: "larger is better", -1: "smaller is better", 0: ""}[self.better]


KNOWN = {
    "psnr": Metric("PSNR", 1, ".2f", "dB"),
    "ssim": Metric("SSIM", 1, ".4f"),
    "lpips": Metric("LPIPS", -1, ".4f"),
    "fid": Metric("FID", -1, ".2f"),
    "niqe": Metric("NIQE", -1, ".2f"),
    "musiq": Metric("MUSIQ", 1, ".2f"),
    "clipiqa": Metric("CLIP-IQA", 1, ".4f"),
}
# How natural a picture looks, the first one being what the paper plots.
PERCEPTUAL = ("fid", "lpips", "musiq", "niqe", "clipiqa")


def metric_named(name: str) -> Metric:
    """What is known of a metric; of one that nobody has described, its name."""
    return KNOWN.get(name, Metric(name))


def metric_names(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Every metric that any stage has, in the order of ``figures[stage][metric]``."""
    return list(dict.fromkeys(itertools.chain.from_iterable(figures.values())))


def stage_title(stage: str) -> str:
    """``step_2`` -> ``step 2``."""
    return STAGES.get(stage, stage.replace("_", " "))


def titled(stages: Mapping[str, Value]) -> list[tuple[str, Value]]:
    """(title, value) of each stage; neighbours of equal value are one.

    ELIR's last step is its restoration: ``step 3 = restored``.
    """
    groups = itertools.groupby(stages.items(), key=lambda item: item[1])
    return [(" = ".join(stage_title(name) for name, _ in group), value) for value, group in groups]
