"""jaxtyping's names of NumPy arrays, for the files that restore without JAX.

``elir_jax.edge`` needs NumPy, Pillow and onnxruntime only. If jaxtyping is not installed, the names
stand for arrays of any shape and type.
"""

try:
    from jaxtyping import Float32, Int, Shaped, UInt8, UInt16, UInt32
except ImportError:

    class _Any:
        def __class_getitem__(cls, described):
            return described[0]  # the class of the array

    Float32 = Int = Shaped = UInt8 = UInt16 = UInt32 = _Any

__all__ = ["Float32", "Int", "Shaped", "UInt8", "UInt16", "UInt32"]
