"""The command ``python -m elir_jax.data.preview``; :mod:`elir_jax.commands.preview` has it."""

from elir_jax.commands.preview import main

if __name__ == "__main__":
    main()
