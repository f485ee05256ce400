"""Programs of many shapes: few are loaded, none is lost, and the numbers stay the same."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from elir_jax.devices import programs
from elir_jax.devices.mesh import parallel_map, replicate
from elir_jax.devices.programs import LOADED, Programs


@pytest.fixture
def nothing_on_disk():
    """Programs are not kept on disk, as in a process that has not asked for it."""
    folder = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()


def rows(length):
    return np.random.default_rng(length).standard_normal((4, length)).astype(np.float32)


def noting(built):
    """Programs that note the lengths that they are compiled for."""

    def build(x):
        built.append(x.shape[1])
        return jax.jit(lambda x: jnp.sin(x) @ x.T).lower(x).compile()

    return Programs(build)


def test_whatever_shapes_come_few_programs_are_loaded():
    run = noting(built := [])
    for length in range(1, 10):
        run(rows(length))
        assert run.count() == (min(length, LOADED), length)
    assert built == list(range(1, 10))


def test_a_packed_program_computes_the_same_bits_without_being_compiled(nothing_on_disk):
    run = noting(built := [])
    for again in range(3):
        found = [np.asarray(run(rows(length))) for length in range(1, 6)]
        first = first if again else found
        for one, other in zip(first, found, strict=True):
            np.testing.assert_array_equal(one, other)
    assert built == list(range(1, 6))


def test_a_program_that_is_on_disk_is_read_again_from_there():
    run = noting(built := [])
    for _ in range(2):
        for length in range(1, 5):
            x = rows(length)
            np.testing.assert_allclose(run(x), np.sin(x) @ x.T, atol=1e-5)
    assert built == [1, 2, 3, 4] * 2


def test_the_oldest_of_too_many_programs_is_forgotten(nothing_on_disk, monkeypatch):
    monkeypatch.setattr(programs, "PACKED", 3)
    run = noting(built := [])
    for length in (1, 2, 3, 4, 5, 1, 6, 7, 1, 2):  # the first is used again and again
        run(rows(length))
        assert run.count()[1] <= LOADED + 3
    assert built == [1, 2, 3, 4, 5, 6, 7, 2]


def test_a_program_that_cannot_be_packed_is_compiled_again(nothing_on_disk, monkeypatch):
    def refuse(program):
        raise ValueError("Compilation does not support serialization")

    monkeypatch.setattr(programs, "serialize", refuse)
    run = noting(built := [])
    first = np.asarray(run(rows(1)))
    for length in (2, 3, 1):
        last = np.asarray(run(rows(length)))
    np.testing.assert_array_equal(first, last)
    assert built == [1, 2, 3, 1] and run.count() == (LOADED, 3)


def test_threads_share_programs_and_each_is_compiled_once(nothing_on_disk):
    run = noting(built := [])
    lengths = range(1, 7)
    wrong = []

    def work(seed):
        for length in np.random.default_rng(seed).choice(lengths, 30):
            x = rows(length)
            if not np.allclose(run(x), np.sin(x) @ x.T, atol=1e-4):
                wrong.append(length)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run(rows(1))
    assert not wrong and sorted(built) == list(lengths)
    assert run.count()[0] == LOADED


@pytest.mark.parametrize("number", [1, 3, 8])
def test_packed_programs_run_on_all_devices(nothing_on_disk, number):
    run = parallel_map(lambda weights, given: given[0] * weights["scale"] + 1)
    weights = replicate({"scale": jnp.float32(3)})
    for _ in range(2):
        for length in range(1, 5):
            x = rows(length)[:1].repeat(number, 0)
            np.testing.assert_allclose(run(weights, (x,)), 3 * x + 1, rtol=1e-6)
