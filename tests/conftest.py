"""Four fake devices, shapes and types of every public function checked, no silent broadcasting.

Most of the tests' time would be compilation: it is done with less optimization, and kept for the
tests and commands that compile the same, in whichever process. Tests that are marked ``slow`` run
only if asked for, and the last lines say how many were left out.
"""

import ctypes
import gc
import os
import tempfile

QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    # The older emitters compile a train step in half the time.
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=4 {QUICK}"
os.environ["JAX_PLATFORMS"] = "cpu"
if "PYTEST_XDIST_WORKER" not in os.environ:  # which has the folder of the process that started it
    CACHE = tempfile.TemporaryDirectory(prefix="compiled")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("elir_jax", "beartype.beartype")

# These alone, and what else it takes where it is used: the process that starts the workers loads
# this too, and would take the memory and the seconds of a third one.
import jax  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402

from elir_jax.commands import frame  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
gc.set_threshold(*frame.RARELY)
flags.FLAGS.mark_as_parsed()  # grain reads absl's flags

# They come first, so that none is left alone.
LONG = (
    "test_hosts.py", "test_command_lines.py", "test_faults.py", "test_step.py",
    "test_documented_commands.py",
)  # fmt: skip
LEFT_OUT = pytest.StashKey[int]()


def pytest_collection_modifyitems(items):
    """The files that take minutes come first: short ones fill up what is left at the end."""
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_deselected(items):
    """Count the slow tests that were left out as such, and not by ``-k``."""
    config = items[0].config
    if all(item.get_closest_marker("slow") for item in items):
        config.stash[LEFT_OUT] = len(items)
        if hasattr(config, "workeroutput"):  # goes to the process that writes the last lines
            config.workeroutput["left_out"] = len(items)


def pytest_testnodedown(node):
    """Take over what a worker counted: all of them count the same."""
    counted = getattr(node, "workeroutput", {})  # a worker that crashed has none
    node.config.stash[LEFT_OUT] = counted.get("left_out", 0)


def pytest_terminal_summary(terminalreporter, config):
    if number := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{number} slow tests left out; python -m pytest -m slow runs them"
        )


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """A module's compiled programs serve no other one, and those of all would take gigabytes."""
    yield
    jax.clear_caches()
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@pytest.fixture(scope="module")
def unlocked():
    """One process begins many runs in a module, and would lock itself out."""
    from elir_jax.running import starting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starting, "lock", lambda workdir: None)
        yield
