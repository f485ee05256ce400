"""The command ``python -m elir_jax.interop.compare``; :mod:`elir_jax.commands.compare` has it."""

import sys

from elir_jax.commands.compare import main

if __name__ == "__main__":
    sys.exit(main())
