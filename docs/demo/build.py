"""Write the page that restores in a browser: python docs/demo/build.py --output DEMO [SOURCE ...]

SOURCE is a model that ships, or FILE.onnx, which elir_jax.export wrote; without any, the page
offers photo and denoising. DEMO becomes a folder of static files, which serve.py or any other
server shows. Models that ship have kernels in 8 bits; a file keeps its own. The first build gets
two packages from npm (vendor.py).
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import vendor  # noqa: E402

from elir_jax import assets  # noqa: E402
from elir_jax.commands import frame  # noqa: E402
from elir_jax.edge.cutting import cut  # noqa: E402
from elir_jax.edge.file import Exported, is_exported, read_exported, verified  # noqa: E402
from elir_jax.errors import UserError  # noqa: E402

PAGE = Path(__file__).with_name("page")
COMPARISON = [ROOT / "elir_jax/evaluation" / name for name in ("compare.css", "compare.js")]
FORMAT = "int8"
LIST = "models.json"  # in every demo
WORDS = {"denoising": "Strong noise", "photo": "Old, small or over-compressed"}
SAID = ("title", "licence", "format", "digest", "multiple", "flow")  # of a file's metadata
OF_PART = ("name", "reach", "sizes", "scale", "noisy", "also")


def build(sources: list[str], output: Path) -> None:
    """Write the page's folder, completely or not at all. Raises UserError."""
    _check_output(output)
    models = {_name(source): _model(source) for source in sources}
    if len(models) < len(sources):
        raise UserError(f"two models of one name among {', '.join(sources)}; rename one")
    vendor.fetch()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".demo", dir=output.parent) as place:
            folder = Path(place) / "demo"
            shutil.copytree(PAGE, folder)
            for path, content in _files(models).items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
            if output.exists():
                shutil.rmtree(output)
            folder.replace(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print(f"wrote {output}: {', '.join(models)}, {size / 1e6:.1f} MB; "
          f"python docs/demo/serve.py {output} shows it")  # fmt: skip


def _check_output(output: Path) -> None:
    if output.exists() and not (output / LIST).is_file() and (
        not output.is_dir() or any(output.iterdir())
    ):  # fmt: skip
        raise UserError(f"{output}: exists and is no demo; choose another folder")


def _name(source: str) -> str:
    """The model's folder in the page, which stands in addresses."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", Path(source).stem)


def _model(source: str) -> Exported:
    path = Path(source)
    if is_exported(path):
        return verified(read_exported(path))
    if source not in assets.MODELS:
        raise UserError(f"{source}: neither a model that ships ({', '.join(assets.MODELS)}) nor "
                        f"a file .onnx; write one with elir_jax.export")  # fmt: skip
    from elir_jax.commands.exporting import OURS, content_of  # here: they load jax
    from elir_jax.compose.exporting import describe, exportable

    found = exportable(path)
    return read_exported(path, content_of(found, FORMAT, describe(found, source, OURS)))


def _files(models: dict[str, Exported]) -> dict[str, bytes]:
    """What the page's folder holds beside the page, by name."""
    files = {path.name: path.read_bytes() for path in COMPARISON}
    for package in vendor.PACKAGES:
        files |= vendor.files_of(package)
    for name, file in models.items():
        for path, content in _parts(file).items():
            files[f"models/{name}/{path}"] = content
    offered = [{"name": name, "words": WORDS.get(name, name)} for name in models]
    return files | {LIST: json.dumps(offered).encode()}


def _parts(file: Exported) -> dict[str, bytes]:
    """A model's parts, each a file for onnxruntime-web, which cannot cut; and what they are."""
    files: dict[str, bytes] = {}
    about: dict[str, Any] = {name: file.about.get(name) for name in SAID}
    about |= {"task": file.about["config"]["degradation"]["name"], "parts": []}
    for said in file.about["parts"]:
        inputs, output = said["inputs"], said["output"]
        path = f"{said['name']}.onnx"
        files[path] = cut(file.model, inputs, output)
        part = {name: said[name] for name in OF_PART}
        about["parts"].append(part | {"file": path, "inputs": inputs, "output": output})
    return files | {"model.json": json.dumps(about, indent=1).encode()}


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", metavar="SOURCE", nargs="*", default=list(WORDS))
    parser.add_argument("--output", metavar="DEMO", required=True, type=Path,
                        help="the folder to write; another demo there is replaced")  # fmt: skip
    options = parser.parse_args(argv)
    return frame.exit_code_of(lambda: build(options.sources, options.output), argv)


if __name__ == "__main__":
    sys.exit(main())
