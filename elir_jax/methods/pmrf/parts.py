"""PMRF's restoration: the posterior mean, then the flow, each in windows of the trained size.

Positions and attention over all tokens follow the size of a picture, so no other size gives what
was trained.
"""

from elir_jax.flow.sampler import Sampler
from elir_jax.inference.parts import Local, Part, Window
from elir_jax.methods.pmrf.networks import Networks, variables
from elir_jax.methods.pmrf.objective import RectifiedFlow
from elir_jax.methods.posterior_mean.parts import PIXELS_AT_ONCE, posterior_mean_part


def pmrf_parts(
    networks: Networks, objective: RectifiedFlow, sampler: Sampler, window: Window
) -> tuple[Part, ...]:
    """Both parts, or the flow alone if it is given the degraded picture."""
    flow = flow_part(networks, objective, sampler, window)
    if objective.given == "degraded":
        return (flow,)
    shown = ("posterior_mean",)
    return posterior_mean_part(networks.estimate, _estimator, window, shown), flow


def flow_part(
    networks: Networks,
    objective: RectifiedFlow,
    sampler: Sampler,
    window: Window,
    through: tuple[str, ...] = (),
) -> Part:
    """Given picture -> the flow's end; states become pictures by the parts named ``through``."""

    def apply(params, frozen, given, eps):
        velocity = objective.velocity(networks, variables(params, frozen), given)
        return sampler.states(velocity, objective.centre(given), eps)

    shown = "source" if sampler.noise else ""
    return Part("flow", apply, window, noisy=True, shows=(shown, *sampler.steps), through=through)


def target_part() -> Part:
    """The original itself: where a flow in pixels should end."""
    return Part("target", lambda params, frozen, x, eps: [x], Local(0, PIXELS_AT_ONCE))


def _estimator(params, frozen):
    return frozen["estimator"]
