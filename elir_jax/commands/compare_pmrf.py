"""Compare PMRF's method with a checkout of its public code: the part of the command for its files.

Both sides get the averaged weights of one checkpoint, the same pictures, noise and times.
"""

import argparse

import numpy as np

from elir_jax.errors import UserError
from elir_jax.networks.hdit import HDiT
from elir_jax.parity.pictures import middle, psnr_between, read_middle
from elir_jax.parity.pmrf import Method, method_of, restoration_rows, train, training_rows
from elir_jax.parity.pmrf_checkout import PmrfCheckout
from elir_jax.parity.table import Row
from elir_jax.pictures.images import to_float
from elir_jax.weights.hdit import hdit_tensors
from elir_jax.weights.pmrf import Pmrf, read_pmrf
from elir_jax.weights.swinir import swinir_tensors

FACTOR = 64  # SwinIR's windows of 8 at an eighth of the size; HDiT's smallest neighbourhood fits
CROP = 128  # pixels, of the pictures that the updates are compared on
UPDATES = 10
NOISE = 0.1  # of the degraded crops


def compare_pmrf(options: argparse.Namespace) -> tuple[list[Row], dict[str, float]]:
    """All rows, and the PSNR between the two restorations of each image in dB."""
    checkpoint = read_pmrf(options.checkpoint)
    hdit, swinir = networks_of(options, checkpoint)
    method = method_of(hdit[1], swinir[1])
    checkout = PmrfCheckout(options.reference_repo, hdit, swinir, options.sigma_s)
    rng = np.random.default_rng(options.seed)
    rows, agreement, crops = [], {}, []
    for path in options.image:
        y = to_float(read_middle(path, FACTOR))[None]
        eps = rng.standard_normal(y.shape, np.float32)
        recorded = checkout.restoration(y, eps, options.num_steps)
        found, restored = restoration_rows(method, recorded, y, eps, options.sigma_s)
        agreement[str(path)] = psnr_between(restored, recorded["restored"])
        rows += [row._replace(stage=f"{path.name}: {row.stage}") for row in found]
        size = min(*y.shape[1:3], CROP) // FACTOR * FACTOR
        crops.append(middle(y[0], size, size))
    return rows + updates(method, checkout, crops, rng, options.sigma_s), agreement


def networks_of(options: argparse.Namespace, checkpoint: Pmrf):
    """((HDiT, its tensors), (SwinIR, its tensors)). Raises UserError if there are not both."""
    model, estimator = checkpoint.model, checkpoint.estimator
    if not isinstance(model.module, HDiT) or estimator is None:
        raise UserError(
            f"{options.checkpoint}: not both networks; give a checkpoint of PMRF's stage flow"
        )
    hdit = hdit_tensors(model.module, model.best)
    if hdit["patch_in.proj.weight"].shape[1] != hdit["patch_out.proj.weight"].shape[0]:
        raise UserError(
            f"{options.checkpoint}: its velocity sees a condition; only PMRF itself is compared"
        )
    return (model.module, hdit), (
        estimator.module,
        swinir_tensors(estimator.module, estimator.best),
    )


def updates(
    method: Method,
    checkout: PmrfCheckout,
    crops: list[np.ndarray],
    rng: np.random.Generator,
    sigma_s: float,
) -> list[Row]:
    """The rows of ten updates on one batch: the crops of all pictures, and their mirror images."""
    size = min(crop.shape[0] for crop in crops)
    x = np.stack([middle(crop, size, size) for crop in crops])
    x = np.concatenate([x, x[:, :, ::-1]])
    shape = (UPDATES, *x.shape)
    y = x + np.float32(NOISE) * rng.standard_normal(shape, np.float32)
    u, eps = rng.random(shape[:2], np.float32), rng.standard_normal(shape, np.float32)
    given = np.broadcast_to(x, shape), y, u, eps
    return training_rows(method, checkout.training(*given), train(method, *given, sigma_s))
