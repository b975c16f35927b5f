"""Which models there are: bundled ones, and the user's own in the folders that DIFFSEG_MODELS names, else in their home."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import BadInput
from .foreign_file import SUFFIX as FOREIGN
from .model import Model, describe_model, load_model_file
from .resources import DEFAULT as DEFAULT, own_folders as own_folders, resource

SUFFIX = ".safetensors"


def model_files() -> dict[str, Path]:
    """Model name -> file, its name with a suffix; the user's folder wins over a bundled model of the same name."""
    folders = (resource("Models"), *own_folders())
    return {name_of(path): path for folder in folders for suffix in (FOREIGN, SUFFIX) for path in sorted(folder.glob("*" + suffix))}


def name_of(path: Path) -> str:
    """The name of the model in a file, as it is listed and chosen."""
    return path.name.removesuffix(FOREIGN).removesuffix(SUFFIX)


def model_rows() -> list[dict[str, Any]]:
    """What the files say of themselves, as plain values: name, file, megabytes and title, kind, clicks (whether it answers them),
    modality, organs, spacing_mm (K, J, I), sha256, source, licence, dice; a broken file has an error instead.
    """
    return [_row(name, path) for name, path in model_files().items()]


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


def click_model_names() -> list[str]:
    """Of the models that answer clicks on any structure."""
    return [row["name"] for row in model_rows() if row.get("clicks")]


def load_click_model(name_or_path: str | Path | None = None) -> Model:
    """As `load_model`; the first that answers clicks where None is given. BadInput where there is none, or it doesn't."""
    there = click_model_names() if name_or_path is None else [name_or_path]
    if not there:
        raise BadInput("There is no model that answers clicks; add one in Setup, or train one with `diffseg train click`.")
    model = load_model(there[0])
    if "click" not in model.card:
        raise BadInput(f"The model {str(name_or_path)!r} does not answer clicks; choose one that does.")
    return model


def _row(name: str, path: Path) -> dict[str, Any]:
    place = {"name": name, "file": str(path), "megabytes": round(path.stat().st_size / 1e6, 2)}
    try:
        described = describe_model(path)
    except BadInput as error:  # one broken file hides no other
        return {**place, "error": str(error)}
    card = described["card"]
    if "bytes" in card:  # another tool's, whose weights lie elsewhere
        place["megabytes"] = round(card["bytes"] / 1e6, 2)
    return {**place, "kind": described["architecture"].get("kind", ""), "clicks": "click" in card, "title": card.get("title", ""),
            "modality": described["preprocessing"]["modality"], "organs": described["organs"],
            "spacing_mm": described["preprocessing"]["spacing_mm"], "sha256": described["sha256"], "source": card.get("data", ""),
            "licence": card.get("licence", ""), "dice": card.get("dice")}
