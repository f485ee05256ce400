"""The flags are set for the libtpu that knows them, and the user's own stay in force."""

import importlib.metadata
import os

import pytest

from elir_jax.devices.libtpu import TRIED, WHOLE_IMAGES, keep_images_whole


def installed(monkeypatch, version):
    def of(name):
        assert name == "libtpu"
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", of)


def test_the_flags_come_before_the_users_own_and_once(monkeypatch):
    installed(monkeypatch, TRIED + "1")
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "--of_the_user=true")
    keep_images_whole()
    keep_images_whole()
    assert os.environ["LIBTPU_INIT_ARGS"] == f"{WHOLE_IMAGES} --of_the_user=true"


@pytest.mark.parametrize("version", [None, "0.0.99"])
def test_without_that_libtpu_nothing_is_set(monkeypatch, version):
    installed(monkeypatch, version)
    monkeypatch.delenv("LIBTPU_INIT_ARGS", raising=False)
    keep_images_whole()
    assert "LIBTPU_INIT_ARGS" not in os.environ
