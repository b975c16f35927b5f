"""Which models there are: bundled ones and those in the folder that DIFFSEG_MODELS names."""
from __future__ import annotations

import os
from pathlib import Path

from .errors import BadInput
from .model import Model, load_model_file
from .resources import resource

SUFFIX = ".safetensors"
DEFAULT = "head-neck-ct"


def model_files() -> dict[str, Path]:
    """Model name (the file's stem) -> file; the user's folder wins over a bundled model of the same name."""
    folders = [resource("Models")] + [Path(part) for part in os.environ.get("DIFFSEG_MODELS", "").split(os.pathsep) if part]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*" + SUFFIX))}


def find_model(name_or_path: str | Path = DEFAULT) -> Path:
    """The file of a model given by its name or its path; BadInput lists the known names."""
    files, path = model_files(), Path(name_or_path)
    if str(name_or_path) in files:
        return files[str(name_or_path)]
    if path.suffix == SUFFIX or path.exists():
        return path
    raise BadInput(f"There is no model {str(name_or_path)!r}; there are {', '.join(files) or 'none'}. "
                   f"A path to a {SUFFIX} file works too, and DIFFSEG_MODELS may name a folder of them.")


def load_model(name_or_path: str | Path = DEFAULT) -> Model:
    """Load a model by name or path (weights on the CPU; a Segmenter moves them). BadInput where it is unknown, damaged or doesn't fit."""
    return load_model_file(find_model(name_or_path))
