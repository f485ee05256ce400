"""The flag is set for a jaxlib that knows it, and the user's own stay in force."""

import importlib.metadata
import os

import pytest

from elir_jax.devices.cpu import OWN_PRODUCTS, keep_cores_busy


def installed(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"jaxlib": version}[name])


@pytest.mark.parametrize("given", ["", "--of_the_user=true"])
def test_the_flag_comes_before_the_users_own_and_once(monkeypatch, given):
    installed(monkeypatch, "0.10.2")
    monkeypatch.setenv("XLA_FLAGS", given)
    keep_cores_busy()
    keep_cores_busy()
    assert os.environ["XLA_FLAGS"] == f"{OWN_PRODUCTS} {given}".strip()


@pytest.mark.parametrize(
    "version, given", [("0.12.0", ""), ("0.10.2", f"{OWN_PRODUCTS}LIBRARY_FUSION_TYPE_DOT")]
)
def test_nothing_is_set_for_another_jaxlib_or_against_the_user(monkeypatch, version, given):
    installed(monkeypatch, version)
    monkeypatch.setenv("XLA_FLAGS", given)
    keep_cores_busy()
    assert os.environ["XLA_FLAGS"] == given
