"""Configurations as their files give them."""

import importlib.util
from pathlib import Path

import jax
from ml_collections import ConfigDict

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def load(name: str, variant: str = "") -> ConfigDict:
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
