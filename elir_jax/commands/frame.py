"""What all commands share: flags, exit codes, and user errors in one line.

Exit codes: 0 success; 2 a user error (one line explains it); 130 after Ctrl-C, 143 after SIGTERM
and 129 after SIGHUP (training saves first); 141 if the reader of standard output has gone.
"""

import argparse
import errno
import gc
import hashlib
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import disk_usage
from typing import NamedTuple, NoReturn

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from elir_jax.commands import EXIT_INTERRUPTED, interruptible, parsing, streams
from elir_jax.errors import DISK, DiskError, UserError, one_line
from elir_jax.files import cache_folder
from elir_jax.storage.opening import place_of, storage_of
from elir_jax.storage.place import Place

EXIT_USER_ERROR = 2
EXIT_UNHEARD = 141
BEGAN = time.monotonic()
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


def run(
    main: Callable[[ConfigDict, Place, Options], int],
    *,
    trains: bool = False,
    instead: Callable[[ConfigDict | None, Place | None], int | None] = lambda config, workdir: None,
) -> None:
    """Parse the command line and run ``main(config, workdir, options)``; never returns.

    If ``trains``, the command can resume a run and has the flag ``--allow-config-change``.
    ``instead`` runs first, and needs neither configuration nor folder. If other flags ask for its
    work, it returns an exit code and ``main`` does not run.
    """
    streams.hold()
    before = set(flags.FLAGS)
    try:
        config = parsing.define_configuration()
    except UserError as error:
        sys.exit(fail(str(error)))
    workdir = flags.DEFINE_string("workdir", None, "folder of the run; default: runs/NAME")
    distributed = flags.DEFINE_bool(
        "distributed", False, "join the other processes of a TPU pod, Slurm, GKE or Open MPI job"
    )
    coordinator = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0")
    number = flags.DEFINE_integer("num-processes", None, "the number of processes")
    index = flags.DEFINE_integer("process-id", None, "the number of this process, from 0")
    if trains:
        _define_training()
    for name in set(flags.FLAGS) - before:  # --help shows those of the main module
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])

    def guarded(argv: list[str]) -> int:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}; options are written --NAME=VALUE")
        chosen = config.value
        file = "" if chosen is None else config_flags.get_config_filename(flags.FLAGS["config"])
        place = place_of(workdir.value) if workdir.value else None
        code = instead(chosen, place)
        if code is not None:
            return code
        if chosen is None:
            raise UserError("no configuration; give one with --config configs/NAME.py")
        from elir_jax.devices import hosts, libtpu  # here: it loads jax

        place = place or Path(_default_workdir(file))
        keep_programs()
        libtpu.keep_images_whole()
        hosts.join(distributed.value, coordinator.value, number.value, index.value)
        change = trains and flags.FLAGS["allow-config-change"].value
        profile = flags.FLAGS["profile"].value if trains else ""
        options = Options(BEGAN, hosts.is_first(), hosts.alone(), change, profile)
        try:
            return main(chosen, place, options)
        finally:
            storage_of(place).unlock(place)

    app.run(lambda argv: exit_code_of(lambda: guarded(argv)), flags_parser=_parse)


def _define_training() -> None:
    """The flags of a command that trains."""
    flags.DEFINE_bool("allow-config-change", False, "resume although the configuration has changed")
    flags.DEFINE_string(
        "compile-for", "", "CHIP:SHAPE, as v5e:2x2: compile for this TPU slice, and stop"
    )
    flags.DEFINE_string("profile", "", "FIRST:LAST: trace these steps into WORKDIR/tensorboard")


def positive(text: str) -> int:
    """The number of an option that must be at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def say(*words: object) -> None:
    """Print a line, on the first process only."""
    from elir_jax.devices import hosts

    if hosts.is_first():
        print(*words, flush=True)


def exit_code_of(command: Callable[[], int | None], argv: Sequence[str] | None = None) -> int:
    """Run ``command`` and return its exit code (None: 0); user errors and Ctrl-C print one line.

    ``argv`` is the command line without the program's name; None: that of this process.
    """
    streams.hold()
    try:
        with interruptible():
            return _exit_code_of(command, argv) or _unheard()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _exit_code_of(command: Callable[[], int | None], argv: Sequence[str] | None) -> int:
    logging.set_verbosity(logging.WARNING)  # otherwise jax, orbax and matplotlib print messages
    gc.set_threshold(*RARELY)
    try:
        parsing.refuse_addresses(sys.argv[1:] if argv is None else argv)
        return command() or 0
    except DiskError as error:
        _exit_now(str(error))
    except UserError as error:
        return fail(str(error))
    except PermissionError as error:  # for one file; the others are as before
        return fail(f"{error.filename or 'a file'}: {error.strerror}; change its permissions")
    except OSError as error:
        if error.errno not in DISK:
            raise
        _exit_now(f"{_place_of(error)}: {error.strerror}; what was saved is not lost")
    except (RuntimeError, AssertionError):
        reason = _without_device()
        if not reason:
            raise
        return fail(reason)


def _without_device() -> str:
    """Why JAX has no device to compute on; empty if it has, or is not loaded."""
    jax = sys.modules.get("jax")
    try:
        if jax is not None:
            jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition(" (set JAX_PLATFORMS")[0] or "there is no such device"
        chosen = os.environ.get("JAX_PLATFORMS", "")
        return f"JAX_PLATFORMS={chosen}: {reason}; unset it, or install jax for that device"
    return ""


def _place_of(error: OSError) -> str:
    """What an error of the disk is about; the system does not always say."""
    if error.filename or error.errno in (errno.EMFILE, errno.ENFILE):
        return str(error.filename or "this process (ulimit -n)")
    places = "/dev/shm", os.environ.get("TMPDIR", "/tmp"), os.getcwd()
    full = [place for place in places if os.path.isdir(place) and not disk_usage(place).free >> 20]
    return ", ".join(dict.fromkeys(full)) or "the disk"


def refuse_to_join(what: str) -> None:
    """Raise UserError if the command line joins processes; each would do all of ``what``."""
    if any(flags.FLAGS[name].value for name in ("distributed", "coordinator", "num-processes")):
        raise UserError(f"{what} runs in one process; remove --distributed and --coordinator")


def _unheard() -> int:
    """The exit code of a command that succeeded, which depends on who heard it."""
    error = streams.lost()
    if error is None:
        return 0
    if error.errno in (errno.EPIPE, errno.EIO):  # the reader of a pipe, or the terminal, has gone
        return EXIT_UNHEARD
    return fail(f"standard output: {error.strerror}; the rest of it is lost")


def _exit_now(message: str) -> NoReturn:
    """End at once: a normal exit flushes files, which would fail again, with tracebacks."""
    from elir_jax.devices import hosts

    code = fail(message)
    hosts.leave()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


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


def fail(message: str) -> int:
    """Print one line for a user error; returns the exit code."""
    print(f"error: {one_line(message)}", file=sys.stderr)
    return EXIT_USER_ERROR


def _default_workdir(config_file: str) -> str:
    """``configs/bfr.py:tiny`` -> ``runs/bfr-tiny``."""
    path, _, variant = config_file.partition(":")
    return os.path.join("runs", Path(path).stem + (f"-{variant}" if variant else ""))


def _parse(argv: list[str]) -> list[str]:
    try:
        return parsing.parse(argv)
    except UserError as error:
        sys.exit(fail(str(error)))
