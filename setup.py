"""Everything else is in pyproject.toml. Here: the package carries the configurations along."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["elir_jax", "elir_jax.*"]), "elir_jax.configs"],
    package_dir={"elir_jax.configs": "configs"},
)
