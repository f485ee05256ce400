"""Commands, started as a user types them, in processes that have the libraries loaded already.

A server imports them once and forks itself for each command, which saves the seconds that each
would spend on it. A command may be stopped on its way, where the rest would take long.
"""

import argparse
import atexit
import contextlib
import functools
import itertools
import multiprocessing
import multiprocessing.util
import os
import runpy
import shlex
import sys
import tempfile
import time
import tomllib
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240  # seconds
LOADED = ["elir_jax.commands.restore_pictures", "elir_jax.commands.conversion",
          "elir_jax.parity.recording",
          "elir_jax.running.starting", "elir_jax.running.loop", "elir_jax.evaluation.present",
          "elir_jax.data.preparing.writing", "elir_jax.evaluation.folders"]  # fmt: skip
REACHED = "reached: "
LOGS, NUMBERS = tempfile.TemporaryDirectory(prefix="said"), itertools.count()


@functools.cache
def _server():
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(LOADED)
    return server


class Command:
    """A command in a folder, with as much of ``subprocess.Popen`` as the tests use.

    ``until`` stops it at ``UNTIL[until]``; ``devices`` is the number of the host's devices. Without
    ``apart``, both streams are one, in the file ``log`` if one is given. A ``leader`` has its own
    process group.
    """

    def __init__(
        self,
        command: str,
        folder: Path,
        *,
        until: str = "",
        devices: int = 1,
        apart: bool = False,
        log: Path | None = None,
        leader: bool = False,
    ):
        self._streams = [Path(LOGS.name, str(next(NUMBERS))) for _ in range(1 + apart)]
        if log is not None:
            self._streams = [log]
        for stream in self._streams:
            stream.touch()
        given = command, str(folder), until, devices, self._streams, leader, dict(os.environ)
        self._child = _server().Process(target=_become, args=given)
        self._child.start()
        self.pid = self._child.pid
        with contextlib.suppress(ProcessLookupError):  # it may end at once
            while leader and os.getpgid(self.pid) != self.pid:
                time.sleep(0.001)

    def wait(self, timeout: float) -> int:
        """The exit code, at the end."""
        self._child.join(timeout)
        if self._child.exitcode is None:
            raise TimeoutError(f"no end after {timeout} s")
        return self._child.exitcode

    def poll(self) -> int | None:
        """The exit code, or None before the end."""
        return self._child.exitcode

    @property
    def returncode(self) -> int | None:
        """As :meth:`poll`."""
        return self.poll()

    def send_signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self._child.kill()

    def communicate(self, timeout: float) -> list[str]:
        """What was said on each stream until the end."""
        self._child.join(timeout)
        self._child.kill()
        self._child.join()
        return [stream.read_text(errors="replace") for stream in self._streams]


def start(command: str, folder: Path, until: str = "") -> tuple[int, str]:
    """(exit code, what was said) of a command in a folder, stopped at ``UNTIL[until]``."""
    process = Command(command, folder, until=until)
    (said,) = process.communicate(PATIENCE)
    return process.returncode, said


def _become(
    command: str,
    folder: str,
    until: str,
    devices: int,
    logs: list[Path],
    leader: bool,
    environment: dict[str, str],
) -> None:
    os.environ.clear()  # the server's is of the time when it began
    os.environ.update(environment)
    if leader:
        os.setsid()
        # Its own resource tracker: what a killed run leaves is not reported by the tests' tracker.
        tracker = resource_tracker._resource_tracker
        tracker._fd = tracker._pid = None
    for stream in (1, 2):
        log = os.open(logs[min(stream, len(logs)) - 1], os.O_WRONLY | os.O_APPEND)
        os.dup2(log, stream)
    os.chdir(folder)
    os.environ["XLA_FLAGS"] = os.environ["XLA_FLAGS"].replace("count=4", f"count={devices}")
    # A fork ends without what a command leaves for its exit.
    multiprocessing.util.Finalize(None, atexit._run_exitfuncs, exitpriority=0)
    words = shlex.split(command)
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        os.environ[name] = value
    tempfile.tempdir = None  # TMPDIR may be another
    if until:
        UNTIL[until]()
    ours = {str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support"), ""}
    sys.path[:] = [path for path in sys.path if path not in ours]
    if words[0] == "python":
        _run(words[1:])
    sys.path.insert(0, str(ROOT))  # where the package is installed
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts[words[0]].split(":")
    sys.argv = words
    sys.exit(getattr(import_module(module), function)())


def _run(words: list[str]) -> None:
    """What the interpreter does with these words."""
    if words[0] == "-m":
        sys.path.insert(0, os.getcwd())
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.path.insert(0, os.getcwd())
        sys.argv = ["-c"]
        exec(compile(words[1], "-c", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
    sys.exit(0)


def _stop(where: str):
    def stop(*_, **__):
        print(REACHED + where)
        sys.exit(0)

    return stop


def _at_its_arguments() -> None:
    parser = argparse.ArgumentParser
    whole, known = parser.parse_args, parser.parse_known_args

    def parse_args(self, *given):
        parser.parse_known_args = known
        whole(self, *given)
        _stop("arguments")()

    def parse_known_args(self, *given):
        known(self, *given)
        _stop("arguments")()

    parser.parse_args, parser.parse_known_args = parse_args, parse_known_args


def _at_its_training() -> None:
    """Flags, configuration, networks and data are there; weights and steps are left out."""
    from elir_jax.devices import hosts
    from elir_jax.running import starting

    starting.begin = _stop("training")
    hosts.join = lambda *_: None  # there are no others


def _at_its_evaluation() -> None:
    """Flags and configuration are there; weights and figures are left out."""
    from elir_jax.commands import evaluating

    evaluating.find_subject = _stop("evaluation")


def _at_its_comparison() -> None:
    """The files are read."""
    from elir_jax.parity import recording

    recording.compare_golden = _stop("comparison")


def _at_its_compilation() -> None:
    """Flags, configuration, networks and the topology's name are there."""
    from elir_jax.compose import compiling

    compiling.compile_for = _stop("compilation")


UNTIL = {
    "arguments": _at_its_arguments,
    "training": _at_its_training,
    "evaluation": _at_its_evaluation,
    "comparison": _at_its_comparison,
    "compilation": _at_its_compilation,
}
