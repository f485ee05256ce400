"""What all commands share: flags, exit codes, and user errors in one line.

Exit codes: 0 success; 2 a user error (one line explains it); 130 after Ctrl-C, 143 after SIGTERM
and 129 after SIGHUP (training saves first); 141 if the reader of standard output has gone.
"""

import gc
import hashlib
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from elir_jax.commands import console, parsing, streams
from elir_jax.commands.console import fail
from elir_jax.commands.overriding import fields_of, without_fields
from elir_jax.errors import UserError
from elir_jax.files import cache_folder
from elir_jax.storage.opening import place_of, storage_of
from elir_jax.storage.place import Place

BEGAN = time.monotonic()
JOINING = ("distributed", "coordinator", "num-processes", "process-id")
# Thresholds for ``gc``. Tracing makes millions of objects that live on; looking for cycles among
# them at Python's default rate takes a tenth of a command's time.
RARELY = 10_000, 20, 50


class Options(NamedTuple):
    """The options of the command line besides the configuration and the folder."""

    began: float  # when the command began, by ``time.monotonic``
    first: bool  # whether this process writes files and prints
    alone: bool  # whether there is no other process
    allow_config_change: bool
    profile: str = ""  # FIRST:LAST, the steps to trace; "": none
    overrides: tuple[str, ...] = ()  # words of the command line that set fields: --config.FIELD=X


def run(
    main: Callable[[ConfigDict, Place, Options], int],
    *,
    trains: bool = False,
    instead: Callable[[ConfigDict | None, Place | None], int | None] = lambda config, workdir: None,
    home: Callable[[], Place | None] | None = None,
) -> None:
    """Parse the command line and run ``main(config, workdir, options)``; never returns.

    If ``trains``, the command can resume a run and has the flag ``--allow-config-change``.
    ``instead`` runs first, and needs neither configuration nor folder. If other flags ask for its
    work, it returns an exit code and ``main`` does not run. A command with ``home``, the folder
    that its own flags name, needs no configuration; ``options.overrides`` has the fields given.
    """
    streams.hold()
    config, workdir = _define_flags(trains)

    def guarded(argv: list[str]) -> int:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}; options are written --NAME=VALUE")
        chosen = config.value
        file = "" if chosen is None else config_flags.get_config_filename(flags.FLAGS["config"])
        place = place_of(workdir.value) if workdir.value else None
        code = instead(chosen, place)
        if code is not None:
            return code
        place = place or (None if home is None else home())
        if chosen is None:
            _refuse_without_configuration(home is not None, place)
        from elir_jax.devices import hosts, libtpu  # here: it loads jax

        place = place or Path(_default_workdir(file))
        keep_programs()
        libtpu.keep_images_whole()
        hosts.join(*(flags.FLAGS[name].value for name in JOINING))
        change = flags.FLAGS["allow-config-change"].value if trains or home else False
        profile = flags.FLAGS["profile"].value if trains else ""
        fields = tuple(fields_of(sys.argv))
        options = Options(BEGAN, hosts.is_first(), hosts.alone(), change, profile, fields)
        try:
            return main(chosen, place, options)
        finally:
            storage_of(place).unlock(place)

    parse = _parse if home is None else lambda argv: _parse(without_fields(argv))
    app.run(lambda argv: exit_code_of(lambda: guarded(argv)), flags_parser=parse)


def _define_flags(trains: bool) -> tuple[flags.FlagHolder, flags.FlagHolder]:
    """Define the flags of every command; returns those of the configuration and the folder."""
    before = set(flags.FLAGS)
    try:
        config = parsing.define_configuration()
    except UserError as error:
        sys.exit(fail(str(error)))
    workdir = flags.DEFINE_string("workdir", None, "folder of the run; default: runs/NAME")
    flags.DEFINE_bool(
        "distributed", False, "join the other processes of a TPU pod, Slurm, GKE or Open MPI job"
    )
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0")
    flags.DEFINE_integer("num-processes", None, "the number of processes")
    flags.DEFINE_integer("process-id", None, "the number of this process, from 0")
    if trains:
        _define_training()
    for name in set(flags.FLAGS) - before:  # --help shows those of the main module
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    return config, workdir


def _refuse_without_configuration(finds_it: bool, place: Place | None) -> None:
    """Raise UserError, unless the command finds the configuration of what is in a place."""
    if not finds_it or place is None:
        also = ", or name a run with --workdir or --checkpoint" if finds_it else ""
        raise UserError(f"no configuration; give one with --config configs/NAME.py{also}")


def _define_training() -> None:
    """The flags of a command that trains."""
    flags.DEFINE_bool("allow-config-change", False, "resume although the configuration has changed")
    flags.DEFINE_string(
        "compile-for", "", "CHIP:SHAPE, as v5e:2x2: compile for this TPU slice, and stop"
    )
    flags.DEFINE_string("profile", "", "FIRST:LAST: trace these steps into WORKDIR/tensorboard")


def say(*words: object) -> None:
    """Print a line, on the first process only."""
    from elir_jax.devices import hosts

    if hosts.is_first():
        print(*words, flush=True)


def exit_code_of(command: Callable[[], int | None], argv: Sequence[str] | None = None) -> int:
    """:func:`elir_jax.commands.console.exit_code_of`, after a look at the addresses in ``argv``.

    ``argv`` is the command line without the program's name; None: that of this process.
    """
    logging.set_verbosity(logging.WARNING)  # otherwise jax, orbax and matplotlib print messages
    gc.set_threshold(*RARELY)

    def checked() -> int | None:
        parsing.refuse_addresses(sys.argv[1:] if argv is None else argv)
        return command()

    return console.exit_code_of(checked)


def refuse_to_join(what: str) -> None:
    """Raise UserError if the command line joins processes; each would do all of ``what``."""
    if any(flags.FLAGS[name].value for name in JOINING[:3]):
        raise UserError(f"{what} runs in one process; remove --distributed and --coordinator")


def keep_programs() -> None:
    """Cache compiled programs for the next start, unless JAX_COMPILATION_CACHE_DIR is set.

    Each kind of processor has its own folder, because programs for one may not run on another.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is not None:
        return
    try:
        cpu = Path("/proc/cpuinfo").read_text()
        found = re.search(r"^(flags|Features)\s*:.*$", cpu, re.MULTILINE)
        kind = found[0] if found else platform.processor()
        folder = cache_folder() / hashlib.sha256(kind.encode()).hexdigest()[:12]
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no writable home folder: compile each time
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def program(module: str) -> str:
    """How the command was called, for its help: its installed name or ``python -m MODULE``."""
    name = Path(sys.argv[0]).name
    return name if name.startswith("elir-") else f"python -m {module}"


def _default_workdir(config_file: str) -> str:
    """``configs/bfr.py:tiny`` -> ``runs/bfr-tiny``."""
    path, _, variant = config_file.partition(":")
    return os.path.join("runs", Path(path).stem + (f"-{variant}" if variant else ""))


def _parse(argv: list[str]) -> list[str]:
    try:
        return parsing.parse(argv)
    except UserError as error:
        sys.exit(fail(str(error)))
