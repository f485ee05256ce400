"""Every command line of the README and the docs starts, as it is written there.

Each stands in ``TABLE`` with what it takes to run it here: other words for its placeholders,
options that make it small, and the point to stop it at if it would train or measure for long. A
command that is documented and not listed fails, and so does one that is listed and not documented.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from commanding import REACHED, start
from documented import DOCUMENTS, ROOT, commands, python_blocks
from PIL import Image

from elir_jax.compose import build
from elir_jax.configurations import read_config
from elir_jax.running.records import checkpoint
from elir_jax.running.records.writers import FOLDER
from elir_jax.running.starting import flatten

TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in DOCUMENTS}
DOCUMENTED = {command: name for name, text in TEXTS.items() for command in commands(text)}
RUN = "runs/quickstart"
TINY = "configs/quickstart.py:tiny"
LESS = "'--config.velocity.channel_multipliers=(1, 2)'"  # half as much to compile


class Case(NamedTuple):
    """How a documented command is run."""

    words: dict[str, str] = {}  # replaced in the command
    more: str = ""  # added to it
    until: str = ""  # where it is stopped; nowhere: it runs to its end
    after: str = ""  # a documented command that makes what this one reads


NAMED = {"configs/NAME.py": TINY}
FULL = {"until": "training"}  # weights and steps are left out
MEASURED = {"until": "arguments"}
FFHQ = "python -m elir_jax.data.prepare ffhq --images FFHQ --data-dir DATA --size 512"
CELEBA = "python -m elir_jax.data.prepare celeba_test --images CELEBA --data-dir DATA"
RELEASE = "python -m elir_jax.interop.convert SRC DST"
AS_TENSORS = {"elir_bfr.pth": "elir_bfr.safetensors"}  # .pth files need torch

EXPORT = "python -m elir_jax.export denoising --output denoising.onnx"

TABLE = {
    # The README and the pages that it opens with
    "python train.py --config configs/quickstart.py": Case(**FULL),
    "python -m elir_jax.restore PICTURES --output RESTORED": Case(
        {"RESTORED": "BY_PHOTO"}, "--steps 1"
    ),
    "python -m elir_jax.restore PICTURES --output RESTORED --model denoising": Case(
        {"RESTORED": "BY_DENOISING"}, "--steps 1"
    ),
    "python -m elir_jax.interop.convert RUN MODEL.safetensors --model": Case({"RUN": RUN}),
    "elir-restore PICTURES --output RESTORED": Case({"RESTORED": "ANEW"}, "--steps 1"),
    "elir-prepare folder --images FOLDER --data-dir DATA": Case({"DATA": "ANEW/DATA"}),
    "elir-convert elir_bfr.pth runs/bfr": Case(
        AS_TENSORS | {"runs/bfr": "runs/anew"}, after=RELEASE
    ),
    "python -m elir_jax.restore PICTURES --output RESTORED --checkpoint runs/quickstart": Case(),
    "python -m elir_jax.restore old.jpg --output RESTORED --checkpoint elir_bfr.pth "
    "--config configs/bfr.py": Case(AS_TENSORS, "--steps 1", after=RELEASE),
    "python train.py --config configs/NAME.py [--workdir DIR] [--config.FIELD=VALUE ...]": Case(
        {**NAMED, "DIR": "runs/other", "FIELD=VALUE ...": "seed=3"}, **FULL
    ),
    FFHQ: Case({"512": "256"}),
    CELEBA: Case(),
    "python -m elir_jax.data.prepare folder --images FOLDER --data-dir DATA": Case(),
    "python train.py --config configs/bfr.py --config.data.path=DATA/ffhq "
    "--config.data.eval_path=DATA/celeba_test": Case(after=FFHQ, **FULL),
    "python evaluate.py --workdir RUN": Case({"RUN": RUN}),
    "python evaluate.py --workdir RUN --config.sampler.num_steps=5 --allow-config-change": Case(
        {"RUN": RUN, "=5": "=1"}
    ),
    "python evaluate.py --lq DIR --hq DIR --checkpoint RUN|FILE": Case(
        {"--lq DIR": "--lq CELEBA/lq", "--hq DIR": "--hq CELEBA/hq", "RUN|FILE": RUN}
    ),
    "python -m elir_jax.data.preview --config configs/NAME.py --out FILE.png": Case(NAMED),
    "python -m elir_jax.data.preview --config configs/NAME.py --out FILE.png --both": Case(NAMED),
    "python train.py --config configs/bfr.py --config.data.path=DATA/ffhq "
    "--config.data.degrade_on=device": Case(after=FFHQ, **FULL),
    "python benchmarks/data.py": Case(more="--samples 1 --tasks denoising --no-step --files 0"),
    "python benchmarks/listing.py": Case(more="--files 1000 --workers 1"),
    "python benchmarks/faults.py": Case(**MEASURED),
    "python benchmarks/faults.py --place s3://BUCKET/drill": Case(**MEASURED),
    "python train.py --config configs/bfr.py --workdir gs://BUCKET/bfr "
    "--config.data.path=gs://BUCKET/data/ffhq --distributed": Case(
        {"gs://BUCKET/bfr": "runs/there", "gs://BUCKET/data/ffhq": "DATA/ffhq"}, after=FFHQ, **FULL
    ),
    # docs/numerics.md and the rest
    "python -m elir_jax.interop.compare --golden FILE.npz --checkpoint FILE.pth": Case(
        {"FILE.npz": str(ROOT / "tests/golden/small.npz"), "FILE.pth": "elir_bfr.safetensors"},
        until="comparison",
        after=RELEASE,
    ),
    "python -m elir_jax.interop.compare --reference-repo DIR --checkpoint FILE "
    "--image FILE...": Case({"FILE...": "FILE FILE"}, **MEASURED),
    "python -m elir_jax.interop.compare --reference-repo PMRF --checkpoint FILE.ckpt "
    "--image FILE...": Case({"FILE...": "FILE FILE"}, **MEASURED),
    "python -m elir_jax.interop.compare": Case(more="--help"),
    RELEASE: Case({"SRC": RUN, "DST": "elir_bfr.safetensors"}),
    "python train.py --config configs/directflow.py:denoising "
    "--config.data.path=PHOTOGRAPHS": Case({"PHOTOGRAPHS": "FFHQ"}, **FULL),
    "python -m elir_jax.interop.convert runs/directflow-denoising one_step.safetensors "
    "--model": Case({"runs/directflow-denoising": RUN}),
    "python -m elir_jax.interop.convert runs/directflow-denoising denoising-1step.safetensors "
    "--model": Case({"runs/directflow-denoising": RUN}),
    "python benchmarks/distillation.py denoising FOLDER STUDENT": Case(**MEASURED),
    "python benchmarks/board.py TESTSETS": Case(**MEASURED),
    "python benchmarks/board.py TESTSETS --sets CBSD68 --model runs/mine "
    "--results FFDNet=FFDNET": Case({"=FFDNET": "=FFHQ"}, **MEASURED),
    "python benchmarks/speed.py --only restore --batches 1 --steps 1 25": Case(**MEASURED),
    "python benchmarks/speed.py --repeats 3 --sizes 256": Case(**MEASURED),
    'python benchmarks/speed.py --precision high --sizes 512 256 --modes "as shipped" '
    '"compiled, channels-last"': Case(**MEASURED),
    "python benchmarks/parts.py --repeats 3": Case(**MEASURED),
    "python benchmarks/layers.py --repeats 21": Case(**MEASURED),
    "python benchmarks/layers.py": Case(**MEASURED),
    "python benchmarks/memory.py": Case(**MEASURED),
    "python benchmarks/same_numbers.py BEFORE AFTER": Case(**MEASURED),
    "python benchmarks/doors.py": Case(**MEASURED),
    "python benchmarks/large.py": Case(**MEASURED),
    "python evaluate.py --workdir runs/quickstart": Case(until="evaluation"),
    "XDG_CACHE_HOME=CACHE python train.py --config configs/quickstart.py": Case(**FULL),
    "python train.py --config configs/bfr.py --config.data.path=/mnt/ffhq --distributed": Case(
        {"/mnt/ffhq": "FFHQ"}, **FULL
    ),
    "python train.py --config configs/bfr.py --config.data.path=/data/ffhq --distributed": Case(
        {"/data/ffhq": "FFHQ"}, **FULL
    ),
    "python train.py --config configs/bfr.py --config.data.path=/data/ffhq "
    "--coordinator HOST0:12345 --num-processes N --process-id I": Case(
        {"/data/ffhq": "FFHQ", " N ": " 2 ", "id I": "id 0"}, **FULL
    ),
    "XLA_FLAGS=--xla_force_host_platform_device_count=2 python train.py --config "
    "configs/quickstart.py:tiny --coordinator localhost:12345 --num-processes 2 "
    "--process-id 0": Case(**FULL),
    "python train.py --config configs/bfr.py --compile-for v5e:2x2": Case(until="compilation"),
    "python benchmarks/tpu.py --topology v5e:2x2 --config configs/bfr.py --per-chip 4 "
    "--dtype bfloat16": Case(**MEASURED),
    "python benchmarks/tpu.py --topology v5e:2x2 --config configs/bfr.py --per-chip 4 "
    "--dtype bfloat16 --program restore": Case(**MEASURED),
    "python benchmarks/scaling.py --config configs/bfr.py --per-chip P": Case(
        {" P": " 2"}, **MEASURED
    ),
    "python train.py --config configs/autoencoder.py:linear "
    "--config.data.path=PHOTOGRAPHS": Case({"PHOTOGRAPHS": "FFHQ"}, **FULL),
    "python train.py --config configs/autoencoder.py --config.data.path=PHOTOGRAPHS "
    "--config.autoencoder.weights=runs/autoencoder-linear/autoencoder.safetensors": Case(
        {"PHOTOGRAPHS": "FFHQ"}, **FULL
    ),
    "python benchmarks/autoencoder.py FOLDER": Case(**MEASURED),
    "python train.py --config configs/shipped_denoising.py --config.data.path=PHOTOGRAPHS": Case(
        {"PHOTOGRAPHS": "FFHQ"}, **FULL
    ),
    "python train.py --config configs/shipped_photo.py:mean --config.data.path=PHOTOGRAPHS": Case(
        {"PHOTOGRAPHS": "FFHQ"}, **FULL
    ),
    "python train.py --config configs/shipped_photo.py --config.data.path=PHOTOGRAPHS "
    "--config.estimator.weights=runs/shipped_photo-mean": Case(
        {"PHOTOGRAPHS": "FFHQ"}, **FULL
    ),
    **{
        f"python -m elir_jax.interop.convert runs/shipped_{name} {name}.safetensors --model": Case(
            {f"runs/shipped_{name}": RUN}
        )
        for name in ("denoising", "photo")
    },
    "python benchmarks/models.py photo FOLDER": Case(**MEASURED),
    "python benchmarks/calibration.py photo FOLDER --most 10": Case(**MEASURED),
    "python benchmarks/models.py denoising FOLDER --most 40": Case(**MEASURED),
    "python -m elir_jax.restore PICTURES --output RESTORED --model denoising-1step": Case(
        {"RESTORED": "IN_ONE_STEP"}, "--steps 1"
    ),
    "python benchmarks/distillation.py denoising FOLDER denoising-1step --most 20": Case(
        **MEASURED
    ),
    "python train.py --config configs/posterior_mean.py:tiny": Case(**FULL),
    "python train.py --config configs/pmrf.py:tiny": Case(**FULL),
    "python train.py --config configs/posterior_mean.py:inpainting "
    "--config.data.path=FFHQ_FOLDER": Case({"FFHQ_FOLDER": "FFHQ"}, **FULL),
    "python train.py --config configs/pmrf.py:inpainting "
    "--config.data.path=FFHQ_FOLDER": Case({"FFHQ_FOLDER": "FFHQ"}, **FULL),
    "python train.py --config configs/pmrf_bfr.py --config.data.path=FFHQ_512_FOLDER": Case(
        {"FFHQ_512_FOLDER": "FFHQ"}, **FULL
    ),
    "python benchmarks/pmrf.py --reference-repo PMRF": Case(**MEASURED),
    "python train.py --config configs/sim_vae.py:tiny": Case(**FULL),
    "python train.py --config configs/latent_pmrf_bfr.py:tiny": Case(**FULL),
    "python train.py --config configs/sim_vae.py --config.data.path=PHOTOGRAPHS": Case(
        {"PHOTOGRAPHS": "FFHQ"}, **FULL
    ),
    **{
        f"python train.py --config configs/{config} "
        f"--config.data.path=PHOTOGRAPHS {seeded}": Case(
            {"PHOTOGRAPHS": "FFHQ", "SEED": "1"}, **FULL
        )
        for config, seeded in (
            (
                "latent_pmrf_bfr.py:tiny_latent_mean",
                "--config.seed=SEED --workdir runs/latents-SEED",
            ),
            (
                "posterior_mean.py:tiny",
                "--config.num_steps=500 --config.seed=SEED --workdir runs/mean-SEED",
            ),
            (
                "latent_pmrf_bfr.py:tiny",
                "--config.seed=SEED --config.estimator.weights=runs/mean-SEED "
                "--workdir runs/pixels-SEED",
            ),
        )
    },
    "python benchmarks/means.py FOLDER latents=runs/latents-0,runs/latents-1,runs/latents-2 "
    "pixels=runs/pixels-0,runs/pixels-1,runs/pixels-2": Case(**MEASURED),
    **{
        "python train.py --config configs/sim_vae.py:tiny --config.data.path=PHOTOGRAPHS "
        f'--config.autoencoder.channels="(32, 32, 64, 64)" {changed}': Case(
            {"PHOTOGRAPHS": "FFHQ"}, **FULL
        )
        for changed in (
            "--workdir runs/layer",
            "--config.autoencoder.norm=group --workdir runs/group",
            "--config.autoencoder.upsample=pixel_shuffle --workdir runs/shuffle",
        )
    },
    "python -m elir_jax.interop.convert runs/sim_vae-tiny sim_vae.safetensors": Case(
        {"runs/sim_vae-tiny": RUN}
    ),
    "python -m elir_jax.interop.convert runs/latent_pmrf_bfr-tiny velocity.safetensors": Case(
        {"runs/latent_pmrf_bfr-tiny": RUN}
    ),
    "python train.py --config configs/latent_pmrf_bfr.py "
    "--config.data.path=FFHQ_512_FOLDER": Case({"FFHQ_512_FOLDER": "FFHQ"}, **FULL),
    "python train.py --config configs/autoencoder.py:decoder "
    "--config.data.path=PHOTOGRAPHS": Case({"PHOTOGRAPHS": "FFHQ"}, **FULL),
    # docs/edge.md
    EXPORT: Case(),
    "python -m elir_jax.edge denoising.onnx PICTURES --output RESTORED": Case(
        {"RESTORED": "BY_EDGE"}, "--steps 1", after=EXPORT
    ),
    "python -m elir_jax.restore PICTURES --output RESTORED --checkpoint denoising.onnx": Case(
        {"RESTORED": "BY_FILE"}, "--steps 1", after=EXPORT
    ),
    "python -m elir_jax.restore PICTURES --output RESTORED --model denoising --runtime auto": Case(
        {"python": "XDG_CACHE_HOME=CACHE python", "RESTORED": "BY_AUTO"}, "--steps 1"
    ),
    "python -m elir_jax.export --check denoising.onnx --pictures PHOTOGRAPHS": Case(**MEASURED),
    "python -m elir_jax.export SOURCE --check FILE.onnx --pictures DIR": Case(**MEASURED),
    "python -m elir_jax.export photo --format stablehlo --output photo.zip": Case(**MEASURED),
    "python docs/demo/build.py --output demo": Case(**MEASURED),
    "python docs/demo/build.py mine.onnx --output demo": Case(**MEASURED),
    "python docs/demo/serve.py demo": Case(**MEASURED),
    "python docs/demo/vendor.py": Case(**MEASURED),
    "python -m http.server --bind 127.0.0.1 --directory demo": Case(**MEASURED),
}  # fmt: skip
EDGE = re.compile(r"elir_jax\.(export|edge)|\.onnx|--runtime")  # commands that need the extra

SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix()
    for place in (ROOT, ROOT / "benchmarks", ROOT / "docs", ROOT / "elir_jax")
    for path in (place.glob("*.py") if place == ROOT else place.rglob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
)


def module(script: str) -> str:
    """How a script is called."""
    if script.startswith("elir_jax/"):
        name = script.removesuffix(".py").removesuffix("/__main__")
        return "python -m " + name.replace("/", ".")
    return f"python {script}"


def about_the_environment(command: str) -> bool:
    """Whether the command makes an environment or runs the tests: ``.ci/run`` does those."""
    return re.match(r"pip |python -m (venv|pip|pytest)\b", command) is not None


def photograph(path: Path, height: int, width: int) -> None:
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(255 * np.stack([x, y, x * y], -1))).save(path)


def write_run(folder: Path) -> None:
    """A run of the tiny configuration, as training leaves it, whose weights are zeros."""
    config = read_config(TINY)
    config.velocity.channel_multipliers = (1, 2)
    run = build(config)
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), run.state_like())
    checkpoint.write(folder / FOLDER, 0, state, {"samples": 0}, run.config)


class Checkout:
    """A folder that looks like a checkout with a user's files in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.done: dict[str, tuple[int, str]] = {}
        for entry in ROOT.iterdir():
            if not entry.name.startswith(".") and entry.name != "runs":
                (folder / entry.name).symlink_to(entry)
        write_run(folder / RUN)
        for number in range(6):
            photograph(folder / f"FFHQ/{number}.png", 256, 256)
        for name in ("CELEBA/hq/a.png", "CELEBA/lq/a.png"):
            photograph(folder / name, 256, 256)
        for name in ("PICTURES/a.png", "FOLDER/a.png"):
            photograph(folder / name, 64, 64)
        for name in ("old.jpg", "picture.png", "face.png"):
            photograph(folder / name, 64, 64)

    def run(self, command: str, case: Case) -> tuple[int, str]:
        """(exit code, what was said) of a documented command and of what it needs before."""
        if case.after:
            assert self.run_once(case.after)[0] == 0
        line = command.replace("[", "").replace("]", "")
        for word, other in case.words.items():
            assert word in line, f"{word} does not stand in: {command}"
            line = line.replace(word, other)
        return start(f"{line} {case.more}", self.folder, case.until)

    def run_once(self, command: str) -> tuple[int, str]:
        if command not in self.done:
            self.done[command] = self.run(command, TABLE[command])
        return self.done[command]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return Checkout(tmp_path_factory.mktemp("checkout"))


@pytest.mark.slow
@pytest.mark.parametrize("command", DOCUMENTED, ids=str)
def test_a_documented_command_starts(checkout, command):
    if about_the_environment(command):
        assert what_is_missing(command) == []
        return
    if EDGE.search(command):
        pytest.importorskip("onnx", reason="requirements-edge.txt is not installed")
        pytest.importorskip("onnxruntime", reason="requirements-edge.txt is not installed")
    assert command in TABLE, f"{DOCUMENTED[command]} shows what no test starts: {command}"
    code, said = checkout.run_once(command)
    assert code == 0, said
    until = TABLE[command].until
    assert not until or f"{REACHED}{until}\n" in said, said


def what_is_missing(command: str) -> list[str]:
    """Of the files and folders that such a command names."""
    words = shlex.split(command)
    files = [word for before, word in zip(words, words[1:], strict=False) if before == "-r"]
    files += [word for word in words if word.startswith("tests/")]
    return [file for file in files if not (ROOT / file).exists()]


def test_the_table_lists_what_is_documented_and_nothing_else():
    expected = {command for command in DOCUMENTED if not about_the_environment(command)}
    assert TABLE.keys() == expected


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_is_documented_and_answers_help(checkout, script):
    calls = [f"{command} " for command in DOCUMENTED]
    assert any(f"{module(script)} " in call for call in calls), f"{script}: documented nowhere"
    code, said = start(f"{module(script)} --help", checkout.folder)
    assert code == 0 and "Traceback" not in said, said
    assert len(said.splitlines()) > 3


@pytest.mark.slow
@pytest.mark.parametrize("program", python_blocks("\n".join(TEXTS.values())))
def test_a_documented_python_program_runs(checkout, program):
    code, said = start(f"python -c {shlex.quote(program)}", checkout.folder)
    assert code == 0, said
    with Image.open(checkout.folder / "restored.png") as restored:
        assert restored.size == (64, 64)


def test_every_documented_field_of_the_configuration_exists():
    """In the common fields, or in those of a method of its own."""
    files = (ROOT / "configs").glob("*.py")
    names = [f"configs/{path.name}" for path in files if path.stem not in ("common", "__init__")]
    known = set().union(*(flatten(read_config(name).to_dict()) for name in names))
    sections = {field.rpartition(".")[0] for field in known}
    for name, text in TEXTS.items():
        for field in re.findall(r"--config\.([a-z][a-z0-9_.]*[a-z0-9_])", text):
            assert field in known | sections, f"{name}: --config.{field} is no field"


# What the tests above find, on documentation and commands that are broken on purpose


@pytest.mark.parametrize(
    "documented, broken",
    [
        ("--output RESTORED --model", "--outptu RESTORED --model"),
        ("--config configs/quickstart.py", "--config configs/quickstrt.py"),
        ("python benchmarks/data.py", "python benchmarks/date.py"),
        ("`python evaluate.py", "`python evaluat.py"),
        ("# Evaluation\n", "# Evaluation\n```\nelir-new PICTURES\n```\n"),
    ],
)
def test_a_broken_or_new_line_of_the_documents_is_not_in_the_table(documented, broken):
    text = "\n\n".join(TEXTS.values())
    assert documented in text
    unknown = [
        command
        for command in commands(text.replace(documented, broken))
        if command not in TABLE and not about_the_environment(command)
    ]
    assert len(unknown) >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "command, case",
    [
        ("python -m elir_jax.restore PICTURES --outptu RESTORED --checkpoint runs/quickstart", {}),
        ("python -m elir_jax.restore PICTURES --output OTHER --checkpoint runs/quickstrt", {}),
        ("python train.py --config configs/quickstrt.py", FULL),
        ("python train.py --config configs/quickstart.py --config.batchsize=3", FULL),
        ("python train.py --config configs/bfr.py --config.data.path=DATA/nothing", FULL),
        ("python benchmarks/date.py", MEASURED),
        ("python benchmarks/speed.py --repeat-s 3", MEASURED),
        ("python -m elir_jax.data.preveiw --out FILE.png", {}),
    ],
)
def test_a_broken_command_does_not_start(checkout, command, case):
    code, said = checkout.run(command, Case(**case))
    assert code != 0 and REACHED not in said
