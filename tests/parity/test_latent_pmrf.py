"""Sim-VAE and the velocity make of drawn weights what Latent-PMRF's public code makes of them.

The comparison with a checkout, which the variable LATENT_PMRF_CHECKOUT names, needs torch and
einops, and a process of its own: it replaces modules.
"""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import latent_pmrf_golden as golden
import numpy as np
import pytest
from pmrf_golden import HERE, distance

from elir_jax.errors import UserError
from elir_jax.parity.latent_pmrf_checkout import LatentPmrfCheckout
from elir_jax.weights.hdit import read_hdit
from elir_jax.weights.layouts import Source
from elir_jax.weights.sim_vae import read_sim_vae

TOLERANCE = 2e-5  # of the largest value
SEARCHED = [str(HERE / "support"), str(HERE.parent), *sys.path]
THEIRS = """
import sys
from pathlib import Path
import numpy as np
import latent_pmrf_golden as golden
from elir_jax.parity.latent_pmrf_checkout import LatentPmrfCheckout
vae, hdit = golden.tensors()
public = LatentPmrfCheckout(Path(sys.argv[1]), (golden.VAE, vae), (golden.HDIT, hdit))
np.savez(sys.argv[2], **golden.outputs(public))
"""


@pytest.fixture(scope="module")
def ours():
    """What our networks make of the inputs."""
    vae, hdit = (Source("file", "", tensors, str) for tensors in golden.tensors())
    module, params = read_sim_vae(vae)
    velocity, variables = read_hdit(hdit)
    assert module == golden.VAE and velocity == golden.HDIT

    @jax.jit
    def run(params, variables, x, z, t):
        posterior = module.encoder.apply({"params": params["encoder"]}, x)
        moments = jnp.concatenate([posterior.mean, posterior.logvar], -1)
        decoded = module.decoder.apply({"params": params["decoder"]}, posterior.mean)
        return moments, decoded, velocity.apply(variables, z, t)

    given = map(jnp.asarray, golden.inputs().values())
    return dict(
        zip(("moments", "decoded", "velocity"), run(params, variables, *given), strict=True)
    )


def compare(ours, theirs):
    assert ours.keys() == set(theirs)
    for name, value in ours.items():
        assert distance(value, theirs[name]) <= TOLERANCE, name


def test_the_networks_are_those_that_were_recorded(ours):
    with np.load(golden.GOLDEN) as recorded:
        compare(ours, dict(recorded))


def test_the_networks_are_those_of_a_checkout(ours, tmp_path):
    named = os.environ.get("LATENT_PMRF_CHECKOUT", "")
    if not (Path(named) / "latent_pmrf").is_dir():
        pytest.skip("no checkout of Latent-PMRF's public code; LATENT_PMRF_CHECKOUT names none")
    pytest.importorskip("torch", reason="Latent-PMRF's public code needs torch")
    pytest.importorskip("einops", reason="Latent-PMRF's public code needs einops")
    out = tmp_path / "out.npz"
    subprocess.run(
        [sys.executable, "-c", THEIRS, named, str(out)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(SEARCHED)},
        check=True,
    )
    compare(ours, dict(np.load(out)))


def test_a_folder_without_the_code_is_named(tmp_path):
    vae, hdit = golden.tensors()
    with pytest.raises(UserError, match="no folder latent_pmrf"):
        LatentPmrfCheckout(tmp_path, (golden.VAE, vae), (golden.HDIT, hdit))
