"""The command ``python -m elir_jax.edge``; :mod:`elir_jax.commands.edge` has it."""

import sys

from elir_jax.commands.edge import main

if __name__ == "__main__":
    sys.exit(main())
