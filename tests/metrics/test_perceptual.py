"""The perceptual metrics with a stand-in for pyiqa that records its use, and with pyiqa itself."""

import socket
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elir_jax.errors import UserError
from elir_jax.metrics.perceptual import NAMES, WEIGHTS, open_perceptual

X = np.random.default_rng(0).uniform(-0.1, 1.1, (2, 12, 10, 3)).astype(np.float32)
REFERENCE = np.random.default_rng(1).uniform(0, 1, X.shape).astype(np.float32)


class Stand:
    """What the tests use of pyiqa. ``broken``: metrics that cannot be made, or measure nothing."""

    def __init__(self, hub: Path):
        self.hub = hub
        self.broken: set[str] = set()
        self.made: list[tuple[str, dict]] = []
        self.features_options: list[dict] = []
        self.unreadable = False

    def create_metric(self, name, **options):
        if name in self.broken:
            raise OSError("no route\nto host")
        self.made.append((name, options))

        def measure(restored, original):
            assert {type(restored), type(original)} == {Image.Image}
            if self.unreadable and name == "niqe":
                raise AssertionError("too few blocks")
            return np.asarray(restored, np.float64).mean() + (
                original.width if name == "lpips" else 0
            )

        measure.net = types.SimpleNamespace(model="inception")
        measure.device = "cpu"
        return measure

    def features(self, folder, model, **options):
        self.features_options.append({"model": model} | options)
        files = sorted(Path(folder).iterdir())
        return np.stack([np.asarray(Image.open(file)).mean((0, 1)) for file in files])

    def modules(self):
        names = ("pyiqa", "pyiqa.utils", "pyiqa.utils.download_util", "pyiqa.archs")
        modules = {name: types.ModuleType(name) for name in (*names, "pyiqa.archs.fid_arch")}
        modules["pyiqa"].create_metric = self.create_metric
        modules["pyiqa.utils.download_util"].DEFAULT_CACHE_DIR = str(self.hub / "pyiqa")
        modules["pyiqa.archs.fid_arch"].get_folder_features = self.features
        return modules


@pytest.fixture
def stand(tmp_path, monkeypatch):
    stand = Stand(tmp_path / "hub")
    for name, module in stand.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return stand


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number, image in enumerate(np.concatenate([X, REFERENCE])):
        pixels = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def put_weights(hub):
    for files in WEIGHTS.values():
        for folder, address in files:
            (hub / folder).mkdir(parents=True, exist_ok=True)
            (hub / folder / Path(address).name).touch()


def test_without_pyiqa_nothing_is_had_and_one_line_says_how(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    perceptual, missing = open_perceptual(None)
    (line,) = missing
    assert line.split(":")[0] == ", ".join(NAMES)
    assert line.endswith("pip install -r requirements-metrics.txt")
    assert perceptual.names == () and perceptual.measure(X, REFERENCE) == {}
    perceptual.add("restored", X)
    assert perceptual.finish(["restored"]) == {} and perceptual.notes == []


def test_not_installed_is_told_from_broken(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "pyiqa.py").write_text("raise RuntimeError('torchvision::nms does not exist')")
    _, missing = open_perceptual(None)
    assert "cannot be loaded (torchvision::nms does not exist)" in missing[0]
    (tmp_path / "pyiqa.py").write_text("import surely_not_installed")
    _, missing = open_perceptual(None)
    assert "No module named 'surely_not_installed'" in missing[0]


def test_the_settings_are_the_releases(stand, photographs):
    perceptual, missing = open_perceptual(photographs)
    assert missing == [] and perceptual.names == ("lpips", "dists", "niqe", "musiq", "clipiqa")
    assert stand.made == [(n, {"net": "vgg"} if n == "lpips" else {}) for n in NAMES]


def test_images_are_measured_one_by_one_in_eight_bits(stand):
    perceptual, _ = open_perceptual(None)
    figures = perceptual.measure(X, REFERENCE)
    eight_bits = np.round(255 * np.clip(X, 0, 1)).mean((1, 2, 3))
    np.testing.assert_allclose(figures["niqe"], eight_bits, rtol=1e-6)
    np.testing.assert_allclose(figures["lpips"], eight_bits + X.shape[2], rtol=1e-6)
    assert perceptual.notes == []


def test_no_download_without_saying_so(stand, capsys):
    open_perceptual(None)
    said = capsys.readouterr().out
    assert said.count("downloading") == 7  # LPIPS and DISTS have two files, FID is not asked for
    assert f"clipiqa: downloading {WEIGHTS['clipiqa'][0][1]} to {stand.hub / 'clip'}" in said
    put_weights(stand.hub)
    open_perceptual(None)
    assert capsys.readouterr().out == ""


def test_a_metric_without_weights_is_left_out_and_a_line_says_where_they_go(stand):
    stand.broken = {"musiq"}
    perceptual, missing = open_perceptual(None)
    assert perceptual.names == ("lpips", "dists", "niqe", "clipiqa")
    line = next(line for line in missing if line.startswith("musiq"))
    assert "its weights are missing (no route to host)" in line
    assert line.endswith(f"musiq_koniq_ckpt-e95806b9.pth into {stand.hub / 'pyiqa'}")
    put_weights(stand.hub)
    _, missing = open_perceptual(None)
    assert "musiq: pyiqa cannot create it (no route to host)" in missing[0]


def test_a_metric_that_fails_leaves_the_others_alone(stand):
    stand.unreadable = True
    perceptual, _ = open_perceptual(None)
    for _ in range(2):
        figures = perceptual.measure(X, REFERENCE)
        assert np.isnan(figures["niqe"]).all() and np.isfinite(figures["musiq"]).all()
    assert perceptual.notes == ["niqe: failed on an image of 10x12 pixels (too few blocks)"]


def test_what_is_no_number_is_told(stand):
    perceptual, _ = open_perceptual(None)
    perceptual._by_image["musiq"] = lambda restored, original: float("inf")
    assert np.isnan(perceptual.measure(X, REFERENCE)["musiq"]).all()
    assert "pyiqa returned inf" in perceptual.notes[0]


def test_fid_of_the_reference_itself_is_zero(stand, photographs):
    perceptual, _ = open_perceptual(photographs)
    for image in np.concatenate([X, REFERENCE]):
        perceptual.add("restored", image[None])
    perceptual.add("input", X)
    figures = perceptual.finish(["input", "restored"])
    assert figures["restored"] == pytest.approx(0, abs=1e-6) and figures["input"] > 0.1
    options = stand.features_options[-1]
    assert options["model"] == "inception" and options["mode"] == "clean"
    assert options["num_workers"] == 0  # forks and JAX do not agree


def test_fid_takes_saved_statistics(stand, photographs, tmp_path):
    features = stand.features(photographs, "")
    saved = tmp_path / "saved.npz"
    np.savez(saved, mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    figures = []
    for reference in (photographs, saved):
        perceptual, _ = open_perceptual(reference)
        perceptual.add("restored", X)
        figures.append(perceptual.finish(["restored"])["restored"])
    assert figures[0] == pytest.approx(figures[1])


def test_a_stage_whose_fid_fails_leaves_the_others_alone(stand, photographs, monkeypatch):
    perceptual, _ = open_perceptual(photographs)
    perceptual.add("one image", X[:1])
    perceptual.add("full disk", X)
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        perceptual.add("full disk", X)
    perceptual.add("full disk", X)
    perceptual.add("restored", X)
    assert list(perceptual.finish(["full disk", "one image", "restored"])) == ["restored"]
    assert perceptual.notes == [
        "fid: failed on the stage full disk (disk full)",
        "fid: failed on the stage one image (a covariance needs at least 2 images, got 1)",
    ]


@pytest.mark.parametrize("name", ["absent", "absent.npz", "file.txt"])
def test_a_wrong_reference_is_a_mistake_at_once(tmp_path, name):
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(UserError, match=name):
        open_perceptual(tmp_path / name)


def test_pyiqa_itself(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that pyiqa brings along
        pytest.importorskip("pyiqa", reason="the real metrics need pyiqa installed")
        perceptual, missing = open_perceptual(None)
        if not perceptual.names:
            pytest.skip("none of pyiqa's weights are on this machine")
        photograph = np.kron(REFERENCE[:1], np.ones((1, 16, 20, 1))).astype(np.float32)
        figures = perceptual.measure(photograph, photograph)
    assert len(perceptual.names) + len(missing) == len(NAMES)
    assert all(np.isfinite(values).all() for values in figures.values()), perceptual.notes
    if "lpips" in figures:
        np.testing.assert_allclose(figures["lpips"], 0, atol=1e-6)
