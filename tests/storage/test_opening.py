"""From a name to a place: what can be used, and what is refused in one line."""

import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from clouds import forget, needed

from elir_jax.errors import UserError
from elir_jax.storage.disk import Disk
from elir_jax.storage.opening import SILENCE, client_of, place_of, storage_of

ROOT = Path(__file__).resolve().parents[2]


def test_a_path_is_a_path_and_its_storage_a_disk(tmp_path):
    for name in (str(tmp_path), "runs/bfr", "gs:/folder", "./s3:"):
        assert place_of(name) == Path(name) and isinstance(storage_of(place_of(name)), Disk)


@needed("gs")
def test_a_request_to_cloud_storage_does_not_wait_for_ever():
    limits = client_of("gs").requests_timeout
    assert limits.sock_read == limits.sock_connect == SILENCE
    assert limits.total is None  # a large file takes as long as it takes
    forget("gs")


@needed("s3")
def test_an_address_keeps_its_form(monkeypatch):
    place = place_of("s3://bucket/runs/bfr/")
    assert str(place) == "s3://bucket/runs/bfr" and place.name == "bfr"
    assert str(place / "checkpoints" / "5") == "s3://bucket/runs/bfr/checkpoints/5"
    assert storage_of(place).absolute(place) == place
    forget("s3")


@pytest.mark.parametrize("name", ["az://container/run", "https://host/run", "file:///tmp/run"])
def test_another_scheme_is_refused(name):
    with pytest.raises(UserError, match=f"^{name}: .*use gs:// or s3://"):
        place_of(name)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_missing_packages_are_named(scheme, monkeypatch):
    def absent(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", absent)
    client_of.cache_clear()
    with pytest.raises(UserError, match=rf"{scheme}://.* -r requirements-cloud\.txt"):
        place_of(f"{scheme}://bucket/run")


def test_the_commands_say_so_in_one_line(tmp_path):
    for name, words in (("az://a/run", "use gs:// or s3://"), ("s3://a/run", "requirements-cloud")):
        without = "import sys; sys.modules['s3fs'] = None; sys.argv = sys.argv[1:]"
        code = f"{without}; import runpy; runpy.run_path('train.py', run_name='__main__')"
        line = [sys.executable, "-c", code, "train.py", "--config", "configs/quickstart.py:tiny"]
        done = subprocess.run(
            [*line, f"--workdir={name}"], cwd=ROOT, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ") and words in done.stderr
