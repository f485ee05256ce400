"""Lock a run's folder, so that only one run uses it at a time."""

from elir_jax.storage.opening import storage_of
from elir_jax.storage.place import Place


def lock(workdir: Place) -> None:
    """Lock the folder for this process; a disk's is created.

    Raises UserError if another run uses it, or if it cannot be created or written.
    """
    storage_of(workdir).lock(workdir)
