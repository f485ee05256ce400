"""ELIR in JAX: image restoration by latent consistency flow matching."""

__all__ = ["Restorer"]


def __getattr__(name: str):
    """``Restorer``, when it is first asked for: it loads jax."""
    if name == "Restorer":
        from elir_jax.restorer import Restorer

        return Restorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
