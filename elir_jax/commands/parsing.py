"""What stands on a command line: configuration, fields, addresses. Mistakes are UserErrors."""

import itertools
import re
import sys
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from elir_jax.configurations import read_config
from elir_jax.errors import UserError

STORED = {"--workdir", "--config.data.path", "--config.data.eval_path"}  # may be gs:// or s3://
ADDRESS = re.compile(r"(?P<option>-[^=]+=)?(?P<address>[A-Za-z][A-Za-z0-9+.-]*://.*)", re.DOTALL)


class _File(flags.ArgumentParser):
    """The flag's value is the configuration, locked, that its file gives."""

    def parse(self, argument: str) -> ConfigDict:
        return read_config(argument).lock()


def define_configuration() -> flags.FlagHolder:
    """The flag ``--config FILE[:VARIANT]``, whose fields the command line may change."""
    try:
        holder = config_flags.DEFINE_config_file("config", help_string="configs/NAME.py[:tiny]")
    except flags.Error as error:  # it reads a --flagfile already
        raise UserError(_explain(error)) from error
    flags.FLAGS["config"].parser = _File()
    return holder


def parse(argv: list[str]) -> list[str]:
    """Parse as absl does; returns the words that are no options. Raises UserError."""
    try:
        return flags.FLAGS(argv)
    except SystemExit:  # after --help, with absl's code for it, 1
        sys.exit(0)
    except flags.UnrecognizedFlagError as error:
        small = error.flagname.lower()
        capitals = [small] if small.partition(".")[0] in flags.FLAGS else []
        close = [f"--{name}" for name in capitals or getattr(error, "suggestions", [])]
        hint = f"; did you mean {', '.join(close)}?" if close else "; see --help"
        raise UserError(f"unknown option --{error.flagname}{hint}") from error
    except Exception as error:  # the library of the configuration's fields has many
        raise UserError(_explain(error)) from error


def refuse_addresses(argv: Sequence[str]) -> None:
    """Raise UserError if an argument, or the value of an option, has the form ``SCHEME://...``.

    As a path, it would silently create a local folder of that name. A run's folder and its prepared
    images may be in an object store (:mod:`elir_jax.storage`).
    """
    for before, argument in itertools.pairwise(["", *argv]):
        found = ADDRESS.fullmatch(argument)
        if found:
            option = found["option"] or (f"{before} " if before.startswith("-") else "")
            if option.rstrip("= ") in STORED:
                continue
            raise UserError(
                f"{option}{found['address']}: not a path on this machine; only "
                f"{', '.join(sorted(STORED))} can be in object storage: copy it, or mount it as a "
                f"folder (for example with gcsfuse) and name that"
            )


def _explain(error: BaseException) -> str:
    """The message of the parser, which may be wrapped in others."""
    text: object = error
    while isinstance(text, BaseException):
        text = text.args[0] if len(text.args) == 1 else str(text) or type(text).__name__
    text = str(text).strip()
    if isinstance(error, (AttributeError, KeyError)):
        return "unknown config field " + "; ".join(text.splitlines())
    return text
