"""The commands. If Ctrl-C comes while their modules load, they end without a traceback."""

import sys


def _end_quietly(kind, error, trace, otherwise=sys.excepthook) -> None:
    """Later, :func:`elir_jax.commands.frame.exit_code_of` catches it."""
    if not issubclass(kind, KeyboardInterrupt):
        otherwise(kind, error, trace)
    elif sys.stderr is not None:
        sys.stderr.write("interrupted\n")


sys.excepthook = _end_quietly
