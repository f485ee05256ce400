"""The house rules that a machine can hold: imports go down, some names live in one file only."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "elir_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = [ROOT / "train.py", ROOT / "evaluate.py"]
PROGRAMS = [
    *FILES,
    *sorted((ROOT / "configs").rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
    *sorted((ROOT / "docs").rglob("*.py")),
    *SCRIPTS,
]

# A module may import from lower floors, and from its own room.
FLOORS = [
    {"types", "arrays", "errors", "files", "ranges"},
    {"flow", "networks", "metrics", "pictures", "assets", "storage", "configurations", "fields"},
    {"data", "training", "inference"},
    {"devices", "evaluation", "methods", "device_degradations", "edge"},
    {"weights", "exporting"},
    {"running"},
    {"compose"},
    {"restorer", "parity"},
    {"commands"},
]
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
    return {n.split(".")[1] for n in imported(path) if n.startswith("elir_jax.")} & FLOOR.keys()


def is_door(path: Path) -> bool:
    """Whether a file only opens a command under its public name; it stands above all floors."""
    body = ast.parse(path.read_text()).body
    shapes = (ast.Expr, ast.Import, ast.ImportFrom, ast.If)
    return (
        0 < len(body) <= 4
        and all(isinstance(node, shapes) for node in body)
        and isinstance(body[-1], ast.If)
        and our_rooms(path) == {"commands"}
    )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    room = room_of(path)
    if room == "__init__" or is_door(path):
        return
    if room == "interop":
        assert path.name == "__init__.py" and not imported(path)
        return
    for other in our_rooms(path) - {room}:
        assert FLOOR[other] < FLOOR[room], f"{path.relative_to(PACKAGE)} imports {other}"


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in FILES if not is_door(path)} - {"__init__", "interop"}
    assert rooms == FLOOR.keys()


@pytest.mark.parametrize(
    "package, homes",
    [
        ("torch", {"weights/files.py", "parity"}),  # inside functions, when asked for
        ("pyiqa", {"metrics/perceptual.py"}),  # inside functions, where it is installed
        ("tensorflow", set()),
        ("optax", {"training"}),
        ("orbax", {"running/records/arrays.py"}),
        ("grain", {"data/pipeline.py"}),
        ("tensorflow_datasets", {"data/prepared.py", "data/preparing/writing.py"}),
        ("array_record", {"data/preparing/writing.py"}),
        (
            "ml_collections",
            {"compose", "configurations.py", "commands/frame.py", "commands/parsing.py"},
        ),
        ("huggingface_hub", {"weights/hub.py"}),
        ("onnx", {"exporting", "parity/exported.py"}),
        ("onnxruntime", {"edge/file.py"}),
        ("etils", {"storage"}),
        ("fsspec", {"storage/opening.py"}),  # where an object store is named
    ],
)
def test_packages_stay_in_their_room(package, homes):
    for path in FILES:
        if any(name.split(".")[0] == package for name in imported(path)):
            place = path.relative_to(PACKAGE).as_posix()
            assert place in homes or room_of(path) in homes, f"{place} imports {package}"


def test_only_one_file_calls_pmap():
    users = [p.name for p in FILES if re.search(r"\bjax\.pmap\b|import pmap", p.read_text())]
    assert users == ["mesh.py"]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_have_one_idea_and_say_it(path):
    text = path.read_text()
    assert path.name != "utils.py"
    assert len(text.splitlines()) <= 500
    if text:
        assert ast.get_docstring(ast.parse(text)), "a module starts with what it is"


JOINED = {"flow", "methods", "compose", "fields"}  # rooms without crumbs; others are to follow


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) in JOINED], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_short_file_has_several_importers(path):
    """Otherwise it is a part of the one file that imports it."""
    lines = len(path.read_text().splitlines())
    if 0 < lines < 60:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert sum(name in imported(other) for other in FILES) > 1


def long_functions(program: str, most: int) -> list[str]:
    """Names of the functions and methods that have more than ``most`` lines."""
    return [
        node.name
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > most
    ]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_function_is_longer_than_sixty_lines(path):
    assert long_functions(path.read_text(), 60) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_scripts_are_short(script):
    assert len(script.read_text().splitlines()) <= 80


GENERAL = ("training", "running", "inference", "evaluation")
NETWORKS_AND_METHODS = re.compile("encoder|estimator|velocity|decoder|elir|taesd", re.IGNORECASE)


def identifiers(path: Path) -> set[str]:
    """Every name that a file gives or uses, but the package's own."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        for field in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str) and not value.startswith("elir_jax"):
                found.add(value)
    return found


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) in GENERAL], ids=lambda p: str(p.relative_to(ROOT))
)
def test_general_rooms_know_no_network_and_no_method(path):
    assert not our_rooms(path) & {"networks", "methods", "flow", "compose"}
    assert not {name for name in identifiers(path) if NETWORKS_AND_METHODS.search(name)}


def test_the_design_says_in_forty_lines_how_to_add_a_method():
    text = (ROOT / "docs" / "design.md").read_text()
    section = text.partition("## How to add a method\n")[2].partition("\n## ")[0]
    assert 0 < len(section.splitlines()) <= 40
