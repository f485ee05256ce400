"""The package that is installed: what it holds, what it says of itself, how its commands answer."""

import fnmatch
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import elir_jax
from elir_jax import errors

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "elir_jax"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMMANDS = PROJECT["project"]["scripts"]


def python(code, folder):
    """What ``code`` prints, started in another folder, as somebody who installed the package."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_names_its_version_and_its_error_without_loading_jax(tmp_path):
    assert elir_jax.UserError is errors.UserError
    assert re.fullmatch(r"\d+\.\d+\.\d+", elir_jax.__version__)
    code = "import elir_jax, sys; print(elir_jax.__version__, elir_jax.UserError.__name__)"
    said = python(f"{code}; print('jax' in sys.modules, 'numpy' in sys.modules)", tmp_path)
    assert said == f"{elir_jax.__version__} UserError\nFalse False\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_console_command_answers_help_within_a_second_of_computing(name, tmp_path):
    module, function = COMMANDS[name].split(":")
    code = f"""if True:
        import sys, time
        sys.argv = ["bin/{name}", "--help"]
        from {module} import {function}
        try:
            sys.exit({function}())
        except SystemExit as done:
            print(done.code, "jax" in sys.modules, time.process_time() < 1)"""
    *said, last = python(code, tmp_path).splitlines()
    assert said[0].startswith(f"usage: {name} ")
    assert last == "0 False True"


def test_every_file_of_the_package_is_carried():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["elir_jax"]
    found = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file())
    others = [p.as_posix() for p in found if p.suffix != ".py" and "__pycache__" not in p.parts]
    ours = {f"evaluation/{name}" for name in ("page.html", "compare.css", "compare.js")}
    assert {"assets/autoencoder.safetensors"} | ours <= set(others)
    for path in others:
        assert any(fnmatch.fnmatch(path, pattern) for pattern in patterns), path
    for path in PACKAGE.rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), f"{path.parent} would be left out"


def test_each_requirement_is_listed_once():
    dynamic = PROJECT["tool"]["setuptools"]["dynamic"]
    files = [dynamic["dependencies"]["file"]]
    files += [extra["file"] for extra in dynamic["optional-dependencies"].values()]
    assert files == [
        "requirements.txt",
        "requirements-metrics.txt",
        "requirements-edge.txt",
        "requirements-cloud.txt",
        "requirements-tests.txt",
    ]
    listed = []
    for file in files:
        lines = [line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
        names = [re.match(r"[\w-]+", line) for line in lines if line]
        assert all(names), f"{file}: the package's metadata takes requirements, no options"
        listed += [name[0].lower() for name in names]
    assert len(listed) == len(set(listed))
    development = (ROOT / "requirements-dev.txt").read_text().split()
    lists = [
        "requirements.txt",
        *(f"requirements-{name}.txt" for name in ("edge", "cloud", "tests")),
    ]
    assert development == [word for name in lists for word in ("-r", name)]
