"""The organ table (organs.csv): for each organ an id, names, a SNOMED CT code and a colour.

Ids are what label files hold. Names are snake_case as TotalSegmentator writes them. An organ whose
code could not be confirmed has no row; labels may carry names that are not in the table.
"""

from __future__ import annotations

import csv
import difflib
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Mapping

from .errors import BadInput

_CATEGORIES = {"Anatomical Structure": "123037004", "Morphologically Altered Structure": "49755003"}
LATERALITY_CODES = {"left": "7771000", "right": "24028007"}


@dataclass(frozen=True)
class Organ:
    """One row of organs.csv; `color` is RGB 0..255, `laterality` "left", "right" or ""."""

    id: int
    name: str
    title: str
    category: str
    snomed: str
    snomed_meaning: str
    laterality: str
    color: tuple[int, int, int]
    aliases: tuple[str, ...]

    @property
    def coded_category(self) -> tuple[str, str]:
        """SNOMED CT code and meaning of the category."""
        return _CATEGORIES[self.category], self.category

    @property
    def terminology(self) -> str:
        """The organ in Slicer's words, the value of a segment's TerminologyEntry tag."""
        side = f"SCT^{LATERALITY_CODES[self.laterality]}^{self.laterality.capitalize()}" if self.laterality else "^^"
        return "~".join((
            "Segmentation category and type - DICOM master list",
            f"SCT^{_CATEGORIES[self.category]}^{self.category}",
            f"SCT^{self.snomed}^{self.snomed_meaning}",
            side,
            "Anatomic codes - DICOM master list",
            "^^",
            "^^",
        ))


def _read_table() -> Mapping[str, Organ]:
    text = resources.files(__package__).joinpath("organs.csv").read_text(encoding="utf-8")
    return MappingProxyType({row["name"]: _organ(row) for row in csv.DictReader(text.splitlines())})


def _organ(row: dict[str, str]) -> Organ:
    words = ("name", "title", "category", "snomed", "snomed_meaning", "laterality")
    return Organ(
        id=int(row["id"]),
        color=(int(row["red"]), int(row["green"]), int(row["blue"])),
        aliases=tuple(filter(None, row["aliases"].split(";"))),
        **{word: row[word] for word in words},
    )


ORGANS: Mapping[str, Organ] = _read_table()


def organ(name: str) -> Organ:
    """The organ of that name, title or alias; case, spaces, hyphens and underscores do not matter.

    Raises BadInput naming the nearest known organs.
    """
    try:
        return _spellings()[_plain(name)]
    except KeyError:
        near = difflib.get_close_matches(_plain(name), _spellings(), n=3)
        hint = ", ".join(dict.fromkeys(_spellings()[spelling].name for spelling in near))
        way_out = f"did you mean {hint}?" if hint else "DiffSegCore/organs.csv lists the known ones."
        raise BadInput(f"There is no organ named {name!r}; {way_out}") from None


def by_id(id: int) -> Organ:
    """The organ that label files write as `id`. Raises BadInput for an id outside the table."""
    try:
        return _ids()[int(id)]
    except KeyError:
        raise BadInput(f"There is no organ with id {id}; ids are 1 to {max(_ids())}, see DiffSegCore/organs.csv.") from None


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


@lru_cache(maxsize=1)
def _spellings() -> Mapping[str, Organ]:
    return {_plain(word): each for each in ORGANS.values() for word in (each.name, each.title, *each.aliases)}


@lru_cache(maxsize=1)
def _ids() -> Mapping[int, Organ]:
    return {each.id: each for each in ORGANS.values()}
