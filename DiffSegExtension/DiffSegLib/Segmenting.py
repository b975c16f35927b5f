"""The automatic result: volume to the worker, organs into the scene, all or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping

import numpy as np

from DiffSegCore.errors import BadInput
from DiffSegCore.service import Failure

from . import SceneBridge
from .Organs import OrganList, organOf
from .Task import Asked, Chain
from .VolumeFrame import VolumeFrame

_SENDING = 0.1  # of the time goes into handing the volume over


@dataclass(frozen=True, eq=False)
class Segmented:
    """`ids` (K, J, I) as the worker has them; `labelIds` segment id -> label id of what was imported."""

    segmentationNode: Any
    frame: VolumeFrame
    ids: np.ndarray
    labelIds: Mapping[str, int]
    warnings: tuple[str, ...]
    volumeState: tuple[Any, ...]


def segmenting(ask: Callable[..., Any], scene: Any, volumeNode: Any, segmentationNode: Any, model: str | None, device: str) -> Chain:
    """A chain for Task; its result is Segmented. The scene is first touched when the answer is there.

    An earlier result in the same segmentation is replaced, but organs that were checked or corrected stay as they are.
    """
    frame = VolumeFrame.of(volumeNode)
    before = volumeState(volumeNode)
    yield Asked(sendVolume(ask, frame), 0.0, _SENDING)
    answer, arrays = yield Asked(ask("segment", {"model": model, "device": device, "refine": True}), _SENDING, 1.0)
    _checkStillThere(scene, volumeNode, segmentationNode, before)
    node = segmentationNode or _newSegmentation(scene, volumeNode)
    SceneBridge.prepare(node, volumeNode)
    theirs = [row.segmentId for row in OrganList().rows(node, {}) if row.checked or row.corrected]  # somebody's work, not ours to replace
    labelIds = SceneBridge.importLabels(node, volumeNode, arrays["labels"], [organOf(organ) for organ in answer["organs"]], theirs)
    chosen = () if model else (f"{answer['model']['title']}: chosen by what the image shows.",)
    return Segmented(node, frame, arrays["labels"], labelIds, (*chosen, *answer.get("warnings", ())), before)


def sendVolume(ask: Callable[..., Any], frame: VolumeFrame, ids: np.ndarray | None = None, names: Mapping[int, str] | None = None) -> Any:
    """The call that gives the worker a volume, and labels to begin with."""
    image, modality = SceneBridge.imageOf(frame.volumeNode)
    geometry = frame.geometry
    arguments = {"geometry": {"shape": list(geometry.shape), "ijk_to_ras": geometry.ijk_to_ras.tolist()}, "modality": modality,
                 "key": repr(volumeState(frame.volumeNode))}
    if ids is None:
        return ask("set_volume", arguments, {"image": image})
    return ask("set_volume", {**arguments, "names": {str(id): name for id, name in (names or {}).items()}}, {"image": image, "labels": ids})


def volumeState(volumeNode: Any) -> tuple[Any, ...]:
    """Equal before and after means the same voxels on the same grid; where a transform puts them does not count."""
    from .VolumeFrame import localGeometry

    image = volumeNode.GetImageData()
    grid = localGeometry(volumeNode)
    return volumeNode.GetID(), image.GetMTime(), grid.shape, grid.ijk_to_ras.tobytes()


def _newSegmentation(scene: Any, volumeNode: Any) -> Any:
    return scene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{volumeNode.GetName()} segmentation")


def _checkStillThere(scene: Any, volumeNode: Any, segmentationNode: Any, before: tuple[Any, ...]) -> None:
    for node in filter(None, (volumeNode, segmentationNode)):
        if not scene.IsNodePresent(node):
            raise Failure("Cancelled", "The volume or the segmentation was removed meanwhile; the result was dropped.")
    if volumeState(volumeNode) != before:
        raise BadInput("The volume was changed while it was being segmented, so the result was dropped; press Segment again.")
