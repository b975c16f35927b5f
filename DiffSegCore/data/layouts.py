"""Where the files of a data set are, for each of the layouts in which data sets come."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BadInput
from ..files import suffix_of, without_suffix
from .images2d import is_picture
from .label_names import names_of, read_label_names

SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd")
IMAGES = ("ct", "mr", "mri", "image", "img")
LABELS = ("label*", "seg*", "mask*", "oar*")
SPLITS = {"train": "train", "training": "train", "validation": "validation", "val": "validation",
          "valid": "validation", "test": "test", "testing": "test"}

Images = Path | tuple[Path, ...]


class Row(NamedTuple):
    split: str
    name: str
    image: Images
    label: Path | None


class Layout(NamedTuple):
    rows: list[Row]
    labels: dict[int, str]  # empty: the data set has no table of labels


def stem(path: Path) -> str:
    """The file's name without its suffix, .nii.gz taken whole."""
    return without_suffix(path).name


def nnunet(file: Path, table: dict[str, Any]) -> Layout:
    """nnU-Net raw, version 1 or 2: imagesTr/NAME_0000.nii.gz, one file a channel, and labelsTr/NAME.nii.gz."""
    ending = table.get("file_ending", ".nii.gz")
    channels = len(table.get("channel_names") or table.get("modality") or [0])
    rows = []
    for split, part in (("train", "Tr"), ("test", "Ts")):
        images = _channels(file.parent / f"images{part}", ending)
        labels = {p.name[: -len(ending)]: p for p in _files(file.parent / f"labels{part}", ending)}
        for name in labels.keys() - images.keys():
            raise BadInput(f"{labels[name]} has no image {name}_0000{ending} in images{part}.")
        for name, found in images.items():
            if sorted(found) != list(range(channels)):
                raise BadInput(f"Case {name} in {file.parent / f'images{part}'} has channels {sorted(found)}, "
                               f"but {file.name} names {channels}.")
            image = tuple(found[i] for i in range(channels))
            rows.append(Row(split, name, image[0] if channels == 1 else image, labels.get(name)))
    return Layout(rows, _table(table, file))


def is_nnunet(file: Path, table: dict[str, Any]) -> bool:
    """True for a data set whose images carry nnU-Net's channel number."""
    return "channel_names" in table or bool(_channels(file.parent / "imagesTr", table.get("file_ending", ".nii.gz")))


def datalist(file: Path, table: dict[str, Any], *, fold: int) -> Layout:
    """MSD's dataset.json or a MONAI datalist: lists of {image, label} with paths beside the file.

    Entries with a "fold" are training cases, those of `fold` validation, unless a list of validation cases is there.
    """
    rows = []
    for key, entries in table.items():
        if key not in SPLITS or not isinstance(entries, list):
            continue
        for entry in entries:
            held_out = isinstance(entry, dict) and entry.get("fold") == fold and not _has_validation(table)
            split = "validation" if held_out and SPLITS[key] == "train" else SPLITS[key]
            rows.append(_entry(split, entry, file))
    return Layout(rows, _table(table, file))


def folders(root: Path, *, label_file: str | None) -> Layout:
    """One folder a case (ct.nii.gz and oar.nii.gz, say), under train/, validation/ and test/ or directly in `root`."""
    rows = [row for split, part in _parts(root) for case in _folders(part) for row in _case(split, case, label_file)]
    tables = [root / name for name in ("labels.json", "labels.txt") if (root / name).is_file()]
    labelled = any(row.label for row in rows)
    return Layout(rows, read_label_names(tables[0], kind=kind_of(rows)) if tables and labelled else {})


def has_pictures(root: Path) -> bool:
    """True for a folder with pictures in images/, in a split or directly."""
    return any(is_picture(path) for _, part in _parts(root) for path in _files(part / "images", ""))


def pictures(root: Path) -> Layout:
    """images/NAME.png and masks/NAME.png (or NAME_mask.png, NAME_anything.png), under train/, validation/ and test/ or directly in `root`."""
    rows = []
    for split, part in _parts(root):
        images = {p.stem: p for p in _files(part / "images", "") if is_picture(p)}
        masks = {}
        for mask in filter(is_picture, _files(part / "masks", "")):
            name = max((n for n in images if mask.stem == n or mask.stem.startswith(f"{n}_")), key=len, default=None)
            if name is None or name in masks:
                raise BadInput(f"{mask} belongs to no picture in {part / 'images'}, or to one that has a mask already; "
                               "a mask has its picture's name.")
            masks[name] = mask
        rows += [Row(split, name, image, masks.get(name)) for name, image in images.items()]
    table = root / "labels.json"
    return Layout(rows, read_label_names(table) if table.is_file() else {})


def _parts(root: Path) -> list[tuple[str, Path]]:
    """(split, its folder); a folder without splits is for training."""
    return [(SPLITS[p.name.lower()], p) for p in _folders(root) if p.name.lower() in SPLITS] or [("train", root)]


def kind_of(rows: list[Row]) -> str:
    """The label files' stem, "oar" for oar.nii.gz, or "" where it differs from case to case."""
    kinds = {stem(row.label) for row in rows if row.label}
    return kinds.pop() if len(kinds) == 1 else ""


def _case(split: str, folder: Path, label_file: str | None) -> list[Row]:
    """The folder's case; an empty list where the folder holds neither an image nor a label."""
    files = [p for p in _files(folder, "") if suffix_of(p) in SUFFIXES]
    images = [p for p in files if stem(p).lower() in IMAGES]
    if label_file:
        labels = [p for p in files if label_file in (p.name, stem(p))]
        if images and not labels:
            raise BadInput(f"{folder} has no label file {label_file}; it holds {', '.join(p.name for p in files)}.")
    else:
        labels = [p for p in files if any(fnmatch(p.name.lower(), pattern) for pattern in LABELS)]
    if not images and not labels:
        return []
    if len(images) != 1:
        held = f"several images ({', '.join(p.name for p in images)})" if images else f"{labels[0].name} but no image"
        raise BadInput(f"{folder} holds {held}; a case has one image named {', '.join(IMAGES)} "
                       f"({', '.join(SUFFIXES)}).")
    if len(labels) > 1:
        raise BadInput(f"{folder} holds several label files ({', '.join(p.name for p in labels)}); "
                       "say which one to read.")
    return [Row(split, folder.name, images[0], labels[0] if labels else None)]


def _entry(split: str, entry: Any, file: Path) -> Row:
    """A listed case: a path, several of them, or {"image": path or paths, "label": path}."""
    image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
    paths = image if isinstance(image, list) else [image]
    if not paths or not all(isinstance(path, str) and path for path in paths) or not isinstance(label, (str, type(None))):
        raise BadInput(f"{file} lists a case without paths of an image and a label: {json.dumps(entry)[:120]}.")
    images = tuple(file.parent / path for path in paths)
    name = images[0].parent.name if stem(images[0]).lower() in IMAGES else stem(images[0])
    return Row(split, name, images if len(images) > 1 else images[0], file.parent / label if label else None)


def _has_validation(table: dict[str, Any]) -> bool:
    return any(SPLITS.get(key) == "validation" and entries for key, entries in table.items())


def _table(table: dict[str, Any], file: Path) -> dict[int, str]:
    labels = table.get("labels")
    if not labels:
        return {}
    if not isinstance(labels, dict):
        raise BadInput(f"'labels' in {file} is not a table of ids and names: {json.dumps(labels)[:120]}.")
    return names_of(labels, file)


def _channels(folder: Path, ending: str) -> dict[str, dict[int, Path]]:
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in _files(folder, ending):
        match = re.fullmatch(r"(.+)_(\d{4})", path.name[: len(path.name) - len(ending)])
        if match:
            found[match[1]][int(match[2])] = path
    return dict(found)


def _files(folder: Path, ending: str) -> list[Path]:
    if not folder.is_dir():
        return []
    # "._x" beside x is macOS's resource fork; MSD's archives are full of them
    return sorted(p for p in folder.iterdir() if p.is_file() and p.name.endswith(ending) and p.name[0] != ".")


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
