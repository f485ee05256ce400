"""Addresses are no paths: whatever command they are given to refuses them in one line."""

import pytest

from elir_jax.commands import compare, convert, frame, prepare, restore

RESTORE = ["a.png", "--output", "out", "--checkpoint", "run"]
PREPARE = ["folder", "--images", "images", "--data-dir", "data"]
COMPARE = ["--golden", "a.npz", "--checkpoint", "b.pth", "--json", "c.json"]


@pytest.mark.parametrize(
    "main, line",
    [(restore.main, RESTORE), (prepare.main, PREPARE), (convert.main, ["src", "dst"]),
     (compare.main, COMPARE)],
    ids=["restore", "prepare", "convert", "compare"],
)  # fmt: skip
def test_every_path_of_every_command_is_refused_as_an_address(
    main, line, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    paths = [i for i, word in enumerate(line) if word[0] != "-" and word != "folder"]
    for i in paths:
        option = line[i - 1] if i and line[i - 1][0] == "-" else ""
        joined = [f"{option}=gs://bucket/run"] if option else ["gs://bucket/run"]
        for words in (joined, [option, "gs://bucket/run"]) if option else (joined,):
            first = i - 1 if option else i
            assert main([*line[:first], *words, *line[i + 1 :]]) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and said.startswith(f"error: {option}")
            assert "gs://bucket/run: not a path" in said and "mount it" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "word, refused",
    [
        ("--config.autoencoder.weights=gs://bucket/run", True),
        ("--fid=s3://bucket/a=b", True),
        ("--checkpoint=https://host/x", True),
        ("--workdir=gs://bucket/run", False),  # place_of knows what it can use
        ("--config.data.path=s3://bucket/a=b", False),
        ("--config.autoencoder.weights=hub:owner/name", False),
        ("--coordinator=host:1234", False),
        ("--workdir=gs:/bucket", False),  # a folder that an older version made
        ("--workdir=./gs://bucket", False),
    ],
)
def test_only_addresses_are_refused(word, refused, capsys):
    assert frame.exit_code_of(lambda: 0, [word]) == (2 if refused else 0)
    assert capsys.readouterr().err.startswith(f"error: {word}: not a path" if refused else "")
