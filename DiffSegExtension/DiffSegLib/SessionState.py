"""A session in the saved scene: prompts, and what each changed, in a script node beside the segmentation. Reopened, it goes on."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np

from DiffSegCore.geometry import Box

from .Edits import Patch

MODULE = "DiffSeg"
_VERSION = 1
_PARAMETER = "session"
_ROLES = ("DiffSeg.Volume", "DiffSeg.Segmentation")


@dataclass(frozen=True, eq=False)
class Saved:
    localToSession: np.ndarray
    labelIds: Mapping[str, int]
    patches: tuple[Patch, ...]
    prompts: tuple[dict[str, Any], ...]

    def fits(self, shape: tuple[int, int, int]) -> bool:
        """Whether all patches lie in a volume of this shape: it may be another one by now."""
        return all(patch.box == patch.box.clip(shape) for patch in self.patches)


def find(scene: Any, volumeNode: Any, segmentationNode: Any) -> Any:
    """The script node of these two, or None."""
    nodes = scene.GetNodesByClass("vtkMRMLScriptedModuleNode")
    for node in (nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())):
        if node.GetModuleName() == MODULE and [node.GetNodeReference(role) for role in _ROLES] == [volumeNode, segmentationNode]:
            return node
    return None


def save(scene: Any, volumeNode: Any, segmentationNode: Any, saved: Saved) -> Any:
    node = find(scene, volumeNode, segmentationNode) or _made(scene, volumeNode, segmentationNode)
    node.SetParameter(_PARAMETER, json.dumps({
        "version": _VERSION, "localToSession": saved.localToSession.tolist(), "labelIds": dict(saved.labelIds),
        "patches": [_plain(patch) for patch in saved.patches], "prompts": list(saved.prompts)}))
    return node


def load(node: Any) -> Saved | None:
    """What `save` wrote; None where there is nothing, or something that this version does not understand."""
    text = node.GetParameter(_PARAMETER) if node is not None else ""
    try:
        values = json.loads(text) if text else {}
        if values.get("version") != _VERSION:
            return None
        return Saved(np.array(values["localToSession"], dtype=np.float64), values["labelIds"],
                     tuple(_patch(patch) for patch in values["patches"]), tuple(values["prompts"]))
    except (KeyError, TypeError, ValueError, zlib.error):
        return None


def forget(scene: Any, volumeNode: Any, segmentationNode: Any) -> None:
    node = find(scene, volumeNode, segmentationNode)
    if node is not None:
        scene.RemoveNode(node)


def _made(scene: Any, volumeNode: Any, segmentationNode: Any) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "DiffSeg session")
    node.SetModuleName(MODULE)
    node.SetHideFromEditors(True)
    for role, other in zip(_ROLES, (volumeNode, segmentationNode)):
        node.SetNodeReferenceID(role, other.GetID())
    return node


def _plain(patch: Patch) -> dict[str, Any]:
    """Only what it was before: after is what the scene shows."""
    return {"start": list(patch.box.start), "stop": list(patch.box.stop), "dtype": patch.dtype, "before": base64.b64encode(patch.packedBefore).decode()}


def _patch(values: Mapping[str, Any]) -> Patch:
    box = Box(tuple(values["start"]), tuple(values["stop"]))
    patch = Patch(box, values["dtype"], base64.b64decode(values["before"]), b"")
    if patch.before.size != box.size:
        raise ValueError("a damaged patch")
    return patch
