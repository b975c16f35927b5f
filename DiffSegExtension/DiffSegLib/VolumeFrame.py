"""Where a volume is: its grid for the session, and the way from a click in the views to it and back.

Three frames of RAS millimetres meet. The world is what the views show. Local is what the volume's own header says. The session's
is fixed when a session begins and never moves: the world of that moment, so that a model sees a patient the way up that a
transform put him, or local where the transform is not rigid. A volume moved later on takes its session along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry

from .Images import toArray

_RIGID = 1e-5  # single precision leaves 1e-7


@dataclass(frozen=True, eq=False)
class VolumeFrame:
    """`local` is the volume's own grid; `localToSession` (4, 4) takes its RAS to the session's."""

    volumeNode: Any
    local: Geometry
    localToSession: np.ndarray

    @classmethod
    def of(cls, volumeNode: Any, localToSession: np.ndarray | None = None) -> VolumeFrame:
        """`localToSession`: of a session that goes on; else the present world is taken. Raises BadInput for a volume without voxels."""
        local = localGeometry(volumeNode)
        if localToSession is None:
            localToSession = _upright(volumeNode)
        return cls(volumeNode, local, np.array(localToSession, dtype=np.float64))

    @property
    def geometry(self) -> Geometry:
        """The volume's grid in the session's RAS: what the worker is told."""
        return Geometry(self.local.shape, self.localToSession @ self.local.ijk_to_ras)

    def toSession(self, worldRas: Any) -> np.ndarray:
        """(..., 3) points of the views in the session's RAS, the volume's present transform undone."""
        return _moved(_through(worldRas, None, self.volumeNode.GetParentTransformNode()), self.localToSession)

    def toWorld(self, sessionRas: Any) -> np.ndarray:
        """(..., 3) points of the session where the views show them now."""
        local = _moved(sessionRas, np.linalg.inv(self.localToSession))
        return _through(local, self.volumeNode.GetParentTransformNode(), None)


def localGeometry(volumeNode: Any) -> Geometry:
    """The volume's grid in its own RAS, parent transforms left aside."""
    image = volumeNode.GetImageData() if volumeNode else None
    if image is None or image.GetNumberOfPoints() == 0:
        raise BadInput("There is no image in the chosen volume; load one, or choose another input volume.")
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return Geometry.from_ijk(image.GetDimensions(), toArray(matrix))


def gridInSegmentation(volumeNode: Any, segmentationNode: Any) -> Geometry:
    """The volume's grid in the segmentation's own RAS. Raises BadInput where a bending transform lies between them."""
    local = localGeometry(volumeNode)
    source, target = volumeNode.GetParentTransformNode(), segmentationNode.GetParentTransformNode()
    if source is target:
        return local
    matrix = vtk.vtkMatrix4x4()
    if not slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(source, target, matrix):
        raise BadInput("A non-linear transform lies between the volume and the segmentation; "
                       "put both under the same transform, or harden it (right click in the Data module).")
    return Geometry(local.shape, toArray(matrix) @ local.ijk_to_ras)


def _upright(volumeNode: Any) -> np.ndarray:
    """Local to world where that is a rigid motion. Scaled, its millilitres would not be those of the segments; mirrored, left were right."""
    transform = volumeNode.GetParentTransformNode()
    if transform is None or not transform.IsTransformToWorldLinear():
        return np.eye(4)
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    axes = toArray(matrix)[:3, :3]
    rigid = np.abs(axes.T @ axes - np.eye(3)).max() < _RIGID and np.linalg.det(axes) > 0
    return toArray(matrix) if rigid else np.eye(4)


def _through(points: Any, source: Any, target: Any) -> np.ndarray:
    """Points carried from below one transform node to below another; None is the world."""
    points = np.asarray(points, dtype=np.float64)
    if source is target:
        return points
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, transform)
    flat = [transform.TransformPoint(point.tolist()) for point in points.reshape(-1, 3)]
    return np.array(flat).reshape(points.shape)


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
