"""The frame of both command lines: flags in, exit code out, mistakes in one line.

Exit codes: 0 done; 2 a mistake of the user's (one line says which); 130 after Ctrl-C, 143 after
SIGTERM (training saves first).
"""

import difflib
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from elir_jax.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def run(main: Callable[[ConfigDict, Path], int]) -> None:
    """Run ``main(config, workdir)`` under ``--config`` and ``--workdir``; never returns."""
    config = config_flags.DEFINE_config_file("config", help_string="configs/NAME.py[:tiny]")
    workdir = flags.DEFINE_string("workdir", None, "folder of the run; default: runs/NAME")

    def guarded(argv: list[str]) -> int:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}; options are written --NAME=VALUE")
        chosen = config.value
        if chosen is None:
            raise UserError("no configuration; give one with --config configs/NAME.py")
        file = config_flags.get_config_filename(flags.FLAGS["config"])
        if not isinstance(chosen, ConfigDict):  # what the parser leaves where it found no file
            raise UserError(_no_configuration(file))
        return main(chosen, Path(workdir.value or _default_workdir(file)))

    app.run(lambda argv: told(lambda: guarded(argv)), flags_parser=_parse)


def told(command: Callable[[], int | None]) -> int:
    """The command's exit code (None: 0), with mistakes and Ctrl-C told in one line."""
    logging.set_verbosity(logging.WARNING)  # jax, orbax and matplotlib narrate otherwise
    try:
        return command() or 0
    except UserError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def open_workdir(workdir: Path) -> None:
    """Make the run's folder. Raises UserError where it cannot be made or written."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as error:
        raise UserError(
            f"{workdir}: cannot be written ({error.strerror}); choose another --workdir"
        ) from error


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
    except Exception as error:  # whatever a configuration file may raise
        sys.exit(fail(_explain(error)))


def _no_configuration(file: str) -> str:
    near = difflib.get_close_matches(file, [str(p) for p in Path("configs").glob("*.py")], 1, 0.3)
    return f"--config {file}: no such configuration; " + (
        f"did you mean {near[0]}?" if near else "see the folder configs"
    )


def _explain(error: BaseException) -> str:
    """The parser's message in one line, without the traceback that it may quote."""
    text: object = error
    while isinstance(text, BaseException):
        text = text.args[0] if text.args else type(text).__name__
    text = str(text).strip()
    if isinstance(error, OSError):
        missing = re.search(r"directory: '(.+)'", text)
        return _no_configuration(missing[1]) if missing else text.splitlines()[-1]
    if isinstance(error, (AttributeError, KeyError)) and "config_config" not in text:
        return "unknown config field " + "; ".join(text.splitlines())
    head, quoted, trace = text.partition("Traceback (most recent call last):")
    return head + trace.splitlines()[-1] if quoted else text
