from __future__ import annotations

import errno
import os

import pytest

from DiffSegCore.errors import BadInput
from DiffSegCore.files import atomic, atomic_together, beside, suffix_of


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "suffix", "json"),
    [("a.nii.gz", ".nii.gz", "a.json"), ("a.b.SEG.NRRD", ".seg.nrrd", "a.b.json"), ("v1.2.nrrd", ".nrrd", "v1.2.json"), ("a", "", "a.json")],
)
def test_double_suffixes_are_kept_whole(name, suffix, json):
    assert suffix_of(name) == suffix
    assert beside(name, ".json").name == json


def test_the_temporary_file_lies_beside_with_the_same_suffix(tmp_path):
    with atomic(tmp_path / "a.seg.nrrd") as temporary:
        assert temporary.parent == tmp_path and temporary.name.endswith(".seg.nrrd")
        temporary.write_text("new")
        assert names(tmp_path) == [temporary.name]
    assert (tmp_path / "a.seg.nrrd").read_text() == "new" and names(tmp_path) == ["a.seg.nrrd"]


@pytest.mark.parametrize("reason", [RuntimeError, KeyboardInterrupt])
def test_after_any_exception_the_old_file_is_there_and_nothing_else(tmp_path, reason):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(reason), atomic(target) as temporary:
        temporary.write_text("half")
        raise reason
    assert target.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_files_that_belong_together_appear_together(tmp_path):
    with atomic_together(tmp_path / "a.nii", tmp_path / "a.json") as (image, text):
        image.write_text("1")
        text.write_text("2")
        assert "a.nii" not in names(tmp_path) and "a.json" not in names(tmp_path)
    assert names(tmp_path) == ["a.json", "a.nii"]


def test_if_the_second_cannot_take_its_place_the_first_is_put_back(tmp_path, monkeypatch):
    first, second = tmp_path / "a.json", tmp_path / "a.nii"
    first.write_text("old names")
    second.write_text("old voxels")
    replace = os.replace

    def refuse(source, target):
        if str(target) == str(second):
            raise PermissionError(errno.EACCES, "in use", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(BadInput, match="a.nii.*another program"), atomic_together(first, second) as written:
        for each in written:
            each.write_text("new")
    assert first.read_text() == "old names" and second.read_text() == "old voxels"
    assert names(tmp_path) == ["a.json", "a.nii"]


def test_a_missing_folder_is_said_before_any_work(tmp_path):
    with pytest.raises(BadInput, match="nowhere.*does not exist; create it"), atomic(tmp_path / "nowhere" / "a.txt"):
        pytest.fail("the work began")


def test_a_folder_of_that_name_is_not_replaced(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(BadInput, match="a folder of that name"), atomic(tmp_path / "a.txt"):
        pytest.fail("the work began")


def test_a_read_only_folder_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root, who runs tests in containers, may write anywhere
    with pytest.raises(BadInput, match="permission"), atomic(tmp_path / "a.txt"):
        pytest.fail("the work began")


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EFBIG, "larger than"), (errno.EROFS, "read-only")])
def test_what_the_system_refuses_becomes_a_sentence_about_the_target(tmp_path, code, words):
    with pytest.raises(BadInput, match=f"Cannot write .*a.txt: .*{words}"), atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(code, "")
    assert names(tmp_path) == []


def test_an_error_about_another_file_is_left_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "a.txt"):
        open(tmp_path / "another.txt")
