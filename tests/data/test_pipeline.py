"""The same seed gives the same batches: alone, shared among processes, or resumed."""

import itertools

import numpy as np
import pytest

from elir_jax.data.degradations import Denoising
from elir_jax.data.images import centre_crop, to_float
from elir_jax.data.pipeline import evaluation_pairs, training_batches
from elir_jax.errors import UserError


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


def batches(count, *, start=0, **changes):
    options = {"size": 32, "batch_size": 4, "seed": 7} | changes
    iterator = iter(training_batches(Numbers(), Denoising(0.1), **options))
    if start:
        iterator.set_state({"next_index": start})
    return list(itertools.islice(iterator, count))


def equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_batches_hold_crops_of_the_photographs_in_range():
    (batch,) = batches(1)
    assert batch.x_hq.shape == batch.x_lq.shape == (4, 32, 32, 3)
    assert batch.x_hq.dtype == np.float32
    np.testing.assert_array_equal(batch.slot, np.arange(4))
    for crop, record in zip(np.round(batch.x_hq * 255), batch.record, strict=True):
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


def test_processes_share_the_same_global_batches():
    for batch, first, second in zip(
        batches(3),
        batches(3, process_index=0, process_count=2),
        batches(3, process_index=1, process_count=2),
        strict=True,
    ):
        for whole, a, b in zip(batch, first, second, strict=True):
            np.testing.assert_array_equal(whole[0::2], a)
            np.testing.assert_array_equal(whole[1::2], b)
    with pytest.raises(ValueError, match="divide"):
        batches(1, process_count=3)


def test_an_image_smaller_than_the_crop_is_named():
    with pytest.raises(UserError, match=r"number \d: 48x40 pixels are too few.*64x64"):
        batches(1, size=64)


def test_evaluation_takes_centres_with_noise_of_their_own():
    pairs = list(evaluation_pairs(Numbers(), Denoising(0.1), size=32, seed=0))
    again = list(evaluation_pairs(Numbers(), Denoising(0.1), size=32, seed=0))
    assert len(pairs) == 5
    for i, ((name, x_hq, x_lq), (_, _, x_lq_again)) in enumerate(zip(pairs, again, strict=True)):
        assert name == f"number {i}"
        np.testing.assert_array_equal(x_hq, to_float(centre_crop(Numbers()[i], 32, "")))
        np.testing.assert_array_equal(x_lq, x_lq_again)
    assert not np.array_equal(pairs[0][2] - pairs[0][1], pairs[1][2] - pairs[1][1])
