"""The sizes that docs/numerics.md prints beside the papers' are those of the networks."""

import functools
import re
from pathlib import Path

import jax
import pytest
from loading import count, load

from elir_jax import compose
from elir_jax.methods.method import untrained
from elir_jax.networks.layers import collapse

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "numerics.md").read_text()
SECTION = TEXT.partition("### Sizes beside the papers'\n")[2].partition("\n### ")[0]
ROWS = {
    cells[0]: int(cells[1].replace(",", ""))
    for line in SECTION.splitlines()
    if re.search(r"\| [\d,]+ \|", line)
    for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
}


@functools.cache
def sizes(name, hidden=0, num_mid_blocks=0, latent_channels=0):
    """Parameters by network, as restoring has them; the frozen ones that training alone needs left
    out."""
    config = load(name).copy_and_resolve_references().unlock()
    if hidden:
        config.velocity.update(hidden=hidden, num_mid_blocks=num_mid_blocks)
    if latent_channels:
        config.autoencoder.latent_channels = latent_channels
    method = compose.METHODS[config.method](config)
    params, frozen = jax.eval_shape(lambda: method.init(jax.random.key(0), untrained))
    trees = jax.eval_shape(collapse, frozen) | jax.eval_shape(collapse, params)
    return {network: count(tree) for network, tree in trees.items() if network != "constants"}


def whole(*given):
    return sum(sizes(*given).values())


EXPECTED = {
    "ELIR, blind face restoration": lambda: whole("bfr"),
    "its velocity": lambda: sizes("bfr")["velocity"],
    "its estimator": lambda: sizes("bfr")["estimator"],
    "its encoder and decoder": lambda: sizes("bfr")["encoder"] + sizes("bfr")["decoder"],
    "ELIR, the tasks at 256x256": lambda: whole("denoising"),
    "their velocity": lambda: sizes("denoising")["velocity"],
    "Table 7, `velocity.hidden=64`": lambda: whole("super_resolution", 64, 1),
    "Table 7, `velocity.hidden=64`, `velocity.num_mid_blocks=4`": lambda: whole(
        "super_resolution", 64, 4
    ),
    "PMRF, blind face restoration": lambda: whole("pmrf_bfr"),
    "PMRF, the tasks at 256x256": lambda: whole("pmrf"),
    "PMRF, its velocity": lambda: sizes("pmrf_bfr")["velocity"],
    "PMRF and Latent-PMRF, the posterior mean": lambda: sizes("pmrf_bfr")["estimator"],
    "Latent-PMRF, its velocity, 16 latent channels": lambda: sizes("latent_pmrf_bfr")["velocity"],
    "Latent-PMRF, its velocity, 32 latent channels": lambda: sizes("latent_pmrf_bfr", 0, 0, 32)[
        "velocity"
    ],
    "Latent-PMRF, posterior mean and Sim-VAE": lambda: (
        sizes("pmrf_bfr")["estimator"] + whole("sim_vae")
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("label", EXPECTED)
def test_a_size_in_the_docs_is_that_of_the_network(label):
    assert ROWS[label] == EXPECTED[label]()


def test_every_size_in_the_docs_is_counted():
    assert ROWS.keys() == EXPECTED.keys()
