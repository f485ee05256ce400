"""The same seed gives the same batches: alone, with workers, shared among processes, or resumed."""

import errno
import hashlib
import io
import itertools
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from elir_jax.data.degradations.blind_face_restoration import BlindFaceRestoration
from elir_jax.data.degradations.tasks import Denoising
from elir_jax.data.pairs import PairMaker
from elir_jax.data.pipeline import Feed, TrainingBatches
from elir_jax.data.sources import ImageFiles
from elir_jax.errors import UserError
from elir_jax.pictures.images import to_float


class Numbers:
    """Images whose every pixel tells which image and which place it is."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        image = np.zeros((40, 48, 3), np.uint8)
        image[..., 0] = index
        image[..., 1] = np.arange(40)[:, None]
        image[..., 2] = np.arange(48)[None]
        return image

    def name(self, index):
        return f"number {index}"


def feed_of(source, *, size=32, degrade=None, process=(0, 1), start=0, **changes):
    feed = Feed(**({"batch_size": 4, "seed": 7} | changes))
    maker = PairMaker(degrade or Denoising(0.1), size)
    data = TrainingBatches(source, maker, feed, *process)
    data.set_state({"samples": start * data.feed.batch_size})
    return data


def batches(count, **changes):
    return list(itertools.islice(feed_of(Numbers(), **changes), count))


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_batches_hold_crops_of_the_photographs_in_range():
    (batch,) = batches(1)
    assert batch.x_hq.shape == batch.x_lq.shape == (4, 32, 32, 3)
    assert (batch.x_hq.dtype, batch.x_lq.dtype) == (np.uint8, np.float32)  # levels, where they are
    np.testing.assert_array_equal(batch.slot, np.arange(4))
    for crop, record in zip(batch.x_hq.astype(float), batch.record, strict=True):
        assert np.all(crop[..., 0] == record)
        assert np.all(np.diff(crop[..., 1], axis=0) == 1)  # rows of the original, in order
        assert set(np.unique(np.diff(crop[..., 2], axis=1))) in ({1.0}, {-1.0})  # maybe flipped


def test_crops_and_flips_vary():
    seen = batches(10)
    corners = {tuple(crop[0, 0, 1:]) for b in seen for crop in b.x_hq}
    flipped = [crop[0, 0, 2] > crop[0, 1, 2] for b in seen for crop in b.x_hq]
    assert len(corners) > 20 and 8 < sum(flipped) < 32


def test_each_epoch_holds_every_photograph_once_in_a_new_order():
    records = np.concatenate([b.record for b in batches(5)]).reshape(4, 5)
    np.testing.assert_array_equal(np.sort(records, axis=1), np.tile(np.arange(5), (4, 1)))
    assert len({tuple(epoch) for epoch in records}) > 1


def test_a_seed_gives_its_own_data():
    assert equal(batches(1)[0], batches(1)[0])
    assert not equal(batches(1)[0], batches(1, seed=8)[0])


def test_a_position_continues_across_an_epochs_edge():
    whole = batches(6)
    for start in (1, 2, 5):
        resumed = batches(6 - start, start=start)
        assert all(equal(a, b) for a, b in zip(whole[start:], resumed, strict=True))
    data = feed_of(Numbers())
    next(data), next(data)
    assert data.get_state() == {"samples": 8} == data.after({"samples": 0}, 2)


def test_another_batch_size_goes_on_with_the_same_samples():
    small, large = batches(6), batches(2, batch_size=8, start=1)
    records = np.concatenate([b.record for b in small])
    np.testing.assert_array_equal(np.concatenate([b.record for b in large]), records[8:])


def test_a_blank_batch_has_the_shapes_of_a_real_one():
    (real,), blank = batches(1), feed_of(Numbers()).blank()
    assert jax.tree.structure(real) == jax.tree.structure(blank)
    for a, b in zip(jax.tree.leaves(real), jax.tree.leaves(blank), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype


def marks(rng, x_hq, x_lq):
    """What a method may bring: something of the pair, something random."""
    return {"corner": x_hq[0, 0], "draw": np.float32(rng.random())}


def test_extra_arrays_come_with_their_pair_and_leave_it_as_it_is():
    plain, feed = feed_of(Numbers()), feed_of(Numbers())
    feed = TrainingBatches(Numbers(), PairMaker(Denoising(0.1), 32, extra=marks), feed.feed)
    batch, without = next(feed), next(plain)
    np.testing.assert_array_equal(batch.x_lq, without.x_lq)
    assert without.extra == {} and set(batch.extra) == {"corner", "draw"}
    np.testing.assert_array_equal(batch.extra["corner"], to_float(batch.x_hq)[:, 0, 0])
    assert len(set(batch.extra["draw"].tolist())) == 4
    shapes = {name: (array.shape, array.dtype) for name, array in feed.blank().extra.items()}
    assert shapes == {name: (array.shape, array.dtype) for name, array in batch.extra.items()}


def test_extra_arrays_come_from_workers_too(photographs):
    source = ImageFiles(photographs)
    found = []
    for workers in (0, 1):
        feed = Feed(batch_size=4, seed=7, workers=workers)
        data = TrainingBatches(source, PairMaker(Denoising(0.1), 32, extra=marks), feed)
        found.append(next(data))
        data.close()
    np.testing.assert_array_equal(found[0].extra["draw"], found[1].extra["draw"])


def test_processes_share_the_same_global_batches():
    for batch, first, second in zip(
        batches(3), batches(3, process=(0, 2)), batches(3, process=(1, 2)), strict=True
    ):
        for whole, a, b in zip(*map(jax.tree.leaves, (batch, first, second)), strict=True):
            np.testing.assert_array_equal(whole[0::2], a)
            np.testing.assert_array_equal(whole[1::2], b)
    with pytest.raises(ValueError, match="divide"):
        batches(1, process=(0, 3))


def test_an_image_smaller_than_the_crop_is_named():
    with pytest.raises(UserError, match=r"number \d: 48x40 pixels are too few, 64x64"):
        batches(1, size=64)


@pytest.mark.parametrize("wrong", [{"on_error": "ignore"}, {"workers": -1}, {"max_bad_share": 2.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Feed(batch_size=4, seed=0, **wrong)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Forty files, PNG and JPEG."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    paths = []
    for i in range(40):
        small = rng.integers(0, 256, (6, 8, 3), np.uint8)
        path = folder / f"{i:02}.{'png' if i % 2 else 'jpg'}"
        Image.fromarray(small).resize((64, 48), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


def digest(parts):
    """Of all pixels, in the order of the global batches."""
    value = hashlib.sha256()
    for hosts in zip(*parts, strict=True):
        order = np.argsort(np.concatenate([b.slot for b in hosts]))
        for field in ("x_hq", "x_lq", "record"):
            value.update(np.concatenate([getattr(b, field) for b in hosts])[order].tobytes())
    return value.hexdigest()


@pytest.mark.slow
def test_a_thousand_samples_are_the_same_however_they_are_made(photographs):
    source, size = ImageFiles(photographs), 40
    count = 1000 // size

    def made(count=count, **how):
        how = {"batch_size": size, "degrade": BlindFaceRestoration()} | how
        return list(itertools.islice(feed_of(source, **how), count))

    whole = made()
    expected = digest([whole])
    assert digest([made(process=(0, 2)), made(process=(1, 2))]) == expected
    assert digest([made(workers=2)]) == expected
    resumed = made(count - 13, start=13, workers=2)  # in the middle, across epochs
    assert digest([whole[:13] + resumed]) == expected
    hosts = [
        a + b
        for a, b in zip(
            (made(13, process=(p, 2)) for p in (0, 1)),
            (made(count - 13, start=13, process=(p, 2)) for p in (0, 1)),
            strict=True,
        )
    ]
    assert digest(hosts) == expected
    assert digest([made(seed=8)]) != expected


def damage(folder, good):
    """(path, whether it can be used) of 200 odd files."""
    rng = np.random.default_rng(3)
    contents = {kind: good[0 if kind == "jpg" else 1].read_bytes() for kind in ("jpg", "png")}
    made = []

    def add(name, content, usable):
        path = folder / f"odd{len(made):03}_{name}"
        path.write_bytes(content)
        made.append((path, usable))

    def image(pixels, suffix="png", **options):
        buffer = io.BytesIO()
        kind = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF"}[suffix]
        pixels.save(buffer, format=kind, **options)
        return buffer.getvalue()

    for kind, content in contents.items():
        for tenth in range(10):
            add(f"cut.{kind}", content[: len(content) * tenth // 10], False)
    for _ in range(60):  # the data of a PNG has checksums
        broken = bytearray(contents["png"])
        broken[int(rng.integers(60, len(broken) - 20))] ^= 0x55
        add("flipped.png", bytes(broken), False)
    for _ in range(10):
        add("text.png", b"hello", False)
        add("zero.jpg", bytes(1000), False)
        add("really_a_jpeg.png", contents["jpg"], True)
        add("one.png", image(Image.new("RGB", (1, 1))), False)
        add("long.png", image(Image.new("RGB", (20_000, 2))), False)
    rgb = Image.open(good[0]).convert("RGB")
    deep = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    while len(made) < 200:
        for mode in ("L", "LA", "RGBA", "P", "1"):
            add(f"{mode}.png", image(rgb.convert(mode)), True)
        add("deep.png", image(deep), True)
        add("cmyk.jpg", image(rgb.convert("CMYK"), "jpg"), True)
        add("float.tif", image(Image.fromarray(np.zeros((48, 64), np.float32)), "tif"), False)
    return made[:200]


@pytest.mark.slow
def test_damaged_files_are_counted_and_leave_good_samples_alone(photographs, tmp_path, caplog):
    odd = damage(tmp_path, photographs)
    bad = {path for path, usable in odd if not usable}
    # Three hundred good ones: the forty, several times.
    paths = sorted([*(path for path, _ in odd), *(photographs * 8)[:300]])
    mended = [photographs[0] if path in bad else path for path in paths]

    def epoch(paths, **how):
        return list(itertools.islice(feed_of(ImageFiles(paths), batch_size=20, **how), 25))

    with caplog.at_level(logging.WARNING):
        seen = epoch(paths, on_error="skip", max_bad_share=1.0)
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == len(bad) and f"({len(bad)} of 500 images so far)" in logged[-1]
    assert {line.split()[1].removesuffix(":") for line in logged} == {str(path) for path in bad}

    clean = epoch(mended)
    assert 100 < len(bad) < 200
    for ours, theirs in zip(seen, clean, strict=True):
        for i, number in enumerate(theirs.record):
            if paths[number] not in bad:
                assert ours.record[i] == number
                np.testing.assert_array_equal(ours.x_hq[i], theirs.x_hq[i])
                np.testing.assert_array_equal(ours.x_lq[i], theirs.x_lq[i])
            else:
                assert paths[ours.record[i]] not in bad

    with pytest.raises(UserError, match="odd"):
        epoch(paths)
    with pytest.raises(UserError, match=r"6 of 500 images are unusable.*max_bad_share=0.01"):
        epoch(paths, on_error="skip")


def test_a_broken_image_in_a_worker_is_named(photographs, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"hello")
    with pytest.raises(UserError, match=r"broken\.png: not a readable image"):
        list(itertools.islice(feed_of(ImageFiles([*photographs, broken]), workers=1), 15))


def test_closed_batches_go_on_where_they_were():
    data, whole = feed_of(Numbers()), batches(2)
    assert equal(next(data), whole[0])
    data.close()
    assert equal(next(data), whole[1])


def test_closed_batches_have_no_workers():
    data, before = feed_of(Numbers(), workers=1), len(multiprocessing.active_children())
    next(data)
    assert len(multiprocessing.active_children()) == before + 1
    data.close()
    assert len(multiprocessing.active_children()) == before


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_nothing_but_unusable_images_ends_the_run(tmp_path, on_error):
    """A blank sample in their place would be trained on."""
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        path.write_text("no image")
    match = "not a readable image" if on_error == "raise" else "2 images after it, of 3, are all"
    with pytest.raises(UserError, match=match):
        next(feed_of(ImageFiles(paths), on_error=on_error, max_bad_share=1.0))


def test_a_hundred_unusable_images_in_a_row_end_the_run(monkeypatch):
    class OneGood(Numbers):
        def __len__(self):
            return 300

        def __getitem__(self, index):
            if index:
                raise UserError("unusable")
            return super().__getitem__(index)

    with pytest.raises(UserError, match=r"number \d+ and the 99 images after it, of 300"):
        list(itertools.islice(feed_of(OneGood(), on_error="skip", max_bad_share=1.0), 20))


def test_a_worker_that_is_killed_is_one_line_and_other_signals_are_its_parents():
    data, before = feed_of(Numbers(), workers=1), set(multiprocessing.active_children())
    next(data)
    (worker,) = set(multiprocessing.active_children()) - before
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(worker.pid, number)
    time.sleep(0.5)
    assert worker.is_alive()
    worker.kill()
    with pytest.raises(UserError, match="worker.* was killed, usually because memory ran out; low"):
        list(data)
    data.close()


@pytest.mark.parametrize(
    "error, words",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "/dev/shm is full"),
        (RuntimeError("Worker process was terminated unexpectedly with exit code -7."), "/dev/shm"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (RuntimeError("Worker process was terminated unexpectedly with exit code 1."), "with 1; "),
        (RuntimeError("of our own"), None),
    ],
)
def test_what_the_machine_denies_the_workers_is_one_line(error, words, monkeypatch):
    def start(data):
        raise error

    monkeypatch.setattr(TrainingBatches, "_start", start)
    with pytest.raises(UserError if words else RuntimeError, match=words):
        next(feed_of(Numbers(), workers=1))
    with pytest.raises(type(error)):  # without workers it has another reason
        next(feed_of(Numbers()))


WORKERS = """
import sys, time
from absl import flags
from elir_jax.data.degradations.tasks import Denoising
from elir_jax.data.pairs import PairMaker
from elir_jax.data.pipeline import Feed, TrainingBatches
from elir_jax.data.sources import EmbeddedPhotographs
if __name__ == "__main__":
    flags.FLAGS.mark_as_parsed()
    feed = Feed(batch_size=2, seed=0, workers=1)
    data = TrainingBatches(EmbeddedPhotographs(("chelsea",)), PairMaker(Denoising(0.1), 32), feed)
    next(data)
    import multiprocessing
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc")
def test_workers_end_with_a_process_that_is_killed(tmp_path):
    (tmp_path / "workers.py").write_text(WORKERS)
    with subprocess.Popen(
        [sys.executable, tmp_path / "workers.py"], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    ) as process:  # fmt: skip
        worker = int(process.stdout.readline())
        process.kill()

    def runs():
        try:
            return Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    deadline = time.monotonic() + 20
    while runs() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs()
