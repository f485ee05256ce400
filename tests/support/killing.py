"""Runs in this process that end in the middle, as if it had been killed."""

from contextlib import contextmanager

import pytest

from elir_jax.running.records.checkpoint import read_newest
from elir_jax.running.records.digests import leaf_digests
from elir_jax.running.records.writers import Writers


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def killed_at(step):
    """What is run inside dies before it logs ``step``; it must come that far."""

    def die(self, at, values):
        if at == step:
            raise Killed
        log(self, at, values)

    log = Writers.log
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writers, "log", die)
        with pytest.raises(Killed):
            yield


def saved(workdir):
    """(step, position in the data, digests of all arrays) of the newest checkpoint."""
    found = read_newest(workdir / "checkpoints")
    return found.step, found.data, leaf_digests(found.leaves)
