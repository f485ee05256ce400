"""Restore pictures without JAX, from a file that ``python -m elir_jax.export`` wrote.

``elir_jax.edge`` needs NumPy, Pillow and onnxruntime only::

    from elir_jax.edge import Restorer

    restored = Restorer.load("photo.onnx")(picture, seed=0)

It uses the windows, the padding and the noise of ``elir_jax.Restorer``.
"""

from elir_jax.edge.restorer import Restorer

__all__ = ["Restorer"]
