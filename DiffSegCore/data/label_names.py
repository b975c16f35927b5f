"""Which organ an id in a label file means: tables as data sets carry them (JSON, labels.txt)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..organs import organ

EXAMPLE = 'for example {"1": "liver", "2": "spleen"} in JSON, or "1 liver 2 spleen" in a text file'


def organ_name(text: str) -> str:
    """The organ table's name for any of its aliases; other names become lower snake_case."""
    try:
        return organ(text).name
    except BadInput:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text)  # SpinalCanal -> Spinal_Canal, PTV56 stays whole
        return re.sub(r"[^0-9a-z]+", "_", words.lower()).strip("_")


def read_label_names(path: Path, *, kind: str = "") -> dict[int, str]:
    """Read id -> organ name from a JSON table, a dataset.json, the JSON beside a label file, or a labels.txt.

    A file may hold several tables ('oar: 1 Brainstem ...' and 'ptv: 1 PTV56 ...'): `kind`, the stem of the label
    file, picks one. Background (id 0) is left out. Raises BadInput where the table is missing or broken.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The table of labels {path} cannot be read: {error}.") from error
    pairs = _json_pairs(text, path, kind) if Path(path).suffix == ".json" else _text_pairs(text, path, kind)
    return names_of(pairs, path)


def names_of(pairs: Iterable[tuple[Any, Any]] | Mapping[Any, Any], source: Path) -> dict[int, str]:
    """id -> organ name from pairs in either order: (1, "liver") or ("liver", 1). `source` is for the error."""
    names: dict[int, str] = {}
    for first, second in pairs.items() if isinstance(pairs, Mapping) else pairs:
        label, title = _id_and_title(first, second, source)
        if label == 0:
            continue
        name = organ_name(title)
        if label in names:
            raise BadInput(f"{source} names label {label} twice: '{names[label]}' and '{name}'.")
        if name in names.values():
            raise BadInput(f"{source} gives two labels the name '{name}'; every organ needs one label.")
        names[label] = name
    if not names:
        raise BadInput(f"{source} names no label; write {EXAMPLE}.")
    return dict(sorted(names.items()))


def _id_and_title(first: Any, second: Any, source: Path) -> tuple[int, str]:
    # nnU-Net writes a region as a list of ids; a list of one is an ordinary label
    second = second[0] if isinstance(second, list) and len(second) == 1 else second
    if isinstance(second, list):
        raise BadInput(f"{source}: '{first}' is a region of labels {second}; give each label its own name.")
    label, title = (first, second) if _is_id(first) else (second, first)
    if not _is_id(label) or not isinstance(title, str) or not title.strip():
        raise BadInput(f"{source}: '{first}' and '{second}' are not an id and a name; write {EXAMPLE}.")
    if title.strip().lower() == "ignore":
        raise BadInput(f"{source}: label {label} is 'ignore', which DiffSeg cannot leave out; rename or remove it.")
    return int(label), title.strip()


def _is_id(value: Any) -> bool:
    return not isinstance(value, bool) and re.fullmatch(r"\d+", str(value).strip()) is not None


def _json_pairs(text: str, path: Path, kind: str) -> list[tuple[Any, Any]]:
    try:  # pairs, not a dict: a dict would hide an id that is named twice
        pairs = json.loads(text, object_pairs_hook=list)
    except json.JSONDecodeError as error:
        raise BadInput(f"The table of labels {path} is not JSON: {error}.") from error
    for key in ("labels", "names", kind):
        pairs = next((v for k, v in _pairs(pairs, path) if k == key and isinstance(v, list)), pairs)
    pairs = [(label, dict(about)["name"]) if _has_name(about) else (label, about) for label, about in _pairs(pairs, path)]
    tables = {name: value for name, value in pairs if _is_object(value)}
    if len(tables) > 1:
        raise BadInput(_several(tables, path, kind))
    return next(iter(tables.values()), pairs)


def _is_object(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(pair, tuple) for pair in value)


def _has_name(about: Any) -> bool:
    """The description of a label in the JSON that DiffSeg writes beside label files."""
    return _is_object(about) and any(key == "name" for key, _ in about)


def _pairs(value: Any, path: Path) -> list[tuple[Any, Any]]:
    if not _is_object(value):
        raise BadInput(f"{path} holds no table of labels; write {EXAMPLE}.")
    return value


def _several(tables: Iterable[str], path: Path, kind: str) -> str:
    return f"{path} holds several tables ({', '.join(tables)}), and none is named '{kind}' after the label file."


def _text_pairs(text: str, path: Path, kind: str) -> list[tuple[str, str]]:
    keyed: dict[str, str] = {}
    plain: list[str] = []
    for line in text.splitlines():
        line = re.sub(r"\([^)]*\)|#.*", "", line)  # remarks
        match = re.match(r"\s*([A-Za-z]\w*)\s*:(.*)", line)
        if match:
            keyed[match[1].lower()] = match[2]
        else:
            plain.append(line)
    if kind.lower() in keyed:
        return _line_pairs(keyed[kind.lower()])
    pairs = [pair for line in plain for pair in _line_pairs(line)]
    if pairs:
        return pairs
    tables = [key for key in keyed if _line_pairs(keyed[key])]
    if len(tables) > 1:
        raise BadInput(_several(tables, path, kind))
    return _line_pairs(keyed[tables[0]]) if tables else []


def _line_pairs(line: str) -> list[tuple[str, str]]:
    """'1 liver 2 right kidney' -> [("1", "liver"), ("2", "right kidney")]."""
    found = re.split(r"(?:^|\s)(\d+)\s*[:=]?\s+(?=[A-Za-z])", line)  # the digits of 'vertebra L5' are no id
    return [(label, title.strip(" \t,;")) for label, title in zip(found[1::2], found[2::2])]
