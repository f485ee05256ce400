"""ELIR's sampler (Algorithm 1): encode, estimate, add noise, M Euler steps, decode."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from elir_jax.flow.solvers import euler, euler_trajectory
from elir_jax.types import Image, Latent, Networks, Params, SampleKeys


@dataclasses.dataclass(frozen=True)
class Sampler:
    """How a restoration is drawn.

    ``num_steps`` is M, ``sigma_s`` the standard deviation of the source noise in latent units.
    """

    num_steps: int
    sigma_s: float
    noise: bool = True

    def __post_init__(self):
        if self.num_steps < 1:
            raise ValueError(f"sampler: num_steps must be at least 1, got {self.num_steps}")

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages of :func:`restoration_stages`, in Table 3's order; its noisy mean is left out.

        It would cost one more decoded image a picture, in each evaluation.
        """
        steps = (f"step_{m + 1}" for m in range(self.num_steps))
        return ("input", "latent_mmse", *steps, "restored")

    def source(self, z_mmse: Latent, eps: Latent) -> Latent:
        """``z_0``: the posterior mean, with the unit noise ``eps`` unless ``noise`` is off."""
        return z_mmse + self.sigma_s * eps if self.noise else z_mmse


def unit_noise(keys: SampleKeys, like: Latent) -> Latent:
    """``eps``: each sample's own standard normal noise, in the shape of ``like``."""
    return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:]))(keys)


def posterior_mean(networks: Networks, params: Params, frozen: Params, x_lq: Image) -> Latent:
    """``z_mmse`` of degraded images in [0, 1] (Algorithm 1, stage 1)."""
    z_lq = networks.encode(params.get("encoder", frozen["encoder"]), x_lq)
    return networks.estimate(params["estimator"], z_lq)


def restore(
    networks: Networks,
    sampler: Sampler,
    params: Params,
    frozen: Params,
    x_lq: Image,
    keys: SampleKeys,
) -> Image:
    """Degraded images in [0, 1] -> restored ones, not clipped; sides must be multiples of 32."""
    z_mmse = posterior_mean(networks, params, frozen, x_lq)
    z_0 = sampler.source(z_mmse, unit_noise(keys, z_mmse))
    z_1 = euler(lambda z, t: networks.velocity(params["velocity"], z, t), z_0, sampler.num_steps)
    return networks.decode(frozen["decoder"], z_1)


def restoration_stages(
    networks: Networks,
    sampler: Sampler,
    params: Params,
    frozen: Params,
    x_lq: Image,
    keys: SampleKeys,
) -> dict[str, Image]:
    """Every stage of ``sampler.stage_names`` as an image; ``restored`` is the last step's."""
    z_mmse = posterior_mean(networks, params, frozen, x_lq)
    states = euler_trajectory(
        lambda z, t: networks.velocity(params["velocity"], z, t),
        sampler.source(z_mmse, unit_noise(keys, z_mmse)),
        sampler.num_steps,
    )

    def decode(z):
        return networks.decode(frozen["decoder"], z)

    steps = [decode(states[m]) for m in range(sampler.num_steps)]
    return dict(zip(sampler.stage_names, [x_lq, decode(z_mmse), *steps, steps[-1]], strict=True))


def latent_trajectories(
    networks: Networks,
    sampler: Sampler,
    params: Params,
    frozen: Params,
    x_hq: Image,
    x_lq: Image,
    keys: SampleKeys,
) -> Float[Array, "b points dims"]:
    """``z_0``, the latent after each Euler step, and at last ``z_hq``, one row each (Figure 10)."""
    z_mmse = posterior_mean(networks, params, frozen, x_lq)
    z_0 = sampler.source(z_mmse, unit_noise(keys, z_mmse))
    states = euler_trajectory(
        lambda z, t: networks.velocity(params["velocity"], z, t), z_0, sampler.num_steps
    )
    z_hq = networks.encode(frozen["encoder"], x_hq)
    points = jnp.concatenate([z_0[None], states, z_hq[None]])
    return points.swapaxes(0, 1).reshape(len(x_hq), len(points), -1)
