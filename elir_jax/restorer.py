"""Restoration from Python: ``Restorer.load("photo")``, then ``restorer(images, seed=0)``."""

from pathlib import Path
from typing import Any

import jax

from elir_jax.compose.restoration import Restoration, build_restoration
from elir_jax.compose.restoring import restoring, whole_pictures
from elir_jax.configurations import read_config
from elir_jax.devices.mesh import replicate
from elir_jax.evaluation.measure import Restoring
from elir_jax.inference.calling import AnyRestorer
from elir_jax.inference.given import checked_fidelity, checked_steps


class Restorer(AnyRestorer):
    """Restores pictures of any size, on all local devices (:class:`AnyRestorer`)."""

    def __init__(self, restoration: Restoration):
        self.method, self._config = restoration.method, restoration.config
        weights = replicate((restoration.params, restoration.frozen))
        pictures = whole_pictures(self.method.parts)
        super().__init__(restoration.title, pictures, weights, restoration.task)

    def __reduce__(self):
        """The weights and the configuration of the networks; programs are compiled anew."""
        weights = jax.device_get(self.weights)
        return type(self), (
            Restoration(self.title, self.method, *weights, self.task, self._config),
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        config: Any = None,
        *,
        steps: int | None = None,
        noise: bool = True,
        dtype: str | None = None,
        fidelity: float | None = None,
    ) -> "Restorer":
        """Load a model that ships (``photo``, ``denoising``), or weights of your own.

        ``path`` is such a name, a run's folder, a folder of converted weights, a model's file, or a
        file of the release. ``config`` (``configs/NAME.py``, or a ConfigDict) is for weights
        without a configuration. ``steps`` is M, the number of Euler steps; without ``noise`` the
        flow starts at the posterior mean; ``dtype`` is float32 or bfloat16. ``fidelity`` is the
        place of the restoration between the posterior mean, 0, and the full sample, 1. None: as
        configured. Raises UserError.
        """
        changes = {"sampler.num_steps": checked_steps(steps), "dtype": dtype}
        changes["sampler.fidelity"] = checked_fidelity(fidelity)
        changes = {field: value for field, value in changes.items() if value is not None}
        if not noise:
            changes["sampler.noise"] = False
        chosen = read_config(config) if isinstance(config, str) else config
        return cls(build_restoration(Path(path), chosen, changes))

    def restoring(self, seed: int = 0) -> Restoring:
        """These weights in the form that evaluation uses."""
        return restoring(self.method, seed)(self.weights)
