"""The command ``python -m elir_jax.data.prepare``; :mod:`elir_jax.commands.prepare` has it."""

import sys

from elir_jax.commands.prepare import main

if __name__ == "__main__":
    sys.exit(main())
