"""Images -> 8-bit originals, of which the device makes the pairs.

The host decodes, crops and flips, as it does for pairs: the same seed gives the same windows.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from elir_jax.data.pairs import PairMaker
from elir_jax.data.sources import Item
from elir_jax.errors import UserError
from elir_jax.types import Originals


@dataclasses.dataclass(frozen=True)
class OriginalMaker:
    """The window that ``pairs`` would degrade, undegraded, with random bits for the device."""

    batch: ClassVar = Originals
    pairs: PairMaker

    def sample(self, rng: np.random.Generator, item: Item, name: str) -> dict[str, Any]:
        """Pixels and bits. Raises UserError for a given pair."""
        if isinstance(item, tuple):
            raise UserError(
                f"{name}: a pair, whose degraded image the device would not use; choose "
                f"--config.data.degrade_on=host"
            )
        pixels, _ = self.pairs.random_window(rng, item, name)
        return {"pixels": pixels, "bits": rng.integers(2**32, size=2, dtype=np.uint32)}

    def blank(self) -> dict[str, Any]:
        """A black original."""
        side = self.pairs.window
        return {"pixels": np.zeros((side, side, 3), np.uint8), "bits": np.zeros(2, np.uint32)}
