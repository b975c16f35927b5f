"""Where DiffSegCore lies: beside the module once installed, one folder up in a source checkout."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_MODULE_FOLDER = Path(__file__).resolve().parents[1]


def coreFolder() -> Path:
    """The folder that holds the package DiffSegCore, for another Python's search path; FileNotFoundError where there is none."""
    for folder in (_MODULE_FOLDER, _MODULE_FOLDER.parent):
        if (folder / "DiffSegCore" / "__init__.py").is_file():
            return folder
    raise FileNotFoundError(f"DiffSegCore is neither in {_MODULE_FOLDER} nor beside it: install the DiffSeg extension again.")


def ensureCore() -> None:
    """Make `import DiffSegCore` work; changes nothing where it does already."""
    if importlib.util.find_spec("DiffSegCore") is None:
        sys.path.append(str(coreFolder()))
