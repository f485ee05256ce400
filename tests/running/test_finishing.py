"""The end of a run: everything is on the disk before it is printed, and printed if a file fails."""

import json
from types import SimpleNamespace

import pytest
from measured import evaluation_of
from running import new_state

from elir_jax.errors import UserError
from elir_jax.evaluation.measure import Evaluation, Row
from elir_jax.running import finishing
from elir_jax.running.finishing import finish
from elir_jax.running.loop import Plan
from elir_jax.running.records.best import Best, read_best
from elir_jax.running.records.report import read_evaluations
from elir_jax.running.records.writers import open_writers
from elir_jax.running.run import Run

FIGURES = {"input": {"psnr": 20.0}, "restored": {"psnr": 30.0}}


@pytest.fixture
def run():
    nothing = SimpleNamespace()
    evaluation = Evaluation(FIGURES, [], rows=(Row("a.png", FIGURES),))
    return Run(
        config={"method": "none"},
        init_state=lambda workdir: nothing,
        state_like=lambda: nothing,
        step=lambda *_: nothing,
        data=lambda: nothing,
        image_name=str,
        plan=Plan(5, 1, 5, evaluate_every=2),
        evaluate=lambda params, frozen: evaluation,
        about={"seed": 0, "num_steps": 3, "evaluation": "digest"},
        export=lambda state, workdir: [],
    )


def ended(run, folder, keep_best=""):
    """What :func:`finish` gives, at step 5."""
    how = {"batch_size": 1, "keep": 2, "keep_every": 0, "began": 0.0, "evaluation": "digest"}
    with open_writers(folder, start=0, num_steps=5, keep_best=keep_best, **how) as writers:
        state = new_state().replace(step=new_state().step + 5)
        writers.save(state, {"samples": 5}, run.config)
        yield from finish(run, state, writers, folder)


def test_nothing_is_lost_if_nobody_reads_the_first_line(run, tmp_path):
    lines = ended(run, tmp_path, keep_best="restored.psnr")
    next(lines)
    lines.close()  # as a broken pipe does
    found = evaluation_of(tmp_path, "step-5")
    assert found["figures"] == FIGURES and found["configuration"] == run.config
    assert (found["step"], found["num_steps"], found["checkpoint"]) == (5, 3, "checkpoints/5")
    for name in ("metrics.json", "report.html"):
        own, copy = (tmp_path / "evaluation" / place / name for place in ("step-5", ""))
        assert own.read_bytes() == copy.read_bytes()
    assert read_evaluations(tmp_path) == {5: FIGURES}
    assert read_best(tmp_path / "checkpoints") == Best(5, "restored.psnr", 30.0, "digest")


def test_figures_of_a_version_without_folders_are_kept(run, tmp_path):
    old = tmp_path / "evaluation" / "metrics.json"
    old.parent.mkdir()
    old.write_text('{"restored": {"psnr": 1.0}}')
    (tmp_path / "evaluation" / "grid.png").write_bytes(b"a picture")
    for _ in range(2):  # the second time, a copy of ours stands there
        list(ended(run, tmp_path))
    earlier = tmp_path / "evaluation" / "earlier"
    assert json.loads((earlier / "metrics.json").read_text()) == {"restored": {"psnr": 1.0}}
    assert (earlier / "grid.png").read_bytes() == b"a picture"
    assert json.loads(old.read_text())["figures"] == FIGURES


def test_the_figures_are_printed_if_a_file_cannot_be_written(run, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise UserError("the disk is full")

    monkeypatch.setattr(finishing, "write_evaluation", fail)
    lines, said = ended(run, tmp_path), []
    with pytest.raises(UserError, match="full"):
        for line in lines:
            said.append(line)
    assert "30.00" in "".join(said)
