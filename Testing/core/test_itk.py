from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DiffSegCore import itk
from DiffSegCore.errors import BadInput


def test_what_c_code_prints_goes_to_the_log(capfd, caplog):
    with caplog.at_level(logging.DEBUG, "DiffSegCore.itk"), itk.quiet():
        os.write(2, b"WARNING: from below\n")
    os.write(2, b"after\n")
    assert "ITK: WARNING: from below" in caplog.text
    assert capfd.readouterr().err == "after\n"


def test_the_terminal_and_the_warnings_come_back_after_an_error(capfd):
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    with pytest.raises(KeyboardInterrupt), itk.quiet():
        raise KeyboardInterrupt
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n" and sitk.ProcessObject.GetGlobalWarningDisplay() == shown


def test_without_a_terminal_there_is_nothing_to_keep_quiet(monkeypatch):
    def refuse(_):
        raise OSError("no stderr")

    monkeypatch.setattr(os, "dup", refuse)
    with itk.quiet():
        pass


def test_itks_reason_is_one_short_line(tmp_path):
    (tmp_path / "a.nrrd").write_text("hello")
    with pytest.raises(BadInput, match=r"\(Unable to determine ImageIO reader for .*a.nrrd\"\); export"):
        itk.read(tmp_path / "a.nrrd")


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-20])])
def test_a_file_that_does_not_hold_what_was_written_is_an_error(tmp_path, monkeypatch, spoil):
    write = sitk.WriteImage

    def lie(image, name, **options):
        write(image, name, **options)
        spoil(Path(name))

    monkeypatch.setattr(sitk, "WriteImage", lie)
    with pytest.raises(OSError, match="incomplete"):
        itk.write(sitk.GetImageFromArray(np.arange(1000, dtype=np.int16).reshape(10, 10, 10)), tmp_path / "a.mha")
