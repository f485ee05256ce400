"""Configuration files: where they are found, what they import, and what their errors say."""

import shutil
import sys
from pathlib import Path

import pytest

import configs
from elir_jax import configurations
from elir_jax.configurations import read_config
from elir_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
MINE = """from configs import common

def get_config(variant=""):
    config = common.default()
    config.seed = 5
    return config
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder as the current one, where python -m would look for modules first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture(params=["checkout", "wheel"])
def place(request, elsewhere, monkeypatch):
    """Our files, in a checkout or as an installed package carries them."""
    if request.param == "wheel":
        package = elsewhere / "site" / "elir_jax"
        shutil.copytree(ROOT / "configs", package / "configs")
        monkeypatch.setattr(configurations, "PACKAGE", package)
        monkeypatch.setattr(sys, "path", [p for p in sys.path if Path(p).absolute() != ROOT])
    return elsewhere


def test_ours_are_found_in_any_folder(place):
    assert read_config("configs/bfr.py:tiny").velocity.hidden == 32
    assert read_config("./configs/directflow.py:tiny").teacher.weights == "denoising"


@pytest.mark.parametrize("loaded", [False, True])
def test_another_projects_package_of_the_name_takes_the_place_of_none_of_ours(place, loaded):
    write(place / "configs" / "__init__.py", "raise RuntimeError('theirs is imported')")
    write(place / "configs" / "common.py", "")
    mine = write(place / "experiments" / "mine.py", MINE)
    theirs = sys.modules["configs"] if loaded else None
    if not loaded:
        sys.modules.pop("configs")
    try:
        assert read_config("configs/quickstart.py:tiny").batch_size == 4
        assert read_config(str(mine)).seed == 5
        assert sys.modules.get("configs") is theirs  # as it was before
    finally:
        sys.modules["configs"] = configs


def test_a_file_in_a_folder_configs_prefers_its_neighbours(place):
    write(place / "mine" / "configs" / "common.py", "value = 3")
    text = (
        "from ml_collections import ConfigDict\nfrom configs import common\n"
        "def get_config(variant):\n    return ConfigDict({variant: common.value})\n"
    )
    file = write(place / "mine" / "configs" / "faces" / "mine.py", text)
    assert read_config(f"{file}:a").a == 3


def test_a_users_own_file_comes_before_ours_of_the_same_name(place):
    write(place / "configs" / "bfr.py", MINE)
    assert read_config("configs/bfr.py").seed == 5


def test_a_file_is_read_as_it_is_now(tmp_path):
    for seed in (5, 6):  # of one size, within the second that bytecode knows files by
        file = write(tmp_path / "mine.py", MINE.replace("5", str(seed)))
        assert read_config(str(file)).seed == seed


@pytest.mark.parametrize(
    "text, words",
    [
        (
            "\ndef get_config(v):\n    return (4\n",
            "SyntaxError: '(' was never closed (FILE, line 3)",
        ),
        ("\nimport nothere\n", "No module named 'nothere' (FILE, line 2)"),
        ("from configs import nothere\n", "cannot import name 'nothere' from 'configs'"),
        ("def get_config():\n    return {}['a']\n", "KeyError: 'a' (FILE, line 2)"),
        (MINE.replace("= 5", "= int('x')"), "int() with base 10: 'x' (FILE, line 5)"),
        (MINE.replace("default()", "small_task('denoising', 'x', {})"), "common.py, line "),
        ("def get_config():\n    pass\n", "get_config returned NoneType, not a ConfigDict"),
        ("x = 1\n", "has no function get_config(variant)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (FILE, line 2)"),
        ("\0", "null bytes"),
    ],
)
def test_an_error_in_a_file_is_one_line_with_file_and_line(text, words, tmp_path):
    file = write(tmp_path / "mine.py", text)
    with pytest.raises(UserError) as caught:
        read_config(str(file))
    message = str(caught.value)
    assert message.startswith(f"{file}: ") and "\n" not in message
    assert words.replace("FILE", str(file)) in message


@pytest.mark.parametrize(
    "name, words",
    [
        ("configs/quickstrt.py", "did you mean configs/quickstart.py?"),
        ("configs/QUICKSTART.PY:tiny", "did you mean configs/quickstart.py?"),
        ("quickstart", "did you mean configs/quickstart.py?"),
        ("configs", "is a folder"),
        ("", "'': no such configuration"),
        ("a\0b", "no such configuration"),
    ],
)
def test_a_name_without_a_file_is_answered_with_the_nearest(name, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as caught:
        read_config(name)
    assert words in str(caught.value)
