"""The frame of both command lines: flags in, exit code out, mistakes in one line.

Exit codes: 0 done; 2 a mistake of the user's (one line says which); 130 after Ctrl-C, 143 after
SIGTERM (training saves first).
"""

import difflib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from elir_jax.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def run(main: Callable[[ConfigDict, Path], int], description: str) -> None:
    """Run ``main(config, workdir)`` under ``--config`` and ``--workdir``; never returns."""
    sys.modules["__main__"].__doc__ = description
    config = config_flags.DEFINE_config_file("config", help_string="configs/NAME.py[:tiny]")
    workdir = flags.DEFINE_string("workdir", None, "folder of the run; default: runs/NAME")

    def guarded(argv: list[str]) -> int:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}; options are written --NAME=VALUE")
        if config.value is None:
            raise UserError("no configuration; give one with --config configs/NAME.py")
        folder = Path(
            workdir.value
            or _default_workdir(config_flags.get_config_filename(flags.FLAGS["config"]))
        )
        return main(config.value, folder)

    def entry(argv: list[str]) -> int:
        logging.set_verbosity(logging.WARNING)  # jax, orbax and matplotlib narrate otherwise
        try:
            return guarded(argv)
        except UserError as error:
            return fail(str(error))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return EXIT_INTERRUPTED

    app.run(entry, flags_parser=_parse)


def fail(message: str) -> int:
    """Print one line for a mistake; returns the exit code."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return EXIT_USER_ERROR


def _default_workdir(config_file: str) -> str:
    """``configs/bfr.py:tiny`` -> ``runs/bfr-tiny``."""
    path, _, variant = config_file.partition(":")
    return os.path.join("runs", Path(path).stem + (f"-{variant}" if variant else ""))


def _parse(argv: list[str]) -> list[str]:
    """absl's parser, with a configuration's mistakes told in one line too."""
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        close = [f"--{name}" for name in getattr(error, "suggestions", [])]
        hint = f"; did you mean {', '.join(close)}?" if close else "; see --help"
        sys.exit(fail(f"unknown option --{error.flagname}{hint}"))
    except (flags.Error, KeyError, AttributeError, TypeError, ValueError, OSError) as error:
        sys.exit(fail(_explain(error, argv)))


def _explain(error: Exception, argv: list[str]) -> str:
    text = str(error.args[0]) if error.args else str(error)
    config_file = next((a.split("=", 1)[-1] for a in argv if a.startswith("--config=")), None)
    if config_file is None and "--config" in argv[:-1]:
        config_file = argv[argv.index("--config") + 1]
    if config_file and isinstance(error, OSError):
        near = difflib.get_close_matches(
            config_file, [str(p) for p in Path("configs").glob("*.py")], 1, 0.3
        )
        hint = f"did you mean {near[0]}?" if near else "see configs/"
        return f"--config {config_file}: no such configuration; {hint}"
    field = re.search(r'"([\w.]+)"', text)
    if isinstance(error, (KeyError, AttributeError)) and field:
        text = f"unknown config field: {text}"
    return text
