"""What a user drew, in the world's millimetres, as prompts of the session; and prompts as markups in the views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
import slicer
import vtk

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Box

from .Temporary import addTemporary, removeTemporary
from .VolumeFrame import VolumeFrame

COLORS = {True: (0.2, 0.9, 0.3), False: (1.0, 0.25, 0.2)}
_KINDS = {  # markup -> prompt; a closed curve is an open one too, so it comes first
    "vtkMRMLMarkupsFiducialNode": "point",
    "vtkMRMLMarkupsClosedCurveNode": "lasso",
    "vtkMRMLMarkupsCurveNode": "scribble",
    "vtkMRMLMarkupsLineNode": "scribble",
    "vtkMRMLMarkupsROINode": "box",
}


@dataclass(frozen=True)
class Places:
    """One thing drawn: `kind` point, scribble, box (two corners) or lasso; `ras` world mm; `depthMm` of a lasso, 0 for one layer of voxels."""

    kind: str
    ras: tuple[tuple[float, float, float], ...]
    inside: bool
    depthMm: float = 0.0

    def prompt(self, frame: VolumeFrame, label: int, number: int) -> dict[str, Any]:
        """As DiffSegCore.prompts writes it. BadInput where the places make no such prompt."""
        _check(self)
        ras = frame.toSession(self.ras).tolist()
        common = {"kind": self.kind, "number": number, "label": label, "inside": bool(self.inside)}
        if self.kind == "point":
            return {**common, "ras": ras[0]}
        if self.kind == "box":
            return {**common, "corners": _corners(self.ras, frame)}
        if self.kind == "lasso":
            return {**common, "ras": ras, "depth_mm": self.depthMm or _thickness(np.array(ras), frame)}
        return {**common, "ras": ras}


def placesOf(markupsNode: Any, inside: bool) -> list[Places]:
    """What a markups node holds: one Places for each point of a point list, else one. Empty while nothing is placed."""
    kind = next((kind for name, kind in _KINDS.items() if markupsNode.IsA(name)), None)
    if kind is None:
        raise BadInput(f"A {markupsNode.GetNodeTagName()} is no prompt; use points, a curve, a closed curve or a box (ROI).")
    if kind == "box":
        return [Places(kind, _roiCorners(markupsNode), inside)] if markupsNode.GetNumberOfControlPoints() else []
    points = slicer.util.arrayFromMarkupsControlPoints(markupsNode, world=True)
    placed = [tuple(map(float, points[n])) for n in range(len(points)) if markupsNode.GetNthControlPointPositionStatus(n) == markupsNode.PositionDefined]
    if kind == "point":
        return [Places(kind, (point,), inside) for point in placed]
    return [Places(kind, tuple(placed), inside)] if placed else []


def regionOf(roiNode: Any, frame: VolumeFrame) -> list[list[int]] | None:
    """The voxels whose centres lie in a box in the views, [start, stop] as the worker takes it; None for no box."""
    if roiNode is None:
        return None
    low, high = _roiCorners(roiNode)
    kji = frame.geometry.to_index(frame.toSession(_eight(low, high)))
    box = Box(tuple(np.ceil(kji.min(0)).astype(int)), tuple(np.floor(kji.max(0)).astype(int) + 1)).clip(frame.local.shape)
    if box.is_empty:
        raise BadInput("The region of interest lies outside the volume; move it, or choose none.")
    return [list(box.start), list(box.stop)]


class PromptMarkups:
    """Shows a session's prompts in the views, each with its number; not saved, as the session is."""

    def __init__(self, scene: Any) -> None:
        self._scene, self._nodes = scene, []

    def show(self, prompts: Iterable[Mapping[str, Any]], frame: VolumeFrame | None) -> None:
        self.hide()
        prompts = list(prompts)
        for inside in (True, False):
            points = [each for each in prompts if each["kind"] == "point" and each["inside"] == inside]
            if points:
                node = self._node("vtkMRMLMarkupsFiducialNode", inside)
                for each in points:
                    node.AddControlPointWorld(vtk.vtkVector3d(*frame.toWorld(each["ras"])), str(each["number"]))
        for each in prompts:
            if each["kind"] in ("scribble", "lasso"):
                node = self._node("vtkMRMLMarkupsClosedCurveNode" if each["kind"] == "lasso" else "vtkMRMLMarkupsCurveNode", each["inside"])
                for place in frame.toWorld(each["ras"]):
                    node.AddControlPointWorld(vtk.vtkVector3d(*place), "")
        for node in self._nodes:
            node.SetLocked(True)

    def hide(self) -> None:
        for node in self._nodes:
            removeTemporary(self._scene, node)
        self._nodes = []

    @property
    def nodes(self) -> Sequence[Any]:
        return tuple(self._nodes)

    def _node(self, className: str, inside: bool) -> Any:
        node = addTemporary(self._scene, className, "belongs" if inside else "does not belong")
        display = node.GetDisplayNode()
        display.SetSelectedColor(*COLORS[inside])
        display.SetPropertiesLabelVisibility(False)
        self._nodes.append(node)
        return node


def _check(places: Places) -> None:
    least = {"point": 1, "scribble": 1, "box": 2, "lasso": 3}.get(places.kind)
    if least is None:
        raise BadInput(f"A prompt is a point, scribble, box or lasso, not a {places.kind}.")
    if len(places.ras) < least:
        raise BadInput(f"A {places.kind} has {least} places or more, this one has {len(places.ras)}; draw it again.")
    if not np.isfinite(np.asarray(places.ras, dtype=np.float64)).all():
        raise BadInput("A place is three finite millimetres (RAS); click again.")


def _thickness(ras: np.ndarray, frame: VolumeFrame) -> float:
    """How far a voxel reaches across the plane of a polygon, in mm: so deep, a lasso holds one layer of voxels wherever it cuts them."""
    around = ras - ras.mean(axis=0)
    normal = np.cross(around, np.roll(around, -1, axis=0)).sum(axis=0)
    normal /= np.linalg.norm(normal) or 1.0
    return float(np.abs(normal @ frame.geometry.ijk_to_ras[:3, :3]).sum()) or min(frame.geometry.spacing)


def _corners(worldCorners: Sequence[Sequence[float]], frame: VolumeFrame) -> list[list[float]]:
    """Two opposite corners in the session of a box drawn in the world: where the volume is turned since, the box round it."""
    low, high = np.min(worldCorners, axis=0), np.max(worldCorners, axis=0)
    eight = frame.toSession(_eight(low, high))
    return [eight.min(0).tolist(), eight.max(0).tolist()]


def _eight(low: Sequence[float], high: Sequence[float]) -> list[list[float]]:
    return [[(low, high)[side][axis] for axis, side in enumerate(corner)] for corner in np.ndindex(2, 2, 2)]


def _roiCorners(roiNode: Any) -> tuple[tuple[float, float, float], ...]:
    bounds = [0.0] * 6
    roiNode.GetRASBounds(bounds)
    return tuple(bounds[0::2]), tuple(bounds[1::2])
