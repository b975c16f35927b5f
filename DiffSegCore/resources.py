"""Where the files are that ship with DiffSeg, bundled models and the sample volume, and where the user's own models are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "bundled"  # what pyproject.toml puts into a wheel
_SOURCE = _PACKAGE.parent / "Resources"  # a checkout, and a Slicer extension's folder
DEFAULT = "head-neck-ct"  # the model that is meant where none is named


def resource(*parts: str) -> Path:
    """The path of a shipped file or folder, such as `resource("Sample", "sample_ct.nii.gz")`; it may not exist."""
    home = _INSTALLED if _INSTALLED.is_dir() else _SOURCE
    return home.joinpath(*parts)


def own_folders() -> tuple[Path, ...]:
    """The folders of the user's models, which may not exist yet: new ones go into the first."""
    named = tuple(Path(part) for part in os.environ.get("DIFFSEG_MODELS", "").split(os.pathsep) if part)
    return named or (_data_folder() / "models",)


def _data_folder() -> Path:
    """Where programs keep a user's data on this system."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "DiffSeg"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/DiffSeg"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "diffseg"
