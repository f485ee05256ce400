"""The command ``python -m elir_jax.interop.convert``; :mod:`elir_jax.commands.convert` has it."""

import sys

from elir_jax.commands.convert import main

if __name__ == "__main__":
    sys.exit(main())
