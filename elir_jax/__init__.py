"""ELIR in JAX: image restoration by latent consistency flow matching."""

from elir_jax.errors import UserError

__all__ = ["Restorer", "UserError", "__version__"]
__version__ = "0.1.0"  # stated only here; pyproject.toml reads it


def __getattr__(name: str):
    """Import ``Restorer`` on first use, because it loads jax."""
    if name == "Restorer":
        from elir_jax.restorer import Restorer

        return Restorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
