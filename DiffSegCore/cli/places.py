"""Where results go, checked before the slow work begins."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import BadInput
from ..files import atomic, suffix_of, without_suffix

LABEL_SUFFIXES = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")
MASK_SUFFIXES = (".png", ".tif", ".tiff")  # of pictures' labels
PICTURE_SUFFIXES = (*MASK_SUFFIXES, ".jpg", ".jpeg")


def label_file(output: str, source: Path) -> Path:
    """The file that `-o output` means: itself, or `<source's name>.seg.nrrd` (`.png` of a picture) in a folder that exists or ends in a slash."""
    path = Path(output)
    if path.is_dir() or output.endswith(("/", os.sep)):
        return path / f"{without_suffix(source.resolve()).name}{'.png' if suffix_of(source) in PICTURE_SUFFIXES else '.seg.nrrd'}"
    if suffix_of(path) not in LABEL_SUFFIXES + (MASK_SUFFIXES if suffix_of(source) in PICTURE_SUFFIXES else ()):
        raise BadInput(f"Cannot write labels to {path}: its name has to end in {', '.join(LABEL_SUFFIXES[:-1])} or {LABEL_SUFFIXES[-1]}.")
    return path


def check_writable(path: Path) -> None:
    """Try whether a file can be made where `path` will be; on read-only and network folders only trying tells."""
    with suppress(_Enough), atomic(path) as trial:
        trial.touch()
        raise _Enough


class _Enough(Exception):
    """The trial file could be made; it goes away with this."""
