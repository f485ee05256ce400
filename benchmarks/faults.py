"""Fault drill: a run that is killed many times ends bit for bit where an undisturbed one ends.

Command: python benchmarks/faults.py [--kills 30] [--terms 10] [--config configs/quickstart.py]
    [--place s3://BUCKET/FOLDER]
SIGKILL ends the whole process group of the run at random moments: while it starts, while it trains,
and while it saves. Then SIGTERM to the group stops it several times. Its last checkpoint is
compared with that of an undisturbed run: parameters, average, optimizer and position in the data.
So are the figures of its evaluations during training (``--config.evaluate_every=STEPS``). If the
run's folder is in an object store, every start is one of a machine with an empty disk, and the
undisturbed run stays on this one's disk.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from elir_jax.running.records.checkpoint import read, steps_in  # noqa: E402
from elir_jax.running.records.digests import leaf_digests  # noqa: E402
from elir_jax.running.records.report import read_evaluations  # noqa: E402
from elir_jax.storage.disk import PART  # noqa: E402
from elir_jax.storage.opening import place_of, storage_of  # noqa: E402
from elir_jax.storage.place import Place  # noqa: E402

POLL = 0.01  # seconds
PATIENCE = 600.0  # seconds to wait for an event that should take a few
START = 8.0  # seconds that a run takes until it trains


class Process(Protocol):
    """What a drill does with a process, the leader of its group."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float) -> int: ...


def launch(words: list[str], scratch: Path, log: Path) -> Process:
    """Start Python with ``words`` in the project's folder, ``scratch`` for temporary files."""
    with log.open("a") as said:
        return subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=dict(os.environ, TMPDIR=str(scratch)),
            stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


Launch = Callable[[list[str], Path, Path], Process]


class Drill:
    """One run's folder, and what has happened to it."""

    def __init__(
        self,
        workdir: Place,
        disk: Path,
        options: list[str],
        seed: int,
        launch: Launch,
        start_takes: float,
    ):
        self.workdir, self.options = workdir, ["--workdir", str(workdir), *options]
        self._launch, self._start_takes = launch, start_takes
        self.kills = self.terms = 0  # that found a running process
        self.rng = random.Random(seed)
        self._disk, self._log, self._starts = disk, disk / f"{workdir.name}.log", 0
        self.refused = self.killed_in_start = self.killed_in_save = self.lost_by_term = 0

    @contextlib.contextmanager
    def start(self) -> Iterator[Process]:
        """Start the training command, in its own process group, with a new temporary folder.

        If the drill is interrupted, the group is killed.
        """
        self._starts += 1
        scratch = self._disk / f"{self.workdir.name}-{self._starts}"
        scratch.mkdir()
        self._log.write_text("")
        process = self._launch(["train.py", *self.options], scratch, self._log)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    def end(self, process: Process, expected: int) -> None:
        """Wait for the end of ``process`` and read its output."""
        code = process.wait(PATIENCE)
        text = self._log.read_text()
        self.refused += len(re.findall("refused checkpoint", text))
        if code != expected:
            sys.exit(f"exit code {code} instead of {expected}:\n{text}")

    def kill(self, step: int) -> None:
        """SIGKILL after ``step`` is logged: at once, in the next save, or during the start."""
        where = self.rng.choice(["step", "step", "save", "start"])
        began = time.time()
        with self.start() as process:
            if where == "start":
                time.sleep(self.rng.uniform(0, self._start_takes))
            else:
                self._wait(process, lambda: self._has_made(step))
                if where == "save":
                    self._wait(process, lambda: self._saves_since(began))
                time.sleep(self.rng.uniform(0, 0.1 if where == "save" else 0.3))
            if process.poll() is not None:  # it was quicker: done
                return self.end(process, 0)
            os.killpg(process.pid, signal.SIGKILL)
            self.end(process, -signal.SIGKILL)
            self.kills += 1
            self.killed_in_start += where == "start"
            self.killed_in_save += self._saves_since(began)
            return None

    def terminate(self, step: int) -> None:
        """SIGTERM to the group after ``step`` is logged; the finished steps must be saved."""
        with self.start() as process:
            self._wait(process, lambda: self._has_made(step))
            time.sleep(self.rng.uniform(0, 0.3))
            if process.poll() is not None:  # it was quicker: done
                return self.end(process, 0)
            os.killpg(process.pid, signal.SIGTERM)
            self.end(process, 128 + signal.SIGTERM)
            self.terms += 1
            lost = self.newest_row() - max(steps_in(self.checkpoints))
            self.lost_by_term = max(self.lost_by_term, lost)
            return None

    def finish(self) -> None:
        """Let the run finish."""
        with self.start() as process:
            self.end(process, 0)

    @property
    def checkpoints(self) -> Place:
        """The folder of the checkpoints."""
        return self.workdir / "checkpoints"

    def newest_row(self) -> int:
        """The newest step in ``metrics.jsonl``."""
        try:
            storage = storage_of(self.workdir)
            lines = storage.read(self.workdir / "metrics.jsonl").splitlines()
            return json.loads(lines[-1])["step"]
        except (OSError, IndexError, ValueError):
            return 0

    def _has_made(self, step: int) -> bool:
        """Whether this start is training and has passed ``step``."""
        return "training in" in self._log.read_text() and self.newest_row() >= step

    def _saves_since(self, began: float) -> bool:
        """Whether a checkpoint is being written now, and not left over from an earlier kill."""
        if not isinstance(self.checkpoints, Path):  # a start deletes what is left over
            storage = storage_of(self.checkpoints)
            names = {name.partition("/")[0] for name in storage.names(self.checkpoints)}
            return any(map(str.isdecimal, names - set(storage.folders(self.checkpoints))))
        try:
            return any(p.stat().st_mtime > began for p in self.checkpoints.glob(f"{PART}*"))
        except FileNotFoundError:  # done meanwhile
            return False

    def _wait(self, process: Process, condition) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition() and process.poll() is None:
            if time.monotonic() > deadline:
                sys.exit("the run makes no steps")
            time.sleep(POLL)


def moments(rng: random.Random, count: int, num_steps: int) -> list[int]:
    """``count`` steps in order, random but spread over the run."""
    return sorted(rng.randint(1, max(1, num_steps - 2)) for _ in range(count))


def drill(
    folder: Path,
    config: str,
    kills: int,
    terms: int,
    options: list[str],
    seed: int,
    place: Place | None = None,
    launch: Launch = launch,
    start_takes: float = START,
) -> bool:
    """Run the drill in ``folder``, print a summary, and return the verdict.

    The run that is killed is in ``place``; an undisturbed one that is in ``folder`` already is used
    again.
    """
    common = ["--config", config, "--config.log_every=1", *options]
    alone = Drill(folder / "alone", folder, common, seed, launch, start_takes)
    if not steps_in(alone.checkpoints):
        alone.finish()
    last = max(steps_in(alone.checkpoints))
    hurt = Drill((place or folder) / "hurt", folder, common, seed, launch, start_takes)
    began = time.monotonic()
    steps = moments(hurt.rng, kills + terms, last)
    for number, step in enumerate(steps):
        (hurt.kill if number < kills else hurt.terminate)(step)
        print(f"{number + 1:>3} of {len(steps)}: after step {hurt.newest_row()}", flush=True)
    hurt.finish()

    ledger = json.loads(storage_of(hurt.workdir).read(hurt.workdir / "ledger.json"))
    ours, theirs = (read(d.checkpoints / str(last)) for d in (hurt, alone))
    digests = leaf_digests(ours.leaves), leaf_digests(theirs.leaves)
    different = [path for path in digests[1] if digests[0].get(path) != digests[1][path]]
    measured = read_evaluations(hurt.workdir), read_evaluations(alone.workdir)
    if measured[0] != measured[1]:
        print(f"evaluations differ: {measured[0]} and {measured[1]}")
        return False
    same = not different and ours.data == theirs.data and digests[0].keys() == digests[1].keys()
    if hurt.lost_by_term > 1:
        print(f"a SIGTERM lost {hurt.lost_by_term} steps")
        return False
    where = f"{hurt.killed_in_save} in a save, {hurt.killed_in_start} in the start"
    print(f"kills          {hurt.kills} of {kills}: {where}")
    print(f"SIGTERMs       {hurt.terms} of {terms}: {hurt.lost_by_term} steps lost at most")
    print(f"steps          {last}, and {ledger['redone_steps']} made again after kills")
    print(f"refused        {hurt.refused} checkpoints")
    print(f"seconds        {time.monotonic() - began:.0f}")
    print(f"compared       {len(digests[1])} arrays, position {ours.data} and {theirs.data}")
    print("verdict        " + ("bit-identical" if same else f"DIFFERENT: {different[:5]}"))
    return same


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30, help="how often to send SIGKILL")
    parser.add_argument("--terms", type=int, default=10, help="how often to send SIGTERM")
    parser.add_argument("--config", default="configs/quickstart.py")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--place", help="folder of the run that is killed, such as s3://BUCKET/A")
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        same = drill(
            Path(folder), options.config, options.kills, options.terms, rest, options.seed,
            place_of(options.place) if options.place else None,
        )  # fmt: skip
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
