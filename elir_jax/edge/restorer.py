"""Restore pictures of any size with an exported file, as ``elir_jax.Restorer`` does."""

import functools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from elir_jax.edge.file import Exported, Run, read_exported, session, verified
from elir_jax.edge.layout import FIDELITY
from elir_jax.edge.threefry import unit_noise
from elir_jax.errors import UserError
from elir_jax.inference.calling import AnyRestorer
from elir_jax.inference.given import checked_fidelity, checked_steps
from elir_jax.inference.parts import Local, Part, Whole, Window
from elir_jax.inference.whole_pictures import WholePictures

REACHES = {reach.__name__: reach for reach in (Local, Whole, Window)}


class Flow(NamedTuple):
    """How the flow is solved: M Euler steps, from the mean with noise of this deviation.

    ``fidelity`` is the restoration's place between the posterior mean, 0, and the flow's end, 1.
    """

    steps: int
    sigma_s: float
    noise: bool
    fidelity: float


class Restorer(AnyRestorer):
    """Restores pictures of any size by onnxruntime, without JAX (:class:`AnyRestorer`)."""

    def __init__(self, file: Exported, flow: Flow):
        self.about, self._made_of = file.about, (file, flow)
        pictures = WholePictures(edge_parts(file, flow), _here, 1, unit_noise)
        task = file.about["config"]["degradation"]["name"]
        super().__init__(file.about["title"], pictures, (None, None), task)

    def __reduce__(self):
        return type(self), self._made_of  # the file's bytes; sessions are opened anew

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        steps: int | None = None,
        noise: bool = True,
        fidelity: float | None = None,
    ) -> "Restorer":
        """Load a file that ``python -m elir_jax.export`` wrote.

        ``steps`` is the number of Euler steps, if not the file's; without ``noise`` the flow starts
        at the posterior mean; ``fidelity`` is the place of the restoration between the posterior
        mean, 0, and the full sample, 1, if not the file's. Raises UserError, also if a weight is
        not what was written.
        """
        file = verified(read_exported(Path(path)))
        return cls.of(file, steps=steps, noise=noise, fidelity=fidelity)

    @classmethod
    def of(
        cls, file: Exported, *, steps: int | None, noise: bool, fidelity: float | None = None
    ) -> "Restorer":
        """The same for a file in memory."""
        steps, fidelity = checked_steps(steps), checked_fidelity(fidelity)
        try:
            flow = Flow(**file.about["flow"])
            _check_knob(file, flow, fidelity)
            flow = flow._replace(steps=steps or flow.steps, noise=flow.noise and noise)
            return cls(file, flow if fidelity is None else flow._replace(fidelity=fidelity))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{file.path}: its metadata are damaged ({error}); write it anew with "
                f"elir_jax.export"
            ) from error


def _check_knob(file: Exported, flow: Flow, fidelity: float | None) -> None:
    """Raise UserError if the graph was written for another fidelity alone."""
    takes = any(FIDELITY in said["inputs"] for said in file.about["parts"])
    if fidelity not in (None, flow.fidelity) and not takes:
        raise UserError(
            f"{file.path}: made for the fidelity {flow.fidelity} alone; write it anew with "
            f"elir_jax.export --fidelity {fidelity}"
        )


def edge_parts(file: Exported, flow: Flow) -> tuple[Part, ...]:
    """The parts that the file describes; each loads when it is first used."""
    found, parts = [], file.about["parts"]
    if not flow.fidelity and parts[0]["name"] == "posterior_mean":
        parts = parts[:1]  # the estimate in pixels is the restoration
    for said in parts:
        inputs, output = said["inputs"], said["output"]
        load = functools.cache(functools.partial(session, file, inputs, output))
        given = (np.float32([flow.fidelity]),) if FIDELITY in inputs else ()
        steps = tuple(f"step_{m + 1}" for m in range(flow.steps))
        shows = tuple(said["shows"])
        if said["noisy"]:
            shows = ("latent_mmse_noisy" if flow.noise else "", *steps)
        found.append(
            Part(
                said["name"],
                _flow(load, flow) if said["noisy"] else _network(load, given),
                REACHES[said["reach"]](**said["sizes"]),
                Fraction(said["scale"]),
                said["noisy"],
                shows,
                tuple(said["through"]),
                said["also"],
            )
        )
    return tuple(found)


def _network(load: Callable[[], Run], given: tuple[np.ndarray, ...]):
    def apply(params, frozen, x, eps):
        return [load()(*(x if isinstance(x, tuple) else (x,)), *given)]

    return apply


def _flow(load: Callable[[], Run], flow: Flow):
    """Algorithm 1, stage 2, as ``elir_jax.flow.path`` has it."""
    step = np.float32([1 / flow.steps])

    def apply(params, frozen, mean, eps):
        z = mean + np.float32(flow.sigma_s) * eps if flow.noise else mean
        states = [z]
        for m in range(flow.steps):
            states.append(load()(states[-1], np.float32([m / flow.steps]), step))
        return states

    return apply


def _here(segment: Callable[[Any, Any], np.ndarray]):
    """Run a segment in this process, on all rows."""
    return segment
