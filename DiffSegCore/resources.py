"""Where the files are that ship with DiffSeg: bundled models and the sample volume."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "bundled"  # what pyproject.toml puts into a wheel
_SOURCE = _PACKAGE.parent / "Resources"  # a checkout, and a Slicer extension's folder


def resource(*parts: str) -> Path:
    """The path of a shipped file or folder, such as `resource("Sample", "sample_ct.nii.gz")`; it may not exist."""
    home = _INSTALLED if _INSTALLED.is_dir() else _SOURCE
    return home.joinpath(*parts)
