"""Seconds and memory of a long list of image files, with the processes that read it.

Command: python benchmarks/listing.py [--files 1000000] [--workers 8]
Makes empty files with ImageNet's names, lists them as a training does, and lets every worker read
every name. Memory is what all these processes have in addition afterwards, as the kernel counts it:
pages that they share count once.
"""

import argparse
import multiprocessing
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from elir_jax.data.sources import find_images  # noqa: E402

IN_FOLDER = 1300  # files, as ImageNet's
MB = 1e6
PAGES = re.compile(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)


def memory() -> float:
    """This process's share of the pages that belong to no file on a disk, in bytes."""
    return 1024 * sum(map(int, PAGES.findall(Path("/proc/self/smaps_rollup").read_text())))


def read(files) -> None:
    """Look at every name."""
    assert sum(1 for _ in files) == len(files)


def work(line, barrier) -> None:
    """A worker: gets the list, reads it, and answers with its memory."""
    before = memory()
    read(files := line.recv())
    barrier.wait()  # until all have read it, and so share it
    line.send(memory() - before)
    barrier.wait()  # until all have answered
    del files


def make_files(folder: Path, count: int) -> None:
    """Empty files, in folders of ``IN_FOLDER``."""
    for number in range(count):
        place = folder / f"n{number // IN_FOLDER:08}"
        if number % IN_FOLDER == 0:
            place.mkdir()
        (place / f"{place.name}_{number}.JPEG").touch()


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder), options.files)
        before, began = memory(), time.monotonic()
        files = find_images(Path(folder))
        seconds = time.monotonic() - began
        read(files)
        alone = memory() - before

        spawn = multiprocessing.get_context("spawn")
        barrier, lines = spawn.Barrier(options.workers + 1), []
        for _ in range(options.workers):
            ours, theirs = spawn.Pipe()
            spawn.Process(target=work, args=(theirs, barrier)).start()
            ours.send(files)
            lines.append(ours)
        barrier.wait()
        together = memory() - before + sum(line.recv() for line in lines)
        barrier.wait()
    print(f"{options.files:,} files listed in {seconds:.1f} s: {alone / MB:.1f} MB")
    print(f"with {options.workers} workers that read all names: {together / MB:.1f} MB in all")


if __name__ == "__main__":
    main()
