"""The house rules that a machine can hold: imports go down, some names live in one file only."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "elir_jax"
FILES = sorted(PACKAGE.rglob("*.py"))

# A module may import from lower floors, and from its own room.
FLOORS = [
    {"types", "errors", "whole_file"},
    {"data", "models", "flow", "metrics"},
    {"objectives", "inference"},
    {"training", "evaluation"},
    {"build"},
    {"restorer"},
    {"cli", "paired"},
]
# Commands (python -m elir_jax.ROOM.NAME) and the files that only they use stand above all floors.
COMMANDS = {
    f"interop/{name}.py"
    for name in ("convert", "compare", "golden", "checkout", "table", "recording", "trajectory")
}
COMMANDS |= {f"data/{name}.py" for name in ("prepare", "preview", "recipes", "writing")}
COMMANDS |= {"restore.py", "restore_all.py", "restore_files.py"}
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def our_rooms(path: Path) -> set[str]:
    rooms = {n.split(".")[1] for n in imported(path) if n.startswith("elir_jax.")}
    return rooms & (FLOOR.keys() | {"interop"})


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    room = room_of(path)
    place = path.relative_to(PACKAGE).as_posix()
    if room == "__init__" or place in COMMANDS:
        return
    commands = {command.removesuffix(".py").replace("/", ".") for command in COMMANDS}
    assert not {f"elir_jax.{command}" for command in commands} & imported(path)
    for other in our_rooms(path) - {room}:
        if room == "interop":  # stands outside: it knows networks, nobody but build knows it
            assert other in {"types", "errors", "models"}, f"{path.name} imports {other}"
        elif other == "interop":
            assert room == "build", f"{path.name} imports interop"
        else:
            assert FLOOR[other] < FLOOR[room], f"{path.name} imports {other}"


@pytest.mark.parametrize(
    "package, homes",
    [
        ("torch", {"interop/files.py", "interop/checkout.py"}),  # inside functions, when asked for
        ("pyiqa", {"metrics/perceptual.py"}),  # inside functions, where it is installed
        ("tensorflow", set()),
        ("optax", {"training"}),
        ("orbax", {"training/checkpoint.py"}),
        ("grain", {"data/pipeline.py"}),
        ("tensorflow_datasets", {"data/prepared.py", "data/writing.py"}),
        ("array_record", {"data/writing.py"}),
        ("ml_collections", {"build", "cli.py"}),
        ("huggingface_hub", {"interop/hub.py"}),
    ],
)
def test_packages_stay_in_their_room(package, homes):
    for path in FILES:
        if any(name.split(".")[0] == package for name in imported(path)):
            place = path.relative_to(PACKAGE).as_posix()
            assert place in homes or room_of(path) in homes, f"{place} imports {package}"


def test_only_one_file_calls_pmap():
    users = [p.name for p in FILES if re.search(r"\bjax\.pmap\b|import pmap", p.read_text())]
    assert users == ["parallel.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_have_one_idea_and_say_it(path):
    text = path.read_text()
    assert path.name != "utils.py"
    assert len(text.splitlines()) <= 300
    if text:
        assert ast.get_docstring(ast.parse(text)), "a module starts with what it is"


@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_scripts_are_short(script):
    assert len((ROOT / script).read_text().splitlines()) <= 80
