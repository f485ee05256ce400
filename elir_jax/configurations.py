"""Read configuration files: Python files with a function ``get_config(variant)``.

Configurations import each other as ``from configs import common``. Python itself would prefer any
other project's package ``configs`` to ours, which has no ``__init__.py``. So the package that a
file sees is put together while the file is read: first the folder ``configs`` that the file is in,
if there is one, then ours, then those on ``sys.path``.
"""

import difflib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from elir_jax.errors import UserError

PACKAGE = Path(__file__).resolve().parent
FOLDER = "configs"
CHOSEN = "chosen_config"  # name of the module that is read


def read_config(path: str) -> ConfigDict:
    """The configuration of ``configs/NAME.py[:variant]``, or of a file anywhere else.

    If there is no file ``configs/NAME.py`` here, ours is read. Raises UserError if there is none,
    and with file and line if the file cannot be read or raises an error.
    """
    name, *variant = path.split(":", 1)
    file = _find(name)
    if file is None:
        raise UserError(f"{name or repr(name)}: {_what_is_wrong(name)}")
    with _package_for(file) as folders:
        try:
            module = _run(file)
            if not hasattr(module, "get_config"):
                raise UserError(f"{name}: has no function get_config(variant)")
            config = module.get_config(*(variant or _missing(module.get_config)))
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # whatever the file may raise
            raise UserError(f"{path}: {_explained(error, file, folders)}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: get_config returned {type(config).__name__}, not a ConfigDict")
    return config


def _missing(get_config: Callable) -> list[str]:
    """What a function that insists on a variant is given if none is named: an empty one."""
    parameters = inspect.signature(get_config).parameters.values()
    return [""] if any(one.default is one.empty for one in parameters) else []


def _ours() -> Path:
    """The folder of our configurations: in an installed package, or beside it in a checkout."""
    carried = PACKAGE / FOLDER
    return carried if carried.is_dir() else PACKAGE.parent / FOLDER


def _find(name: str) -> Path | None:
    given = Path(name)
    ours = [_ours().joinpath(*given.parts[1:])] if given.parts[:1] == (FOLDER,) else []
    return next((file for file in [given, *ours] if os.path.isfile(file)), None)


def _what_is_wrong(name: str) -> str:
    if os.path.isdir(name) and name:
        return "is a folder; name a file in it"
    folders = Path(FOLDER), _ours()
    known = {f"{FOLDER}/{file.name}" for folder in folders for file in folder.glob("*.py")}
    small = {one.lower(): one for one in known if Path(one).stem not in ("common", "__init__")}
    near = difflib.get_close_matches(name.lower(), small, 1, 0.3)
    hint = f"did you mean {small[near[0]]}?" if near else f"name one as {FOLDER}/NAME.py"
    return f"no such configuration; {hint}"


@contextmanager
def _package_for(file: Path) -> Iterator[list[str]]:
    """The package ``configs`` for one file, with its folders; what had the name before returns."""
    own = [folder for folder in file.absolute().parents if folder.name == FOLDER][:1]
    others = [Path(entry).absolute() / FOLDER for entry in sys.path]
    folders = [str(folder) for folder in [*own, _ours(), *others] if folder.is_dir()]
    before = _taken_out()
    spec = ModuleSpec(FOLDER, None, is_package=True)
    spec.submodule_search_locations = folders = [*dict.fromkeys(folders)]
    sys.modules[FOLDER] = module_from_spec(spec)
    try:
        yield folders
    finally:
        _taken_out()
        sys.modules.update(before)


def _taken_out() -> dict[str, ModuleType]:
    ours = [name for name in sys.modules if name.partition(".")[0] in (FOLDER, CHOSEN)]
    return {name: sys.modules.pop(name) for name in ours}


def _run(file: Path) -> ModuleType:
    """The module of a file, compiled from its text: bytecode may be as old as its last second."""
    module = ModuleType(CHOSEN)
    module.__file__ = str(file)
    sys.modules[CHOSEN] = module  # as dataclasses expect it
    exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)
    return module


def _explained(error: BaseException, file: Path, folders: list[str]) -> str:
    """What went wrong, and the last place in a configuration that led to it."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        places.append((error.filename, error.lineno))
        text = f"{type(error).__name__}: {error.msg}"
    elif type(error) is ValueError:  # how configurations refuse a variant
        text = str(error)
    ours = [
        f" ({name}, line {line})"
        for name, line in places
        if any(Path(name or "").is_relative_to(place) for place in (file, *folders))
    ]
    return " ".join(text.split()) + "".join(ours[-1:])
