"""What an nnU-Net v2 model folder says of itself: plans.json, dataset.json, fold_*/checkpoint_final.pth."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping, NamedTuple

from ..errors import BadInput
from ..foreign_file import ForeignModel, hashed, organ_names
from .checkpoint import read_checkpoint

CHECKPOINT = "checkpoint_final.pth"
OTHERS = ("background", "ignore")
_CT_RANGE = (-1000.0, 1000.0)
_ALLOWED = ("torch.nn.", "dynamic_network_architectures.")  # what plans may name to build a network of


class Labels(NamedTuple):
    """names of the channels after the background, in order, the value that each is written as, and whether channels overlap."""

    names: list[str]
    values: tuple[int, ...]
    overlap: bool


def look(path: Path, name: str, modality: str = "") -> ForeignModel:
    """The model in a folder, with its hashes; reads one checkpoint. BadInput where something is missing or cannot be used."""
    folder = model_folder(path)
    plans, dataset = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
    folds = _folds(folder)
    checkpoint = read_checkpoint(folder / folds[0] / CHECKPOINT)
    configuration = configuration_of(checkpoint, folder)
    labels = labels_of(dataset)
    channels = dataset.get("channel_names") or dataset.get("modality") or {"0": ""}
    kind = modality or _modality(list(channels.values()))
    files = {file: "" for file in ("plans.json", "dataset.json", *(f"{fold}/{CHECKPOINT}" for fold in folds))}
    model = ForeignModel(name, "nnunet", str(folder), files, organ_names(labels.names), labels.values, _preprocessing(plans, configuration, kind),
                         len(channels), dataset.get("description") or f"{plans.get('dataset_name', name)}, {configuration} (nnU-Net)",
                         str(dataset.get("licence", dataset.get("license", ""))), settings={"folds": folds, "configuration": configuration})
    return hashed(model)


def model_folder(path: Path) -> Path:
    """The folder with the plans: this one, or the only one in it that has them, as trained models are laid out."""
    inside = [path] if (path / "plans.json").is_file() else sorted(each.parent for each in path.glob("*/plans.json"))
    if len(inside) != 1:
        found = f"there are {len(inside)} in it: {', '.join(each.name for each in inside)}; name one" if inside else "there is no plans.json in it"
        raise BadInput(f"{path} is not the folder of one nnU-Net model (plans.json, dataset.json, fold_*/{CHECKPOINT}): {found}.")
    return inside[0].resolve()


def read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path} is missing; copy the whole folder of the model.") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is damaged ({error}); get the model again.") from error


def configuration_of(checkpoint: Mapping[str, Any], folder: Path) -> str:
    try:
        return str(checkpoint["init_args"]["configuration"])
    except (KeyError, TypeError) as error:
        raise BadInput(f"The checkpoints in {folder} do not say which configuration of the plans they are ({error}); they are not nnU-Net v2's.") from error


def labels_of(dataset: Mapping[str, Any]) -> Labels:
    """Labels count from 1; regions, lists of labels that may overlap, are written in `regions_class_order`, the later over the earlier."""
    given = {name: value for name, value in dataset.get("labels", {}).items() if name.lower() not in OTHERS}
    if not given:
        raise BadInput("The dataset.json of the model names no labels; get the model again.")
    if not any(isinstance(value, list) and len(value) > 1 for value in given.values()):
        ordered = sorted((value[0] if isinstance(value, list) else int(value), name) for name, value in given.items())
        return Labels([name for _, name in ordered], tuple(value for value, _ in ordered), False)
    regions = [set(value if isinstance(value, list) else [value]) for value in given.values()]
    order = tuple(map(int, dataset.get("regions_class_order", ())))
    if len(order) != len(regions):
        raise BadInput("The dataset.json of the model has regions, and no regions_class_order for each; get the model again.")
    covered = [any(later < region for later in regions[n + 1:]) for n, region in enumerate(regions)]
    return Labels([f"{name} rest" if hidden else name for name, hidden in zip(given, covered)], order, True)


def check_architecture(class_name: str, arguments: Mapping[str, Any], imported: list[str]) -> None:
    """Plans name Python classes: only networks and their layers may be among them."""
    for name in (class_name, *(arguments.get(key) for key in imported)):
        if name is not None and not str(name).startswith(_ALLOWED):
            raise BadInput(f"The plans of the model build its network of {name!r}; only classes of {' and '.join(_ALLOWED)} are taken, others could run anything.")


def _folds(folder: Path) -> list[str]:
    """All that were trained apart; one that was trained on everything, where there is no other: as nnU-Net chooses."""
    there = sorted(path.parent.name for path in folder.glob(f"fold_*/{CHECKPOINT}"))
    folds = [fold for fold in there if fold != "fold_all"] or there
    if not folds:
        raise BadInput(f"{folder} has no fold_*/{CHECKPOINT}; copy the whole folder of the model.")
    return folds


def _modality(channels: list[str]) -> str:
    words = {word.lower() for word in channels}
    if "ct" in words:
        return "CT"
    return "MR" if all(word.startswith(("mr", "t1", "t2", "flair", "adc", "dwi")) for word in words) else ""


def _preprocessing(plans: Mapping[str, Any], configuration: str, modality: str) -> dict[str, Any]:
    """What DiffSeg says of an input before it is segmented; nnU-Net's own preprocessing stays its own."""
    try:
        spacing = _spacing(plans, configuration)
    except (KeyError, TypeError) as error:
        raise BadInput(f"The plans of the model have no configuration {configuration!r} with a spacing ({error}); get the model again.") from error
    known = plans.get("foreground_intensity_properties_per_channel", {}).get("0", {})
    low, high = _CT_RANGE if modality == "CT" else (0.0, float(known.get("percentile_99_5", 1000.0)))
    return {"spacing_mm": spacing, "intensity_knots": [[low, 0.0], [max(high, low + 1), 1.0]], "modality": modality}


def _spacing(plans: Mapping[str, Any], configuration: str) -> list[float]:
    """mm (K, J, I); a plane's spacing has no first, which is then the data set's median."""
    chosen = plans["configurations"][configuration]
    while "spacing" not in chosen:
        chosen = plans["configurations"][chosen["inherits_from"]]
    spacing = list(map(float, chosen["spacing"]))
    if len(spacing) == 2:
        spacing = [float(plans["original_median_spacing_after_transp"][0]), *spacing]
    return [spacing[axis] for axis in plans.get("transpose_backward", (0, 1, 2))]
