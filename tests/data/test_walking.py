"""One walk finds pictures everywhere: in order, each once, and what it does not take is told."""

import os

import pytest

from elir_jax.data import walking
from elir_jax.data.sources import find_images, match_pairs
from elir_jax.data.walking import LeftOut, walk
from elir_jax.errors import UserError
from elir_jax.pictures.opening import EXTENSIONS

NAMES = ["a.png", "größe 1/ein Bild.webp", os.fsdecode(b"caf\xe9.png"), "b/c/d.JPG"]


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.fixture
def folder(tmp_path):
    """Names whose order as text is not that of paths, odd ones, and links to files."""
    write(tmp_path / "in", "a/b.png", "a.b/c.PNG", "a b.png", "a-1.jpg", "A.png", "a/Z.webp",
          "a/b/c.tif", "größe.jpeg", "a.txt", "x.png.", "png", *NAMES)  # fmt: skip
    write(tmp_path / "out", "far.png")
    (tmp_path / "in/folder.png").mkdir()
    (tmp_path / "in/file.png").symlink_to("../out/far.png")
    return tmp_path / "in"


def found(folder, **options):
    """(the names in order, what was left out)."""
    left_out = LeftOut()
    return list(walk(str(folder), EXTENSIONS, left_out, **options)), left_out


def test_a_walk_finds_what_a_sorted_search_finds(folder):
    wanted = sorted(p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
    assert [folder / name for name in found(folder)[0]] == wanted
    assert folder / "file.png" in wanted and len(wanted) > 10


def test_files_are_not_looked_at_one_by_one(folder, monkeypatch):
    """Over a network that would take minutes; links alone are followed."""
    looks, look = [], os.stat

    def counted(path, **how):
        looks.append(path)
        return look(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", counted)
        names = found(folder)[0]
    assert len(names) > 10 and not looks


def test_everything_else_is_counted_by_its_kind_and_told_in_a_line(tmp_path, caplog):
    write(tmp_path, "a.png", "notes.txt", "b.heic", "c", "._a.png", "sub/._b.jpg", ".png",
          ".hidden/x.png", ".b.png")  # fmt: skip
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "text").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    names, left_out = found(tmp_path)
    assert names == [".b.png", "a.png"]
    assert left_out.counts == {
        walking.OTHER: 6, walking.MACOS: 2, walking.HIDDEN: 1, walking.NOWHERE: 2
    }  # fmt: skip
    assert left_out.lost == 2
    left_out.tell()
    lines = [record.message for record in caplog.records]
    assert len(lines) == 4
    assert sum(line.startswith("left out: links that lead nowhere (2): ") for line in lines) == 1
    others = next(line for line in lines if "files of other kinds (6)" in line)
    assert others.startswith("passed over: ") and others.endswith(", ...")
    assert others.count(str(tmp_path)) == walking.NAMED


def test_a_name_with_line_breaks_is_told_in_one_line():
    left_out = LeftOut()
    left_out.add(walking.OTHER, "a\nb.txt")
    assert left_out.lines() == ["passed over: files of other kinds (1): a b.txt"]


@pytest.mark.parametrize("what", ["listed", "entered"])
def test_a_folder_that_cannot_be_read_is_told_and_the_others_are_searched(
    folder, monkeypatch, what
):
    names, (scandir, access) = found(folder)[0], (os.scandir, os.access)

    def refuse(path):
        if what == "listed" and path.endswith("a/b/"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(
        os, "access", lambda path, mode: access(path, mode) and not path.endswith("a/b/")
    )
    rest, left_out = found(folder)
    assert rest == [name for name in names if not name.startswith("a/b/")]
    (line,) = [line for line in left_out.lines() if "cannot be read" in line]
    assert line == f"left out: folders that cannot be read (1): {folder}/a/b"
    assert left_out.lost == 1


# Links to folders


def test_a_link_to_a_folder_is_followed(tmp_path):
    write(tmp_path / "real", "x.png", "sub/y.png")
    write(tmp_path / "in", "a.png", "z.png")
    (tmp_path / "in/link").symlink_to(tmp_path / "real")
    names, left_out = found(tmp_path / "in")
    assert names == ["a.png", "link/sub/y.png", "link/x.png", "z.png"] and not left_out.counts
    (tmp_path / "in/a.png").unlink(), (tmp_path / "in/z.png").unlink()
    assert [p.name for p in find_images(tmp_path / "in")] == ["y.png", "x.png"]


def test_links_lead_round_no_circle_and_no_folder_is_searched_twice(tmp_path):
    write(tmp_path / "real", "x.png", "sub/y.png")
    write(tmp_path / "in", "a.png", "own/b.png")
    links = {
        "in/1_inside": "own",  # its own name is better
        "in/2_part": "../real/sub",
        "in/3_whole": "../real",
        "in/4_again": "../real",
        "in/own/up": "..",
        "in/self": ".",
        "in/above": "..",
        "real/back": "../in",
        "real/sub/round": "../..",
    }
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    names, left_out = found(tmp_path / "in")
    assert names == ["2_part/y.png", "3_whole/x.png", "a.png", "own/b.png"]
    # real/sub is met under its own name too; the other seven are links
    assert left_out.counts == {walking.AGAIN: 8} and left_out.lost == 0


def test_a_link_to_a_hidden_folder_is_the_name_of_its_pictures(tmp_path):
    write(tmp_path, ".store/3/x.png")
    (tmp_path / "current").symlink_to(".store/3")
    names, left_out = found(tmp_path)
    assert names == ["current/x.png"] and left_out.counts == {walking.HIDDEN: 1}


def test_the_folder_of_results_is_passed_over_however_it_is_reached(tmp_path):
    write(tmp_path / "in", "a.png", "out/r.png", "outer/b.png")
    (tmp_path / "in/link").symlink_to("out")
    (tmp_path / "in/one.png").symlink_to("out/r.png")
    names, left_out = found(tmp_path / "in", without=str(tmp_path / "in/out"))
    assert names == ["a.png", "outer/b.png"]
    assert left_out.counts == {walking.EXCLUDED: 3} and left_out.lost == 0
    for outside in (tmp_path, tmp_path / "in"):  # what is named there is wanted
        names, _ = found(tmp_path / "in", without=str(outside))
        assert names == ["a.png", "one.png", "out/r.png", "outer/b.png"]


# Pairs


def test_names_of_a_pair_may_differ_in_capital_letters_if_that_is_unique(tmp_path):
    write(tmp_path / "hq", "A.PNG", "Sub/b.png", "c.png", "C.png")
    write(tmp_path / "lq", "a.png", "sub/B.jpg", "C.png", "c.png")
    hq, lq = match_pairs(tmp_path / "hq", tmp_path / "lq")
    pairs = [(p.name, q.name) for p, q in zip(hq, lq, strict=True)]
    assert pairs == [("A.PNG", "a.png"), ("C.png", "C.png"), ("b.png", "B.jpg"), ("c.png", "c.png")]
    write(tmp_path / "hq", "d.png", "D.png")  # the second is the partner of the one there is
    write(tmp_path / "lq", "D.png")
    with pytest.raises(UserError, match=r"hq/d\.png: no image of this name in .*lq"):
        match_pairs(tmp_path / "hq", tmp_path / "lq")


def test_two_names_that_differ_only_in_capital_letters_match_no_third(tmp_path):
    write(tmp_path / "hq", "AB.png", "aB.png")
    write(tmp_path / "lq", "ab.png", "Ab.png")
    with pytest.raises(UserError, match=r"AB\.png: no image of this name"):
        match_pairs(tmp_path / "hq", tmp_path / "lq")


def test_what_macos_adds_to_one_side_breaks_no_pair(tmp_path):
    write(tmp_path / "hq", "a.png", "._a.png")
    write(tmp_path / "lq", "a.png")
    assert len(match_pairs(tmp_path / "hq", tmp_path / "lq")[0]) == 1
