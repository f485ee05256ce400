"""The Fréchet distance against closed forms, and its statistics from features and from files."""

import io

import numpy as np
import pytest

from elir_jax.errors import UserError
from elir_jax.metrics.frechet import Statistics, describe, frechet_distance, read_statistics

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((50, 6)) @ RNG.standard_normal((6, 6))


def test_equal_statistics_have_no_distance():
    assert frechet_distance(describe(FEATURES), describe(FEATURES)) == pytest.approx(0, abs=1e-9)


def test_a_shift_counts_squared():
    moved = describe(FEATURES + np.arange(6.0))
    assert frechet_distance(describe(FEATURES), moved) == pytest.approx(55)


def test_independent_features_differ_by_their_deviations():
    a = Statistics(np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    b = Statistics(np.zeros(3), np.diag([4.0, 4.0, 0.0]))
    assert frechet_distance(a, b) == pytest.approx((1 - 2) ** 2 + 0 + 3**2)
    assert frechet_distance(b, a) == pytest.approx(10)


def test_rotating_both_sets_changes_nothing():
    other = FEATURES[:20] ** 2
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))
    plain = frechet_distance(describe(FEATURES), describe(other))
    turned = frechet_distance(describe(FEATURES @ turn), describe(other @ turn))
    assert turned == pytest.approx(plain)


def test_fewer_images_than_features_are_enough():
    few = describe(FEATURES[:3])
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match="at least 2 images"):
        describe(FEATURES[:1])


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="6 features and 5"):
        frechet_distance(describe(FEATURES), describe(FEATURES[:, :5]))


def test_statistics_are_read_from_a_file(tmp_path):
    path = tmp_path / "reference.npz"
    expected = describe(FEATURES)
    np.savez(path, mu=expected.mean, sigma=expected.covariance)
    assert frechet_distance(read_statistics(path), expected) == pytest.approx(0, abs=1e-9)


def array_file():
    file = io.BytesIO()
    np.save(file, FEATURES)
    return file.getvalue()


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda path: np.savez(path, feats=FEATURES), "mu"),
        (lambda path: np.savez(path, mu=np.zeros(3), sigma=np.eye(2)), "do not fit together"),
        (lambda path: path.write_bytes(array_file()), "not an .npz file"),
        (lambda path: path.write_bytes(b"no archive"), "not an .npz file"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut short"), "not an .npz file"),
    ],
)
def test_a_file_without_statistics_is_refused_by_name(tmp_path, write, message):
    path = tmp_path / "wrong.npz"
    write(path)
    with pytest.raises(UserError, match=message) as caught:
        read_statistics(path)
    assert str(path) in str(caught.value)
