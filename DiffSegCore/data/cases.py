"""The cases of a data set as it lies on disk: nnU-Net raw, MSD, MONAI datalist, one folder a case, or pictures and masks."""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from ..errors import BadInput
from . import layouts
from .label_names import organ_name, read_label_names
from .sources import read_truth

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """One patient's files; an image in several channels is a tuple of files, and an unlabelled case has no label."""

    name: str
    image: Path | tuple[Path, ...]
    label: Path | None = None


@dataclass(frozen=True)
class Dataset:
    """Cases by split ("train", "validation", "test"), naturally sorted, and the organ of each id in the label files."""

    cases: dict[str, tuple[Case, ...]]
    labels: dict[int, str]


def read_dataset(folder: str | Path, *, label_file: str | None = None, names: str | Path | None = None,
                 fold: int = 0) -> Dataset:
    """Find the cases in a folder (or behind its JSON file), whatever its layout.

    label_file: the label's file name or stem in a folder per case, where several would do ("oar" or "oar.nii.gz").
    names: a table of labels (JSON or text) in place of the data set's own.
    fold: the fold of a MONAI datalist that becomes the validation split.

    Without a table every label file is read, for the names that it brings or the ids in it ("label_<id>").
    Raises BadInput where a file is missing, a name occurs twice, a split is labelled in part, or nothing is found.
    """
    folder = Path(folder)
    rows, labels = _layout(folder, label_file, fold)
    if not rows:
        raise BadInput(f"No case was found in {folder}. DiffSeg reads nnU-Net raw and MSD folders (dataset.json), MONAI "
                       "datalists, one folder a case with ct, mr, image or img (.nii.gz, .nrrd, .mha) in it, and pictures in images/ with "
                       "their masks in masks/.")
    cases = _by_split(rows)
    if names:
        labels = read_label_names(Path(names), kind=layouts.kind_of(rows))
    return Dataset(cases, labels or _names_in_files(cases, folder))


def read_images(folder: str | Path) -> dict[str, tuple[Case, ...]]:
    """The cases of `read_dataset` by split without their labels, which may be incomplete, unnamed or missing; {} if there are none."""
    return _by_split([row._replace(label=None) for row in _layout(Path(folder), None, 0).rows])


def kept_in(cases: Sequence[Case], leave_out: Sequence[str] = ()) -> list[Case]:
    """The labelled ones, less those whose name matches a pattern ("STS_03?"): test cases of a data set without a test split, say."""
    return [case for case in cases if case.label and not any(fnmatch(case.name, each) for each in leave_out)]


def _layout(folder: Path, label_file: str | None, fold: int) -> layouts.Layout:
    if not folder.exists():
        raise BadInput(f"The data set {folder} does not exist.")
    file = folder if folder.is_file() else _list_in(folder)
    if file is None and layouts.has_pictures(folder):
        return layouts.pictures(folder)
    if file is None:
        return layouts.folders(folder, label_file=label_file)
    table = _json(file)
    return layouts.nnunet(file, table) if layouts.is_nnunet(file, table) else layouts.datalist(file, table, fold=fold)


def _list_in(folder: Path) -> Path | None:
    """The JSON file that lists the folder's cases, where there is one."""
    if (folder / "dataset.json").is_file():
        return folder / "dataset.json"
    lists = [p for p in sorted(folder.glob("*.json")) if p.name != "labels.json" and b'"training"' in p.read_bytes()]
    if len(lists) > 1:
        raise BadInput(f"{folder} holds several lists of cases ({', '.join(p.name for p in lists)}); "
                       "give the path of one of them.")
    return lists[0] if lists else None


def _json(file: Path) -> dict[str, Any]:
    try:
        table = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read as JSON: {error}.") from error
    if not isinstance(table, dict):
        raise BadInput(f"{file} holds no data set: a JSON object with a list of training cases was expected.")
    return table


def _by_split(rows: list[layouts.Row]) -> dict[str, tuple[Case, ...]]:
    seen: dict[str, str] = {}
    splits: dict[str, list[Case]] = defaultdict(list)
    for split, name, image, label in sorted(rows, key=lambda row: _natural(row.name)):
        if name in seen:
            raise BadInput(f"Two cases are named '{name}' (in {seen[name]} and in {split}); every case needs its own name, "
                           "and a case belongs to one split.")
        seen[name] = split
        _look_for(name, image, label)
        splits[split].append(Case(name, image, label))
    for split, cases in splits.items():
        _labelled_alike(split, cases)
    return {split: tuple(splits[split]) for split in ("train", "validation", "test") if split in splits}


def _look_for(name: str, image: layouts.Images, label: Path | None) -> None:
    for path in image if isinstance(image, tuple) else (image,):
        if not path.exists():  # a DICOM folder is an image too
            raise BadInput(f"The image of case {name} is missing: {path}.")
    if label and not label.is_file():
        raise BadInput(f"The label file of case {name} is missing: {label}.")


def _labelled_alike(split: str, cases: list[Case]) -> None:
    bare = [case.name for case in cases if case.label is None]
    if bare and len(bare) < len(cases):
        raise BadInput(f"{len(bare)} of {len(cases)} {split} cases have no label file, the first is {bare[0]}: label them "
                       "all, or keep the unlabelled ones in a data set of their own.")


def _names_in_files(cases: dict[str, tuple[Case, ...]], folder: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for file in [case.label for split in cases.values() for case in split if case.label]:
        labels = read_truth(file)
        for i in np.unique(labels.ids[labels.ids > 0]).tolist():
            name = organ_name(labels.names.get(i, f"label_{i}"))
            if names.setdefault(i, name) != name:
                raise BadInput(f"{file} calls label {i} '{name}', and an earlier case calls it '{names[i]}': give all "
                               "label files the same ids.")
    unnamed = [name for i, name in names.items() if name == f"label_{i}"]
    if unnamed:
        log.warning("No table says what the labels in %s mean; they are called %s.", folder, ", ".join(sorted(unnamed)))
    return dict(sorted(names.items()))


def _natural(name: str) -> list[tuple[int, str]]:
    """pt_2 before pt_10: runs of digits compare as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]
