"""The report is one file that shows whatever was measured; its comparison moves in a browser."""

import base64
import io
import os
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from browsing import open_browser
from PIL import Image

from elir_jax.evaluation.measure import Evaluation, Sample
from elir_jax.evaluation.page import format_page, write_page
from elir_jax.evaluation.plots import plot_figures, plot_trajectories
from elir_jax.pictures.images import to_uint8

STEPS = 3
NAMES = ("input", "latent_mmse", "step_1", "step_2", "step_3", "restored")
SHOWN = ["input", "latent MMSE", "step 1", "step 2", "step 3 = restored"]
PSNR = (11.0, 26.4, 26.2, 25.8, 25.5, 25.5)
FID = (145.0, 72.0, 63.0, 55.0, 39.0, 39.0)
NASTY = '<b>&"x'


def figures(**columns):
    return {
        stage: {name: values[i] for name, values in columns.items() if values[i] is not None}
        for i, stage in enumerate(NAMES)
    }


def sample(name, stages=NAMES, seed=0, height=32, width=48):
    rng = np.random.default_rng(seed)
    images = [rng.random((height, width, 3), np.float32) * 1.2 - 0.1 for _ in stages]
    if len(stages) > 1:
        images[-1] = images[-2]
    return Sample(name, dict(zip(stages, images, strict=True)), np.clip(images[0], 0, 1))


def whole():
    rng = np.random.default_rng(1)
    ways = rng.standard_normal((2, STEPS + 2, 40)).astype(np.float32)
    samples = [sample(NASTY), sample("second", seed=1)]
    return Evaluation(figures(psnr=PSNR, fid=FID), samples, ways)


class Page(HTMLParser):
    """The elements of a page: (tag, attributes, its first text)."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])

    def handle_data(self, data):
        if self.elements and not self.elements[-1][2]:
            self.elements[-1][2] = data.strip()

    def find(self, tag, **wanted):
        for name, attributes, text in self.elements:
            if name == tag and wanted.items() <= attributes.items():
                yield attributes, text

    def texts(self, tag, **wanted):
        return [text for _, text in self.find(tag, **wanted)]


def page(evaluation, title="title", notes=()):
    return Page(format_page(evaluation, title=title, notes=notes))


def test_names_titles_and_notes_are_text_not_markup():
    rows = {NASTY: {"psnr": 1.0, "</td>": 2.0}, "<i>": {"psnr": 2.0}}
    text = format_page(
        Evaluation(rows, [sample(NASTY, (NASTY,))]), title="<u>$title", notes=["</p><s>$notes"]
    )
    found = Page(text)
    assert not {"b", "i", "u", "s"} & {tag for tag, _, _ in found.elements}
    assert found.texts("h1") == ["<u>$title"]
    assert "</p><s>$notes" in found.texts("p")
    assert [text for _, text in found.find("th", scope="row")] == [NASTY, "<i>"]
    labels = [a["aria-label"] for a, _ in found.find("input")]
    assert labels == [f"Divider between the two pictures of {NASTY}"]


def test_a_name_that_is_no_utf8_is_written_with_escapes(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    path = write_page(tmp_path / "page.html", Evaluation({}, [sample(name)]), title=name)
    (title,) = Page(path.read_text(encoding="utf-8")).texts("h1")
    assert title == r"caf\udce9.png"


def test_the_best_of_each_column_is_marked_by_its_own_direction():
    ssim = (0.9, 0.8, 0.7, 0.6, 0.5, 0.5)
    strange = (1.0, 9.0, 2.0, 3.0, 4.0, 4.0)
    found = page(Evaluation(figures(psnr=PSNR, fid=FID, ssim=ssim, strange=strange), []))
    assert found.texts("td", **{"class": "best"}) == ["0.9000", "26.40", "39.00"]
    heads = found.texts("th", scope="col")
    assert heads == ["Stage", "PSNR (dB)", "FID", "SSIM", "strange"]
    assert [text for a, text in found.find("span", role="img")] == ["↑", "↓", "↑"]


def test_the_last_step_and_the_restoration_are_one_row_and_one_picture():
    found = page(whole())
    assert found.texts("th", scope="row") == SHOWN
    assert found.texts("option")[: len(SHOWN) + 1] == [*SHOWN, "original"]
    chosen = [text for a, text in found.find("option") if "selected" in a]
    assert chosen == ["input", "step 3 = restored"] * 2


def test_a_stage_may_lack_a_metric_and_a_figure_may_not_be_finite():
    lpips = (None, float("nan"), 0.3, None, 0.2, 0.2)
    found = page(Evaluation(figures(psnr=PSNR, lpips=lpips), []))
    assert found.texts("td", **{"class": "none"}) == ["–", "–"]
    assert found.texts("td", **{"class": "best"}) == ["26.40", "0.2000"]


def test_a_method_with_one_stage_is_compared_with_the_original():
    found = page(Evaluation({"restored": {"psnr": 30.0}}, [sample("a", ("restored",))]))
    chosen = [text for a, text in found.find("option") if "selected" in a]
    assert chosen == ["restored", "original"]
    assert not list(found.find("svg")) and not found.texts("td", **{"class": "best"})


def test_pictures_are_kept_without_loss():
    evaluation = whole()
    uris = [a["src"] for a, _ in page(evaluation).find("img") if "src" in a]
    first = evaluation.samples[0]
    expected = [*list(first.stages.values())[:-1], first.original]
    for uri, image in zip(uris[: len(expected)], expected, strict=True):
        png = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), to_uint8(image))
    assert len(uris) == 2 * len(expected)


def test_only_small_pictures_are_enlarged():
    samples = [sample("small"), sample("large", height=400, width=300)]
    styles = [a for a, _ in page(Evaluation({}, samples)).find("article")]
    assert [a["class"] for a in styles] == ["sample small", "sample"]
    assert [a["style"].rpartition(" ")[2] for a in styles] == ["13", "1"]


def test_the_page_refers_to_nothing_outside_itself():
    text = format_page(whole(), title="title")
    assert "http:" not in text and "https:" not in text
    for _, attributes, _ in Page(text).elements:
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", text))
    ids = [a["id"] for _, a, _ in Page(text).elements if "id" in a]
    assert len(ids) == len(set(ids)) > 0


@pytest.mark.parametrize(
    "columns, title",
    [
        ({"fid": FID, "lpips": FID}, "FID"),
        ({"niqe": FID, "lpips": FID}, "LPIPS"),
        ({"clipiqa": FID}, "CLIP-IQA"),
        ({"fid": (*[None] * 5, 3.0), "musiq": FID}, "MUSIQ"),
    ],
)
def test_psnr_is_drawn_against_the_first_perceptual_metric(columns, title):
    plot = plot_figures(figures(psnr=PSNR, **columns))
    assert plot.title == f"Distortion and perception: PSNR against {title}"
    assert all(f">{name}<" in plot.svg for name in SHOWN[1:])
    assert ">input<" not in plot.svg


def test_without_a_perceptual_metric_each_is_drawn_over_the_stages():
    plot = plot_figures(figures(psnr=PSNR, **{"odd $x_1$": PSNR}))
    assert "PSNR" in plot.caption and "over the stages instead" in plot.caption
    assert ">PSNR (dB), larger is better<" in plot.svg and ">odd $x_1$<" in plot.svg


def test_plots_are_the_same_each_time_and_leave_nothing_behind():
    before = dict(matplotlib.rcParams)
    assert format_page(whole(), title="a") == format_page(whole(), title="a")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("steps", [1, 5])
def test_trajectories_of_any_number_are_drawn(count, steps):
    ways = np.random.default_rng(0).standard_normal((count, steps + 2, 30), np.float32)
    ways[0, -1] = ways[0, 0]  # no way to go
    plot = plot_trajectories(ways)
    assert plot.svg.count(">sample ") == min(count, 6)
    assert ("first 6 samples" in plot.caption) == (count > 6)


def test_a_straight_way_is_said_to_be_straight():
    start, end, target = np.random.default_rng(0).standard_normal((3, 1, 64))
    straight = start + np.linspace(0, 1, 6)[:, None] * (end - start)
    assert " 1.000 times" in plot_trajectories(np.concatenate([straight, target])[None]).caption
    straight[3] += 1
    assert " 1.000 times" not in plot_trajectories(np.concatenate([straight, target])[None]).caption


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, tmp_path):
    path = tmp_path / "evaluation" / "report.html"
    assert write_page(path, whole(), title="title") == path
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def find(driver, selector):
    return driver.find_element("css selector", selector)


def seen(driver):
    """The share of the upper picture that is not clipped."""
    layer = find(driver, ".layer.left")
    clip = driver.execute_script("return getComputedStyle(arguments[0]).clipPath", layer)
    return 1 - float(re.fullmatch(r"inset\(0px ([\d.]+)% 0px 0px\)", clip)[1]) / 100


@pytest.mark.slow
def test_the_divider_moves_by_keyboard(opened):
    from selenium.webdriver.common.keys import Keys

    divider = find(opened, ".compare input")
    np.testing.assert_allclose(seen(opened), 0.5)
    divider.send_keys(Keys.ARROW_RIGHT * 3)
    np.testing.assert_allclose(seen(opened), 0.53)
    divider.send_keys(Keys.HOME)
    np.testing.assert_allclose(seen(opened), 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mouse", "touch"])
def test_the_divider_follows_the_pointer(opened, kind):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    picture = find(opened, ".compare")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    quarter = picture.size["width"] // 4
    actions = ActionChains(opened, duration=50, devices=[PointerInput(kind, kind)])
    actions.move_to_element(picture).click_and_hold().move_by_offset(quarter, 0).perform()
    np.testing.assert_allclose(seen(opened), 0.75, atol=0.01)
    actions = ActionChains(opened, duration=50, devices=[PointerInput(kind, kind)])
    actions.release().move_by_offset(-quarter, 0).perform()
    np.testing.assert_allclose(seen(opened), 0.75, atol=0.01)
    if kind == "mouse":  # so that the keyboard can go on from there
        assert opened.switch_to.active_element == find(opened, ".compare input")


def shown(driver, side):
    """(tag, src) of one side of the first sample."""
    layer = find(driver, f".layer.{side}")
    return layer.text, layer.find_element("tag name", "img").get_attribute("src")


@pytest.mark.slow
def test_any_two_stages_can_be_chosen(opened):
    from selenium.webdriver.support.ui import Select

    left, right = shown(opened, "left"), shown(opened, "right")
    assert (left[0], right[0]) == ("input", "step 3 = restored") and left[1] != right[1]
    Select(find(opened, "select.left")).select_by_visible_text("step 1")
    name, source = shown(opened, "left")
    assert name == "step 1" and source not in (left[1], right[1])
    assert shown(opened, "right") == right
    thumbs = opened.find_elements("css selector", ".sample:first-child .strip button")
    thumbs[-1].click()
    name, source = shown(opened, "right")
    assert name == "original" and source != right[1]
    pressed = [thumb.get_attribute("aria-pressed") for thumb in thumbs]
    assert pressed == ["false"] * (len(thumbs) - 1) + ["true"]
    chosen = Select(find(opened, "select.right")).first_selected_option
    assert chosen.text == "original"
