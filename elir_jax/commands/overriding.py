"""Fields of a configuration that the command line of a command sets, with or without ``--config``.

The flags of ml_collections need a configuration when the command line is parsed. That of a run is
read later, so its fields are kept as words until then.
"""

import itertools
import re
from collections.abc import Sequence

FIELD = re.compile(r"--?(no)?config\..*", re.DOTALL)
FILE = re.compile(r"--?config(=.*)?", re.DOTALL)


def fields_of(argv: Sequence[str]) -> list[str]:
    """The words that set fields, ``--config.FIELD=VALUE`` or ``--config.FIELD VALUE``."""
    return [argv[i] for i in _places(argv)]


def without_fields(argv: Sequence[str]) -> list[str]:
    """The command line without these words, unless it names a file of a configuration."""
    if any(FILE.fullmatch(word) for word in argv):
        return list(argv)
    taken = _places(argv)
    return [word for i, word in enumerate(argv) if i not in taken]


def _places(argv: Sequence[str]) -> list[int]:
    found = []
    for i, (before, word) in enumerate(itertools.pairwise(argv), 1):
        value = FIELD.fullmatch(before) and "=" not in before and not word.startswith("-")
        if value or FIELD.fullmatch(word):
            found.append(i)
    return found
