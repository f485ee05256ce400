"""The command ``python -m elir_jax.restore``; :mod:`elir_jax.commands.restore` has it."""

from elir_jax.commands.restore import run

if __name__ == "__main__":
    run()
