"""Score-guided consistency (SGCL; DirectFlow, equations 7 to 9).

The student's result is mixed with a source, ``q = t z + (1 - t) source``; the teacher's velocity
there gives a clean estimate, ``clip(q + (1 - t) v(q, t))``, and the student is drawn to it. Query
and estimate carry no gradient, so the teacher is never differentiated.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from elir_jax.flow.paths import expand_time, interpolate
from elir_jax.flow.solvers import Velocity
from elir_jax.losses.reduction import squared_error_per_sample
from elir_jax.types import Scalar, Time

State = Float[Array, "b h w c"]


def clean_estimate(
    velocity: Velocity, z: State, source: State, t: Time, limits: tuple[float, float]
) -> State:
    """Where the velocity at time ``t`` in [0, 1] leads from the mixture, clipped to ``limits``."""
    query = jax.lax.stop_gradient(interpolate(source, z, t, 0.0))
    end = query + (1.0 - expand_time(t, query)) * velocity(query, t)
    return jax.lax.stop_gradient(jnp.clip(end, *limits))


def score_guidance(student: State, clean: State, active: Bool[Array, " b"]) -> Scalar:
    """Mean squared error of the active samples, divided by the number of all samples."""
    return jnp.mean(jnp.where(active, squared_error_per_sample(student, clean), 0.0))
