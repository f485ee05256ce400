"""The titles of stages and metrics in a report, and in which direction a metric is better."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

RESTORED = "restored"  # the stage that is the restoration
NOISY = "_noisy"  # ends the name of a stage to which the flow's noise has been added

Value = TypeVar("Value")


class Metric(NamedTuple):
    """How a metric is shown. ``better``: 1 if larger is better, -1 if smaller is, 0 if unknown.

    ``unit`` stands behind the title in brackets: a unit, or the network that the metric computes
    with, if papers differ in it.
    """

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
        """Which direction is better, in words; empty if unknown."""
        return {1: "larger is better", -1: "smaller is better", 0: ""}[self.better]


KNOWN = {
    "psnr": Metric("PSNR", 1, ".2f", "dB"),
    "ssim": Metric("SSIM", 1, ".4f"),
    "ms_ssim": Metric("MS-SSIM", 1, ".4f"),
    "ind_rmse": Metric("IndRMSE", -1, ".2f", "of 255"),
    "lpips": Metric("LPIPS", -1, ".4f", "VGG"),
    "dists": Metric("DISTS", -1, ".4f"),
    "fid": Metric("FID", -1, ".2f"),
    "niqe": Metric("NIQE", -1, ".2f"),
    "musiq": Metric("MUSIQ", 1, ".2f"),
    "clipiqa": Metric("CLIP-IQA", 1, ".4f"),
}
# Metrics of how natural a picture looks. The paper plots the first one.
PERCEPTUAL = ("fid", "lpips", "dists", "musiq", "niqe", "clipiqa")


def metric_named(name: str) -> Metric:
    """How to show the metric; one that is not in ``KNOWN`` is shown by its name."""
    return KNOWN.get(name, Metric(name))


def metric_names(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Every metric that any stage has, in the order of ``figures[stage][metric]``."""
    return list(dict.fromkeys(itertools.chain.from_iterable(figures.values())))


def stage_title(stage: str) -> str:
    """``step_2`` -> ``step 2``; ``latent_mmse_noisy`` -> ``latent MMSE + noise``."""
    words = stage.removesuffix(NOISY).split("_")
    title = " ".join("MMSE" if word == "mmse" else word for word in words)
    return f"{title} + noise" if stage.endswith(NOISY) else title


def place_of_restoration(stages: Sequence[str]) -> int:
    """Where among stages, or their titles, the restoration is; the last if none is called so."""
    places = [place for place, stage in enumerate(stages) if stage.endswith(RESTORED)]
    return places[-1] if places else len(stages) - 1


def join_equal_stages(stages: Mapping[str, Value]) -> list[tuple[str, Value]]:
    """(title, value) of each stage; neighbours with equal values are joined.

    If the last step is the restoration, their title is ``step 3 = restored``.
    """
    groups = itertools.groupby(stages.items(), key=lambda item: item[1])
    return [(" = ".join(stage_title(name) for name, _ in group), value) for value, group in groups]
