"""The programs that write the demo's folder: what they write, and mistakes in one line."""

import json
import re

import demo
import pytest

from elir_jax.edge.file import read_exported
from elir_jax.errors import UserError


def one_line(capsys, *words):
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("error: "), said
    for word in words:
        assert word in said[0], said[0]


@pytest.mark.slow
def test_the_folder_holds_each_model_in_parts_and_names_it():
    folder = demo.built()
    listed = json.loads((folder / "models.json").read_text())
    assert [model["name"] for model in listed] == list(demo.models())
    for name, path in demo.models().items():
        about = json.loads((folder / "models" / name / "model.json").read_text())
        file = read_exported(path)
        assert about["task"] == file.about["config"]["degradation"]["name"]
        assert about["digest"] == file.about["digest"] and about["flow"] == file.about["flow"]
        assert [part["name"] for part in about["parts"]] == [p["name"] for p in file.about["parts"]]
        parts = sum(
            (folder / "models" / name / part["file"]).stat().st_size for part in about["parts"]
        )
        assert parts < 1.2 * len(file.model)  # each weight once


def test_the_page_refers_to_its_own_folder_only():
    for path in (demo.SOURCE / "page").iterdir():
        text = path.read_text()
        addresses = re.findall(r"""https?://[^\s"'<)]*""", text)
        assert addresses in ([], ["http://127.0.0.1:8000"]), path.name
    policy = demo.serve.POLICY.search((demo.SOURCE / "page/index.html").read_text())[1]
    allowed = dict(rule.split(maxsplit=1) for rule in map(str.strip, policy.split(";")))
    assert allowed["default-src"] == "'none'" and allowed["connect-src"] == "'self'"
    assert all("*" not in sources and "http" not in sources for sources in allowed.values())


@pytest.mark.parametrize("path", sorted((demo.SOURCE / "page").iterdir()), ids=lambda p: p.name)
def test_the_pages_files_are_short_and_programs_say_what_they_are(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 150
    assert path.suffix != ".js" or text.startswith("/**")


@pytest.mark.slow
def test_a_folder_that_is_no_demo_is_left_as_it_is(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("kept")
    code = demo.build.main([str(demo.models()["float32"]), "--output", str(tmp_path)])
    assert code == 2
    one_line(capsys, str(tmp_path), "no demo", "another folder")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert demo.build.main(["--output", str(tmp_path / "mine.txt")]) == 2
    one_line(capsys, "mine.txt", "no demo")


@pytest.mark.slow
def test_another_demo_is_replaced(tmp_path):
    demo.require_vendored()
    output = tmp_path / "demo"
    output.mkdir()
    (output / "models.json").write_text("[]")
    (output / "old").write_text("")
    assert demo.build.main([str(demo.models()["float32"]), "--output", str(output)]) == 0
    assert not (output / "old").exists() and (output / "index.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "sources, words",
    [
        (
            ["photos"],
            [
                "photos: neither a model that ships (photo, denoising, denoising-1step)",
                "elir_jax.export",
            ],
        ),
        (["nothing.onnx"], ["nothing.onnx: no such file"]),
        (["FILE", "other/FILE"], ["two models of one name", "rename one"]),
    ],
)
def test_mistakes_in_sources_are_one_line(tmp_path, capsys, sources, words):
    file = demo.models()["float32"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / file.name).write_bytes(file.read_bytes())
    places = {"FILE": str(file), "other/FILE": str(tmp_path / "other" / file.name)}
    given = [places.get(source, source) for source in sources]
    assert demo.build.main([*given, "--output", str(tmp_path / "demo")]) == 2
    one_line(capsys, *words)
    assert not (tmp_path / "demo").exists()


def npm(folder, program, monkeypatch):
    """A stand-in for npm that runs a program of the shell."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{program}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    "program, words",
    [
        ("", ["npm did not get onnxruntime-web 1.30.0 (no reason given)", "yourself"]),
        ("echo 'npm error: no network' >&2; exit 1", ["(npm error: no network)"]),
        ("echo other > onnxruntime-web-1.30.0.tgz", ["as it is pinned (another sha512)", "remove"]),
    ],
)
def test_what_npm_does_wrong_is_told(tmp_path, monkeypatch, capsys, program, words):
    npm(tmp_path / "bin", program, monkeypatch)
    with pytest.raises(UserError) as error:
        demo.vendor.fetch(tmp_path / "vendor")
    for word in words:
        assert word in str(error.value)
    said = capsys.readouterr().out
    assert said.startswith("getting onnxruntime-web 1.30.0 from your npm registry, 33.1 MB, into ")


def test_npm_that_is_missing_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="npm is not installed; install Node.js, or put onnx"):
        demo.vendor.fetch(tmp_path / "vendor")


def test_an_archive_that_changed_later_is_refused(tmp_path):
    demo.require_vendored()
    for package in demo.vendor.PACKAGES:
        content = bytearray((demo.vendor.VENDOR / package.archive).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / package.archive).write_bytes(content)
        with pytest.raises(UserError, match="as it is pinned"):
            demo.vendor.files_of(package, tmp_path)


def test_mistakes_in_serving_are_one_line(tmp_path, capsys):
    assert demo.serve.main([str(tmp_path)]) == 2
    one_line(capsys, str(tmp_path), "no demo")
    (tmp_path / "index.html").write_text("<p>another page</p>")
    assert demo.serve.main([str(tmp_path)]) == 2
    one_line(capsys, str(tmp_path), "no demo")
    with demo.served(demo.serve.server(demo.SOURCE / "page", 0)) as address:
        taken = address.strip("/").rpartition(":")[2]
        for port in (taken, "99999"):
            assert demo.serve.main([str(demo.SOURCE / "page"), "--port", port]) == 2
            one_line(capsys, f"port {port}: ", "--port")
