"""Both kinds of object store, where their packages are installed."""

import pytest
from clouds import needed, serving

from elir_jax.storage.opening import place_of


@pytest.fixture(scope="session", params=[pytest.param(s, marks=needed(s)) for s in ("s3", "gs")])
def bucket(request):
    with serving(request.param) as address:
        yield place_of(address)


@pytest.fixture
def run_folder(bucket, request):
    """A run's folder of this test alone."""
    return bucket / request.node.name.replace("[", "-").rstrip("]")
