"""SimpleITK's readers and writers, made quiet and honest.

ITK prints to the terminal from C++, reads some broken files without a word, and does not notice
a full disk while writing. Here that becomes a BadInput, or an OSError that `files.atomic` explains.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import SimpleITK as sitk

from .errors import BadInput

log = logging.getLogger(__name__)


def read(path: Path) -> sitk.Image:
    """The image in one file, without judging it. Raises BadInput with ITK's reason."""
    with quiet():
        try:
            return sitk.ReadImage(str(path))
        except RuntimeError as error:
            raise BadInput(f"The file is damaged or not what its name says ({_reason(error)}); export or copy it again.") from error


def read_slices(paths: Sequence[Path], *, as_float: bool) -> sitk.Image:
    """DICOM slices in the given order, with their rescale slope and intercept applied."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in paths])
    if as_float:
        reader.SetOutputPixelType(sitk.sitkFloat32)
    with quiet():
        try:
            return reader.Execute()
        except RuntimeError as error:
            raise BadInput(f"A slice cannot be decoded ({_reason(error)}); export or copy the series again.") from error


def write(image: sitk.Image, path: Path) -> None:
    """Write compressed and read back: ITK reports success on a disk that filled up meanwhile.

    Raises OSError where the file does not hold what was written.
    """
    with quiet():
        try:
            sitk.WriteImage(image, str(path), useCompression=True)
            written = sitk.ReadImage(str(path))
        except RuntimeError as error:
            log.debug("ITK could not write %s: %s", path, error)
            written = None
    if written is None or not np.array_equal(sitk.GetArrayViewFromImage(written), sitk.GetArrayViewFromImage(image)):
        _provoke(path)
        raise OSError(errno.ENOSPC, "the file is incomplete after writing", str(path))


@contextmanager
def quiet() -> Iterator[None]:
    """Send what C++ prints to stderr to the log, at level DEBUG."""
    warned = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with _stderr_to_log():
            yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warned)


@contextmanager
def _stderr_to_log() -> Iterator[None]:
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        terminal = os.dup(2)
    except OSError:  # a Windows application without a console has no stderr
        yield
        return
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            heard.seek(0)
            for line in heard.read().decode(errors="replace").splitlines():
                log.debug("ITK: %s", line)


def _provoke(path: Path) -> None:
    """Write a little more, so that the system itself says what is wrong (disk full, file too large)."""
    with open(path, "ab") as file:
        file.write(bytes(1 << 20))


def _reason(error: RuntimeError) -> str:
    """The telling end of ITK's several lines, less its pointers and the errno it did not mean."""
    end = " ".join(str(error).split("ERROR:")[-1].split()).split(" Reason:")[0].split("[nrrd] ")[-1]
    return re.sub(r"^\w+\(0x[0-9a-f]+\): ", "", end)[-200:].rstrip(". ")
