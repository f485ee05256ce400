"""The page, in a browser that reaches nothing but this machine: it restores as the command does."""

import json
import shutil
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import demo
import numpy as np
import pytest
from browsing import open_browser
from PIL import Image

from elir_jax.commands import edge
from elir_jax.edge import Restorer
from elir_jax.edge.file import read_exported
from elir_jax.pictures.images import read_image

pytestmark = pytest.mark.slow  # a browser

PATIENCE = 60  # seconds
RNG = np.random.default_rng(0)
SMALL = "float32"  # the small model's name
READY = "!document.getElementById('models').hidden"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    demo.require_vendored()
    driver = open_browser(tmp_path_factory.mktemp("profile"))
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A demo that tests may damage, if they repair it."""
    return shutil.copytree(demo.built(), tmp_path_factory.mktemp("copy") / "demo")


@pytest.fixture(scope="module")
def address(folder):
    with demo.served(demo.plain_server(folder)) as address:
        yield address


@pytest.fixture
def page(browser, address):
    browser.get(address)
    wait(browser, READY)
    yield browser
    assert browser.get_log("browser") == []


def wait(driver, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, PATIENCE, 0.1).until(
        lambda d: d.execute_script(f"return {condition}"), condition
    )


def find(driver, selector):
    return driver.find_element("css selector", selector)


def give(driver, path, model=None):
    """Choose a model and a file; wait for a result or an error: (result is shown, what is said)."""
    if model is not None:
        find(driver, f"input[value={model}]").click()
    find(driver, "#file").send_keys(str(path))
    return answer(driver)


def answer(driver):
    shown = "['result', 'wrong'].find((name) => !document.getElementById(name).hidden)"
    wait(driver, f"document.getElementById('working').hidden && {shown}")
    name = driver.execute_script(f"return {shown}")
    return name == "result", find(driver, f"#{'said' if name == 'result' else 'wrong'}").text


def saved(driver, folder):
    """Press the button that saves; returns the file."""
    options = {"behavior": "allow", "downloadPath": str(folder)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", options)
    name = find(driver, "#save").get_attribute("download")
    find(driver, "#save").click()
    path = folder / name
    for _ in range(PATIENCE * 10):
        if path.exists() and path.stat().st_size:
            return path
        driver.execute_async_script("setTimeout(arguments[0], 100)")
    raise AssertionError(f"{name} was not saved")


def noisy(path, height, width):
    """A photograph with noise, as the model expects, or pure noise beyond it."""
    from skimage import data

    clean = data.astronaut()[:height, 180 : 180 + width] / 255
    pixels = clean + 0.2 * RNG.standard_normal(clean.shape)
    Image.fromarray(np.uint8(255 * np.clip(pixels, 0, 1))).save(path)
    return path


def decibels(ours, theirs):
    """PSNR of two pictures of 8 bits."""
    return -10 * np.log10(np.mean(np.square(ours / 255.0 - theirs / 255.0)) + 1e-30)


def test_a_photograph_is_restored_and_saved_as_by_the_command(page, tmp_path):
    picture = noisy(tmp_path / "astronaut.png", 120, 90)
    done, said = give(page, picture, "denoising")
    assert done, said
    assert said.startswith("90x120 pixels, ")
    ours = saved(page, tmp_path)
    assert ours.name == "astronaut-restored.png"
    file = str(demo.models()["denoising"])
    assert edge.main([file, str(picture), "--output", str(tmp_path / "command")]) == 0
    theirs = read_image(tmp_path / "command" / "astronaut.png")
    assert decibels(read_image(ours), theirs) > 70
    assert decibels(read_image(ours), read_image(picture)) < 25  # something was restored


def test_a_grey_photograph_is_restored_and_saved_in_grey(page, tmp_path):
    picture = noisy(tmp_path / "grey.png", 40, 48)
    Image.open(picture).convert("L").save(picture)
    assert give(page, picture, SMALL)[0]
    restored = Restorer.load(demo.models()[SMALL])(read_image(picture))
    with Image.open(saved(page, tmp_path)) as ours:
        assert ours.mode == "L"
        assert decibels(np.asarray(ours), restored[..., 0]) > 70


@contextmanager
def instead(path, content):
    """Other content of a file for a while; None: no file."""
    before = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


@contextmanager
def changed(page, folder, reach, **sizes):
    """The small model with other sizes of those parts."""
    path = folder / "models" / SMALL / "model.json"
    about = json.loads(path.read_text())
    for said in about["parts"]:
        if said["reach"] == reach:
            said["sizes"] |= sizes
    with instead(path, json.dumps(about).encode()):
        page.refresh()  # so that no worker knows the model
        wait(page, READY)
        yield


def test_a_picture_in_windows_is_restored_as_by_python(page, folder, tmp_path):
    at_once = 4 * 46
    pixels = RNG.integers(0, 256, (30, 445, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    with changed(page, folder, "Local", at_once=at_once):
        done, said = give(page, tmp_path / "wide.png", SMALL)
    assert done, said
    file = read_exported(demo.models()[SMALL])
    for part in file.about["parts"]:
        if part["reach"] == "Local":
            part["sizes"]["at_once"] = at_once
    restored = Restorer.of(file, steps=None, noise=True)(pixels)
    ours = read_image(saved(page, tmp_path))
    assert decibels(ours, restored) > 70


def test_what_is_too_large_for_the_model_is_told(page, folder, tmp_path):
    with changed(page, folder, "Whole", at_once=15):
        told = give(page, noisy(tmp_path / "a.png", 32, 32), SMALL)
    assert told == (False, "The picture is too large for this model.")


def test_files_that_are_no_pictures_are_told_and_the_page_goes_on(page, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    told = give(page, tmp_path / "broken.png", SMALL)
    words = "broken.png: no picture that this browser can read; save it as PNG or JPEG."
    assert told == (False, words)
    page.execute_script("""const dataTransfer = new DataTransfer();
        document.body.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true}));""")
    wait(page, "document.getElementById('wrong').textContent.startsWith('That was no file')")
    assert give(page, noisy(tmp_path / "good.png", 32, 40))[0]
    assert not find(page, "#wrong").is_displayed()


def test_a_picture_beyond_the_limit_is_told_with_its_size(page, tmp_path):
    Image.new("1", (2**13, 2**11 + 1)).save(tmp_path / "huge.png")
    done, said = give(page, tmp_path / "huge.png", SMALL)
    assert not done and said.startswith(
        "huge.png: 8192x2049 pixels are too many, at most 16 million"
    )


@pytest.mark.parametrize(
    "missing, words",
    [
        (f"models/{SMALL}/flow.onnx", "The model is missing (flow.onnx): build"),
        (f"models/{SMALL}/model.json", "The model is missing (model.json): build"),
        ("vendor/ort/ort-wasm-simd-threaded.wasm", "The runtime (WASM) is missing (ort-wasm-"),
        ("vendor/ort/ort.wasm.min.mjs", "A program of this page is missing: build"),
        ("models.json", "The model is missing (models.json): build"),
    ],
)
def test_what_is_missing_in_the_folder_is_named(browser, folder, address, tmp_path, missing, words):
    with instead(folder / missing, None):
        browser.get(address)
        if missing != "models.json":
            wait(browser, READY)
            give(browser, noisy(tmp_path / "a.png", 32, 32), SMALL)
        wait(browser, "!document.getElementById('wrong').hidden")
    said = find(browser, "#wrong").text
    browser.get_log("browser")  # the browser's own words on the file that is not there
    assert said.startswith(words) and "\n" not in said


def test_turned_and_transparent_pictures_are_read_upright_on_white(page, tmp_path):
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., 0], pixels[:2, :, 3] = 200, 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    turned = Image.new("RGB", (32, 16), (10, 200, 30))
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned
    turned.save(tmp_path / "turned.jpg", exif=exif)
    read = """const [content, give] = arguments;
        const bytes = Uint8Array.from(content);
        import("./picture.js").then(({readPicture}) => readPicture(new Blob([bytes])))
            .then(({data, height, width}) => give([height, width, [...data]]));"""
    height, width, data = page.execute_async_script(
        read, list((tmp_path / "half.png").read_bytes())
    )
    expected = np.full((4, 6, 3), 255)
    expected[:2] = 200, 0, 0
    np.testing.assert_array_equal(np.reshape(data, (height, width, 3)), expected)
    content = list((tmp_path / "turned.jpg").read_bytes())
    assert page.execute_async_script(read, content)[:2] == [32, 16]


def test_another_model_restores_the_same_picture_again(page, tmp_path):
    picture = noisy(tmp_path / "a.png", 32, 32)
    assert give(page, picture, SMALL)[0]
    first = read_image(saved(page, tmp_path))
    (tmp_path / "a-restored.png").unlink()
    find(page, "input[value=denoising]").click()
    assert answer(page)[0]
    assert (read_image(saved(page, tmp_path)) != first).any()


def test_a_restoration_can_be_stopped(page, tmp_path):
    find(page, "input[value=denoising]").click()
    find(page, "#file").send_keys(str(noisy(tmp_path / "long.png", 500, 300)))
    wait(page, "document.getElementById('bar').value > 0")
    find(page, "#stop").click()
    assert not find(page, "#working").is_displayed() and not find(page, "#result").is_displayed()
    assert give(page, noisy(tmp_path / "next.png", 32, 32), SMALL)[0]
    assert find(page, "#save").get_attribute("download") == "next-restored.png"


def test_the_divider_moves_by_keyboard(page, tmp_path):
    from selenium.webdriver.common.keys import Keys

    assert give(page, noisy(tmp_path / "a.png", 32, 32), SMALL)[0]
    find(page, ".compare input").send_keys(Keys.ARROW_RIGHT * 3)
    assert page.execute_script(
        "return document.querySelector('.compare').style.cssText"
    ).startswith("--width: 32; --height: 32; --scale: 20; --at: 53%")


@pytest.mark.parametrize("width", [320, 390])
def test_the_page_fits_a_telephone(page, tmp_path, width):
    metrics = {"width": width, "height": 700, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert give(page, noisy(tmp_path / "a.png", 40, 64), SMALL)[0]
    wide = page.execute_script("return document.documentElement.scrollWidth")
    right = page.execute_script(
        "return document.querySelector('.compare').getBoundingClientRect().right"
    )
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide == width and right <= width


@pytest.fixture
def elsewhere():
    """A server that the page may not reach: (address, requests)."""
    requests = []

    class Listening(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, *words):
            pass

    with demo.served(ThreadingHTTPServer(("127.0.0.1", 0), Listening)) as address:
        yield address, requests


PAGE_ASKS = "fetch(address).then(() => give('reached'), () => give('refused'));"
WORKER_ASKS = """import("./spawn.js").then(({spawn}) => {
    const worker = spawn(new URL("./asking.js", location.href));
    worker.onmessage = ({data}) => give(data);
    worker.postMessage(address);
});"""
ASKING = """addEventListener("message", ({data}) => {
    fetch(data).then(() => postMessage("reached"), () => postMessage("refused"));
});"""


@pytest.mark.parametrize("asks", [PAGE_ASKS, WORKER_ASKS], ids=["page", "worker"])
def test_neither_page_nor_worker_can_connect_elsewhere(browser, folder, address, elsewhere, asks):
    other, requests = elsewhere
    (folder / "asking.js").write_text(ASKING)
    browser.get(address)
    code = f"const [address, give] = arguments; {asks}"
    assert browser.execute_async_script(code, other) == "refused"
    assert requests == []
    assert any("Content Security Policy" in said["message"] for said in browser.get_log("browser"))


def test_its_own_server_isolates_the_page_which_restores_the_same(browser, tmp_path):
    picture = noisy(tmp_path / "a.png", 48, 64)
    with demo.served(demo.serve.server(demo.built(), 0)) as address:
        browser.get(address)
        wait(browser, READY)
        assert browser.execute_script("return crossOriginIsolated")
        done, said = give(browser, picture, SMALL)
        assert done, said
        ours = read_image(saved(browser, tmp_path))
    assert browser.get_log("browser") == []
    restored = Restorer.load(demo.models()[SMALL])(read_image(picture))
    assert decibels(ours, restored) > 70


def test_a_page_without_a_server_says_what_it_needs(browser):
    browser.get((demo.built() / "index.html").as_uri())
    browser.get_log("browser")  # it tells of modules that it does not load
    assert "http.server" in find(browser, "#unready").text
    assert not find(browser, "#ready").is_displayed()
