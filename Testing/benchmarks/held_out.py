"""Which cases each bundled model is measured on: none of them was seen in its training."""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping

import numpy as np

from DiffSegCore.data.label_names import read_label_names
from DiffSegCore.errors import BadInput
from DiffSegCore.files import atomic
from DiffSegCore.reading import read_labels
from DiffSegCore.volume import LabelMap

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Source:
    """Case folders, a glob below the data; in each of them an image and a label file, whose ids a table names.

    names: the table's file below the data, or the table itself; kind: which of the tables in that file. complete: an organ without a voxel is absent (True),
    or may not have been contoured (False).
    """

    cases: str
    image: str
    label: str
    names: str | Mapping[int, str]
    kind: str = ""
    complete: bool = True


@dataclass(frozen=True)
class HeldOut:
    """title, split: for the card; strange: volumes of FOREIGN that the model has to warn of."""

    title: str
    split: str
    sources: tuple[Source, ...]
    strange: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One patient's files, and the organ of each id in the label file."""

    name: str
    image: Path
    label: Path
    names: Mapping[int, str] = field(default_factory=dict)
    complete: bool = True

    def truth(self) -> LabelMap:
        found = read_labels(self.label)
        return LabelMap(found.ids, found.geometry, self.names)


OPENKBP = Source("ct_hn_openkbp/test/*", "ct.nii.gz", "oar.nii.gz", "ct_hn_openkbp/labels.txt", "oar", complete=False)
CHAOS = Source("mr_abdomen_chaos_t2/3?", "mr.nii.gz", "label.nii.gz", "mr_abdomen_chaos_t2/labels.txt")
WHOLE_ABDOMEN = Source("ct_abdomen/ts_example", "ct.nii.gz", "label_ts117.nii.gz", "label_maps/ts_class_map.json", "total")
SLABS = Source("ct_abdomen/amos_*_slab", "ct.nii.gz", "label_amos15.nii.gz", "label_maps/amos_labels.txt")
SARCOMAS = (Source("ct_lesion_sts/STS_02[89]", "ct.nii.gz", "label.nii.gz", {1: "tumour"}),
            Source("ct_lesion_sts/STS_03?", "ct.nii.gz", "label.nii.gz", {1: "tumour"}))

FOREIGN = {
    "CT of head and neck": "ct_hn_openkbp/test/pt_242/ct.nii.gz",
    "CT of chest": "tests_small/acil_ct64/ct.nii.gz",
    "CT of abdomen and pelvis": "ct_abdomen/ts_example/ct.nii.gz",
    "CT of a thigh": "ct_lesion_sts/STS_028/ct.nii.gz",
    "MR of abdomen": "mr_abdomen_chaos_t2/31/mr.nii.gz",
}

HELD_OUT = {
    "head-neck-ct": HeldOut("OpenKBP, clinics' contours", "test", (OPENKBP,), ("CT of chest", "CT of abdomen and pelvis", "CT of a thigh", "MR of abdomen")),
    "abdomen-ct": HeldOut("one TotalSegmentator example, labelled by a model, and two slabs of AMOS, labelled by hand", "ts_example, amos_0001, amos_0013",
                          (WHOLE_ABDOMEN, SLABS), ("CT of head and neck", "CT of chest", "CT of a thigh", "MR of abdomen")),
    "abdomen-mr": HeldOut("CHAOS T2, drawn by hand", "cases 30 and up", (CHAOS,),
                          ("CT of head and neck", "CT of chest", "CT of abdomen and pelvis", "CT of a thigh")),
}


def held_out(model: str) -> HeldOut:
    """What the model of that name is measured on; BadInput where the table above has no row for it."""
    if model not in HELD_OUT:
        raise BadInput(f"There are no cases to measure {model!r} on: give it a row in HELD_OUT of {Path(__file__).name}; there are {', '.join(HELD_OUT)}.")
    return HELD_OUT[model]


def cases_of(sources: tuple[Source, ...], data: Path, first: int | None = None) -> tuple[Case, ...]:
    """The sources' cases in the order of their names, or the `first` of them. BadInput where the data is not there."""
    found = [case for source in sources for case in _cases(source, data)]
    if first is not None and first < 1:
        raise BadInput(f"--cases is 1 or more, not {first}.")
    return tuple(found[:first])


def spread(cases: tuple[Case, ...], count: int | None) -> tuple[Case, ...]:
    """So many of the cases, at even distances."""
    if count is None or count >= len(cases):
        return cases
    return tuple(cases[int(n)] for n in np.linspace(0, len(cases) - 1, count).round())


def write_datalist(cases: tuple[Case, ...], folder: Path, split: str = "testing") -> Path:
    """A MONAI datalist of the cases, all of one split and one table of labels, which any command that takes --data reads; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = [{"image": str(case.image.resolve()), "label": str(case.label.resolve())} for case in cases]
    with atomic(folder / "dataset.json") as temporary:
        temporary.write_text(json.dumps({"labels": {str(id): name for id, name in cases[0].names.items()}, split: listed}, indent=1), encoding="utf-8")
    return folder


def _cases(source: Source, data: Path) -> list[Case]:
    folders = sorted(path for path in data.glob(source.cases) if path.is_dir())
    if not folders:
        raise BadInput(f"There is no {source.cases} in {data}; say where the data lies with --data (make: DATA=).")
    names = read_label_names(data / source.names, kind=source.kind) if isinstance(source.names, str) else source.names
    return [Case(each.name, each / source.image, each / source.label, names, source.complete) for each in folders]
