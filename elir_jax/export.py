"""The command ``python -m elir_jax.export``; :mod:`elir_jax.commands.export` has it."""

import sys

from elir_jax.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
