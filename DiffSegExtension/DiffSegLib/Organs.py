"""The segments as rows of a list: name, colour, volume, confidence, checked; and what the model said of them when it made them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Mapping

import numpy as np

from .Images import arrayOf, boxOf, ijkToRasOf
from .SceneBridge import Organ, isChecked, segmentIds, tagOf

SAID = "DiffSeg.Automatic"  # tag: JSON of what the model said of its own result; goes with the segment into the saved scene
_UNCHANGED = 1e-4  # share of the volume: below this, it is still the model's own result


@dataclass(frozen=True)
class OrganRow:
    """`id` is the label id in the session (0 before there is one); `color` RGB 0..1; `range` (low, high) ml, of the model's unchanged result only;
    `rangeRate`: in which share of its validation cases such a range held the true volume, None where nobody measured that."""

    id: int
    segmentId: str
    name: str
    color: tuple[float, float, float]
    ml: float
    range: tuple[float, float] | None
    confidence: float | None
    checked: bool
    automaticMl: float | None = None
    rangeRate: float | None = None

    @property
    def corrected(self) -> bool:
        """Whether somebody changed what the model made."""
        return self.automaticMl is not None and abs(self.ml - self.automaticMl) > _UNCHANGED * self.automaticMl


class OrganList:
    """Counts voxels of a layer only when it changed, so that the list may be asked for after every click."""

    def __init__(self) -> None:
        self._counted: dict[str, tuple[int, np.ndarray]] = {}  # address of a layer -> when it changed, voxels by label value
        self._used: set[str] = set()

    def rows(self, segmentationNode: Any, labelIds: Mapping[str, int]) -> list[OrganRow]:
        """Least certain first; what the model has not made comes last, in the segmentation's order."""
        rows = [self._row(segmentationNode, segment, labelIds.get(segment, 0)) for segment in segmentIds(segmentationNode)]
        self._counted, self._used = {key: self._counted[key] for key in self._used}, set()  # layers come and go with every undo
        return sorted(rows, key=lambda row: (row.confidence is None, row.confidence or 0.0))

    def _row(self, node: Any, id: str, label: int) -> OrganRow:
        segment = node.GetSegmentation().GetSegment(id)
        said = saidOf(node, id)
        limits = (said.get("low_ml"), said.get("high_ml"))
        row = OrganRow(label, id, segment.GetName(), tuple(segment.GetColor()), self.ml(segment), None if None in limits else limits,
                       said.get("confidence"), isChecked(node, id), said.get("ml"), said.get("range_rate"))
        return replace(row, range=None) if row.corrected else row

    def ml(self, segment: Any) -> float:
        image = segment.GetRepresentation("Binary labelmap")
        if image is None or boxOf(image).is_empty:
            return 0.0
        counts = self._counts(image)
        value = segment.GetLabelValue()
        voxelMl = abs(np.linalg.det(ijkToRasOf(image)[:3, :3])) / 1000
        return float(counts[value] * voxelMl) if value < len(counts) else 0.0

    def _counts(self, image: Any) -> np.ndarray:
        key, changed = image.GetAddressAsString("vtkDataObject"), image.GetMTime()
        self._used.add(key)
        known = self._counted.get(key)
        if known is None or known[0] != changed:
            known = self._counted[key] = (changed, countsOf(arrayOf(image)))
        return known[1]


def countsOf(values: np.ndarray) -> np.ndarray:
    """Voxels of each label value; plane by plane, as bincount makes 64-bit copies."""
    length = int(values.max(initial=0)) + 1
    return sum(np.bincount(plane.ravel(), minlength=length) for plane in values)


def saidOf(segmentationNode: Any, segmentId: str) -> dict[str, Any]:
    """What the model said of a segment; empty for segments of other origin."""
    text = tagOf(segmentationNode, segmentId, SAID)
    return json.loads(text) if text else {}


def organOf(answer: Mapping[str, Any]) -> Organ:
    """A segment to be made, from one organ of the worker's answer: {id, name, title, color (RGB 0..1), ml, low_ml, high_ml, range_rate, confidence}."""
    said = {key: answer[key] for key in ("ml", "low_ml", "high_ml", "range_rate", "confidence") if answer.get(key) is not None}
    tags = {SAID: json.dumps(said)}
    terminology = answer.get("terminology") or _terminology(answer["name"])
    if terminology:
        tags["TerminologyEntry"] = terminology
    return Organ(int(answer["id"]), answer["name"], answer.get("title") or answer["name"], tuple(round(255 * part) for part in answer["color"]), tags)


def _terminology(name: str) -> str:
    from DiffSegCore.organs import ORGANS

    return ORGANS[name].terminology if name in ORGANS else ""

