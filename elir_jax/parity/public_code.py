"""What the comparisons with public PyTorch code have in common: importing it, and its arrays."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from elir_jax.errors import UserError


class PublicCode:
    """The user's checkout of ``whose`` code, which has a ``folder`` of that name.

    Raises UserError if it has not, or if torch is missing.
    """

    def __init__(self, repository: Path, folder: str, whose: str):
        if not (repository / folder).is_dir():
            raise UserError(f"{repository}: has no folder {folder}; name a checkout of {whose}")
        try:
            import torch
        except ImportError as error:
            raise UserError("comparing with a checkout needs torch; pip install torch") from error
        self.torch, self.repository = torch, repository

    @contextmanager
    def building(self) -> Iterator[None]:
        """Within, networks are built; what the checkout cannot do becomes a UserError."""
        try:
            yield
        except ImportError as error:
            raise UserError(
                f"{self.repository}: cannot be imported ({error}); install its requirements"
            ) from error
        except (AttributeError, TypeError, RuntimeError) as error:
            raise UserError(f"{self.repository}: its networks cannot be built: {error}") from error

    def tensor(self, array: np.ndarray) -> Any:
        """NHWC -> NCHW."""
        return self.torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))

    def array(self, value: Any) -> np.ndarray:
        """NCHW -> NHWC."""
        return value.detach().numpy().transpose(0, 2, 3, 1)


def replace_module(name: str, **members: Any) -> None:
    """Let the module ``name`` of this process have these members, and nothing else."""
    sys.modules[name] = ModuleType(name)
    vars(sys.modules[name]).update(members)
