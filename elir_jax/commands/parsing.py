"""The flags of the commands that read a configuration; each mistake is a UserError of one line."""

import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

from elir_jax.configurations import read_config
from elir_jax.errors import UserError


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


def _explain(error: BaseException) -> str:
    """The message of the parser, which may be wrapped in others."""
    text: object = error
    while isinstance(text, BaseException):
        text = text.args[0] if len(text.args) == 1 else str(text) or type(text).__name__
    text = str(text).strip()
    if isinstance(error, (AttributeError, KeyError)):
        return "unknown config field " + "; ".join(text.splitlines())
    return text
