"""Checkpoints: nothing damaged is used, nothing whole is lost, a failed save says so."""

import errno
import json
import logging
import os
import random
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from running import new_state, save

from elir_jax.errors import UserError
from elir_jax.running.records import checkpoint, keeping
from elir_jax.running.records.arrays import save_tree
from elir_jax.running.records.checkpoint import arrange, read, read_averaged, read_newest
from elir_jax.running.records.digests import Damaged, leaf_digests, seal, verify
from elir_jax.running.records.frozen import FOLDER
from elir_jax.running.records.keeping import Checkpoints
from elir_jax.storage.disk import Disk


def saved_steps(folder):
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def test_what_is_read_is_what_was_written(folder):
    state = new_state().replace(step=np.int32(7), params={"w": np.array([-0.0, np.nan, 1e-45])})
    state.params["w"] = state.params["w"].astype(np.float32)
    checkpoints = Checkpoints(folder)
    checkpoints.save(state, {"samples": 56}, {"lr": 0.1})
    checkpoints.wait()
    saved = read_newest(folder)
    assert (saved.step, saved.data, saved.config) == (7, {"samples": 56}, {"lr": 0.1})
    restored = arrange(saved, state, folder)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        b = np.asarray(b)
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()
    step, ema, frozen = read_averaged(folder)
    np.testing.assert_array_equal(frozen["f"], np.ones(2))
    assert step == 7 and ema.keys() == {"w"}
    checkpoints.close()


def test_the_newest_and_every_mth_are_kept(folder):
    save(folder, 2, 4, 5, 8, 9, 10, keep=2, every=4)
    assert saved_steps(folder) == [4, 8, 9, 10]


def test_saving_the_same_step_twice_does_nothing(folder):
    save(folder, 3, 3)
    before = (folder / "3" / "digests.json").stat().st_mtime_ns
    save(folder, 3, start=3)
    assert (folder / "3" / "digests.json").stat().st_mtime_ns == before


def damage(folder, rng, flip):
    """Flip a bit of a random byte, or cut a random file short; returns the undoing."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
    path = rng.choices(files, weights=[p.stat().st_size for p in files])[0]
    whole = path.read_bytes()
    place = rng.randrange(len(whole))
    if flip:
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
    else:
        changed = whole[:place]
    path.write_bytes(changed)
    return lambda: path.write_bytes(whole)


@pytest.mark.parametrize("flip, tries", [(True, 40), (False, 20)])
def test_every_flipped_byte_and_every_cut_is_found_and_the_one_before_used(
    folder, caplog, flip, tries
):
    save(folder, 3, 5)
    rng = random.Random(flip)
    for _ in range(tries):
        undo = damage(folder / "5", rng, flip)
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            assert read_newest(folder).step == 3
        assert f"refused checkpoint {folder / '5'}: " in caplog.text
        undo()
    assert read_newest(folder).step == 5


def test_bytes_that_changed_before_they_were_written_are_found(folder, monkeypatch):
    wrong = {"step": "0" * 64}
    monkeypatch.setattr(checkpoint, "leaf_digests", lambda leaves: leaf_digests(leaves) | wrong)
    save(folder, 5)
    monkeypatch.undo()
    with pytest.raises(Damaged, match="arrays"):
        read(folder / "5")


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_cold(folder):
    save(folder, 3, 5)
    for step in (3, 5):
        shutil.rmtree(folder / str(step) / "state")
    with pytest.raises(UserError, match=r"all checkpoints are damaged: 5: .*; 3: .*--workdir"):
        read_newest(folder)


def test_a_folder_that_was_never_finished_is_named_and_passed_over(folder, caplog):
    save(folder, 3)
    (folder / "9").mkdir()
    (folder / "9" / "run.json").write_text("{}")
    assert read_newest(folder).step == 3
    assert "9: digests.json is missing: the folder was never completed" in caplog.text


def test_refused_checkpoints_are_moved_aside_and_leftovers_cleared(folder):
    save(folder, 3, 5)
    (folder / "5" / "digests.json").unlink()
    (folder / "part-7" / "state").mkdir(parents=True)
    save(folder, 5, start=3)
    assert sorted(p.name for p in folder.iterdir()) == ["3", "5", "damaged", "frozen"]
    assert read_newest(folder).step == 5
    assert [p.name for p in (folder / "damaged").iterdir()] == ["5"]


def test_a_save_that_fails_is_told_and_the_one_before_stays_good(folder, monkeypatch):
    save(folder, 3)

    def full(part):
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints = Checkpoints(folder, start=3)
    monkeypatch.setattr(checkpoint, "seal", full)
    checkpoints.save(new_state().replace(step=np.int32(5)), {"samples": 5}, {})
    with pytest.raises(UserError, match=r"could not be saved \(No space left.* is step 3"):
        checkpoints.wait()
    checkpoints.close()
    assert read_newest(folder).step == 3


def test_a_folder_that_cannot_be_listed_after_a_save_costs_nothing(folder, monkeypatch, caplog):
    """Old checkpoints are deleted later; the new one is whole."""
    save(folder, 3, 5)
    listed, broken = keeping.steps_in, OSError(errno.EIO, os.strerror(errno.EIO), str(folder))
    monkeypatch.setattr(
        keeping, "steps_in", lambda at: listed(at) if not (at / "7").exists() else fail(broken)
    )
    save(folder, 7, start=5)
    assert saved_steps(folder) == [3, 5, 7]
    assert f"{folder}: old checkpoints are not deleted yet (Input/output error)" in caplog.text
    monkeypatch.undo()
    save(folder, 9, start=7)
    assert saved_steps(folder) == [7, 9]


def test_a_checkpoint_that_cannot_be_deleted_stays_and_others_go(folder, monkeypatch, caplog):
    save(folder, 3, 5, 7, keep=3)
    remove = Disk.remove
    denied = OSError(errno.EACCES, os.strerror(errno.EACCES))
    monkeypatch.setattr(
        Disk, "remove", lambda self, at: fail(denied) if at.name == "3" else remove(self, at)
    )
    save(folder, 9, start=7)
    assert saved_steps(folder) == [3, 7, 9] and "Permission denied" in caplog.text


def fail(error):
    raise error


def test_a_whole_folder_is_not_overwritten(folder):
    save(folder, 3)
    before = {path: path.read_bytes() for path in (folder / "3").rglob("*") if path.is_file()}
    with pytest.raises(OSError, match="not empty"):
        checkpoint.write(folder, 3, jax.device_get(new_state()), {"samples": 0}, {})
    assert {path: path.read_bytes() for path in before} == before


def test_a_folder_whose_names_cannot_be_read_is_not_empty(folder, monkeypatch):
    save(folder, 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda at: fail(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(OSError, match="Input/output"):
            read_newest(folder)
    assert read_newest(folder).step == 3


def test_a_library_that_cannot_read_what_is_whole_is_named_and_the_checkpoint_stays(
    folder, monkeypatch
):
    save(folder, 3, 5)

    def unable(*_, **__):
        raise ValueError("Too many open files")

    monkeypatch.setattr(ocp.Checkpointer, "restore", unable)
    with pytest.raises(UserError, match=r"5: every file .* orbax-checkpoint \d.*Too many open"):
        read_newest(folder)
    monkeypatch.undo()
    assert read_newest(folder).step == 5


def test_a_checkpoint_that_a_run_deletes_between_two_readings_gives_way_to_a_newer(
    folder, monkeypatch
):
    save(folder, 3)

    def verify_too_early(path):
        verify(path)
        if path.name == "3":  # the run saves another, and then deletes this one
            (folder / "3").rename(folder / "old-3")
            shutil.copytree(whole, folder / "7")

    save(folder.with_name("elsewhere"), 7)
    whole = folder.with_name("elsewhere") / "7"  # of the same frozen weights
    monkeypatch.setattr(checkpoint, "verify", verify_too_early)
    assert read_newest(folder).step == 7


def test_a_checkpoint_has_its_name_only_once_it_is_on_the_disk(folder, monkeypatch):
    done = []  # (what, path), in order
    fsync, rename = os.fsync, os.rename

    def note_fsync(number):
        fsync(number)
        done.append(("fsync", os.readlink(f"/proc/self/fd/{number}")))

    def note_rename(source, target):
        rename(source, target)
        done.append(("rename", str(target)))

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    checkpoint.write(folder, 5, jax.device_get(new_state()), {"samples": 5}, {})
    named = done.index(("rename", str(folder / "5")))
    before = {path for what, path in done[:named] if what == "fsync"}
    inside = [folder / "part-5", *(folder / "part-5" / p for p in relative(folder / "5"))]
    assert len(inside) > 5 and {str(path) for path in inside} <= before
    assert ("fsync", str(folder)) in done[named:]


def relative(folder):
    """All that lies in ``folder``, by its path from there."""
    return [path.relative_to(folder) for path in folder.rglob("*")]


def test_a_checkpoint_of_another_network_is_refused_by_name(folder):
    save(folder, 3)
    with pytest.raises(UserError, match=r"another network: params/w is float32\[3\].*\[4\]"):
        arrange(read_newest(folder), new_state((4,)), folder)


def test_there_may_be_none(folder):
    assert read_newest(folder) is None
    with pytest.raises(UserError, match="no checkpoint"):
        read_averaged(folder)


def frozen_in(folder):
    return sorted((folder / FOLDER).iterdir())


def test_frozen_weights_are_written_once_for_all_checkpoints(folder):
    save(folder, 3)
    (before,) = frozen_in(folder)
    written = {path: path.stat().st_mtime_ns for path in before.rglob("*")}
    save(folder, 5, 7, start=3, keep=3)
    assert frozen_in(folder) == [before]
    assert {path: path.stat().st_mtime_ns for path in before.rglob("*")} == written
    for step in (3, 5, 7):
        kept = read(folder / str(step))
        np.testing.assert_array_equal(kept.tree["frozen"]["f"], np.ones(2))
        assert not [path for path in (folder / str(step)).rglob("*") if "frozen" in path.name]


def test_other_frozen_weights_have_a_folder_of_their_own_and_both_are_read(folder):
    save(folder, 3)
    changed = new_state().replace(step=np.int32(5), frozen={"f": np.full(2, -0.0, np.float32)})
    checkpoint.write(folder, 5, jax.device_get(changed), {"samples": 5}, {})
    assert len(frozen_in(folder)) == 2
    np.testing.assert_array_equal(read(folder / "3").leaves["frozen/f"], np.ones(2))
    assert np.signbit(read(folder / "5").leaves["frozen/f"]).all()


def test_a_kill_before_the_checkpoint_has_its_name_leaves_frozen_weights_that_serve_the_next(
    folder, monkeypatch
):
    class Killed(BaseException):
        pass

    def kill(part):
        raise Killed

    monkeypatch.setattr(checkpoint, "seal", kill)
    with pytest.raises(Killed):
        checkpoint.write(folder, 3, jax.device_get(new_state()), {"samples": 3}, {})
    monkeypatch.undo()
    assert read_newest(folder) is None and len(frozen_in(folder)) == 1
    save(folder, 5)
    assert read_newest(folder).step == 5 and len(frozen_in(folder)) == 1


def test_frozen_weights_are_on_the_disk_under_their_name_before_a_checkpoint_refers_to_them(
    folder, monkeypatch
):
    found = []

    def note(part):
        seal(part)
        (place,) = frozen_in(folder)
        verify(place)
        found.append(part.name)

    monkeypatch.setattr(checkpoint, "seal", note)
    checkpoint.write(folder, 3, jax.device_get(new_state()), {"samples": 3}, {})
    assert found == ["part-3"]


@pytest.mark.parametrize("flip", [True, False])
def test_damaged_frozen_weights_are_named_and_the_next_save_writes_them_again(folder, flip, caplog):
    save(folder, 3)
    (place,) = frozen_in(folder)
    rng = random.Random(int(flip))
    for _ in range(10):
        undo = damage(place, rng, flip)
        with pytest.raises(Damaged, match=f"its frozen weights, frozen/{place.name}: "):
            read(folder / "3")
        with pytest.raises(UserError, match=r"all checkpoints are damaged: 3: its frozen weights"):
            read_newest(folder)
        undo()
    damage(place, rng, flip)
    save(folder, 5, start=3)
    assert "writing it again" in caplog.text
    assert read(folder / "5").step == 5 and read(folder / "3").step == 3
    shutil.rmtree(place)
    with pytest.raises(Damaged, match=r"frozen/.*is missing"):
        read(folder / "3")


def test_a_checkpoint_from_before_frozen_weights_had_a_folder_is_read(folder):
    """As it was laid out then: the frozen weights in ``state``, no word of them in ``run.json``."""
    state = jax.device_get(new_state()).replace(step=np.array(4, np.int32))
    leaves = checkpoint.leaf_digests(checkpoint.leaves_by_path(state))
    run = {"step": 4, "leaves": leaves, "data": {"samples": 4}, "config": {"a": 1}}
    (folder / "4").mkdir(parents=True)
    (folder / "4" / "run.json").write_text(json.dumps(run))
    save_tree(folder / "4" / "state", state)
    seal(folder / "4")
    saved = read_newest(folder)
    assert saved.step == 4 and saved.data == {"samples": 4}
    restored = arrange(saved, new_state(), folder)
    np.testing.assert_array_equal(restored.frozen["f"], np.ones(2))
    save(folder, 6, start=4)
    assert read(folder / "4").step == 4 and read_averaged(folder)[2].keys() == {"f"}
