"""The figures during training, as the report draws them."""

from matplotlib.figure import Figure

from elir_jax.evaluation import plots
from elir_jax.evaluation.measure import Evaluation
from elir_jax.evaluation.page import format_page
from elir_jax.evaluation.plots import plot_course

COURSE = {  # the last step is the restoration, and one figure is missing
    200: {
        "input": {"psnr": 11.0, "ssim": 0.1},
        "latent_mmse": {"psnr": 22.0, "ssim": 0.6},
        "step_1": {"psnr": 23.0},
        "restored": {"psnr": 23.0},
    },
    100: {
        "input": {"psnr": 11.0, "ssim": 0.1},
        "latent_mmse": {"psnr": 20.0, "ssim": 0.5},
        "step_1": {"psnr": 21.0, "ssim": 0.4},
        "restored": {"psnr": 21.0, "ssim": 0.4},
    },
}


def test_each_stage_is_a_line_over_the_steps_in_each_metrics_panel(monkeypatch):
    drawn = []

    def keep(figure: Figure, name, title):
        drawn.append(figure)
        return "<svg/>"

    monkeypatch.setattr(plots, "_svg", keep)
    plot_course(COURSE)
    (figure,) = drawn
    psnr, ssim = figure.axes
    assert "PSNR (dB)" in psnr.get_title("left") and "SSIM" in ssim.get_title("left")
    lines = {line.get_label(): line.get_xydata().tolist() for line in psnr.lines}
    assert lines == {
        "latent MMSE": [[100, 20], [200, 22]],
        "step 1 = restored": [[100, 21], [200, 23]],
    }
    found = {line.get_label(): str(line.get_ydata().tolist()) for line in ssim.lines}
    assert found == {"latent MMSE": "[0.5, 0.6]", "step 1 = restored": "[0.4, nan]"}


def test_the_page_has_the_course_where_there_is_one():
    evaluation = Evaluation({"input": {"psnr": 11.0}, "restored": {"psnr": 23.0}}, [])
    title = "Metrics during training"
    assert title in format_page(evaluation, title="run", course=COURSE)
    assert title not in format_page(evaluation, title="run")
