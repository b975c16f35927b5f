"""A session in the saved scene: the worker's own session file, in a script node beside the segmentation. Reopened, it goes on."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np

MODULE = "DiffSeg"
_VERSION = 1
_ABOUT, _FILE = "session", "file"
_ROLES = ("DiffSeg.Volume", "DiffSeg.Segmentation")


@dataclass(frozen=True, eq=False)
class Saved:
    """`file`: what the worker's "save" wrote; `pending`: how many of its last steps the scene doesn't have; `prompts`: without those."""

    localToSession: np.ndarray
    labelIds: Mapping[str, int]
    prompts: tuple[dict[str, Any], ...]
    pending: int
    file: bytes


def find(scene: Any, volumeNode: Any, segmentationNode: Any) -> Any:
    """The script node of these two, or None."""
    nodes = scene.GetNodesByClass("vtkMRMLScriptedModuleNode")
    nodes.UnRegister(None)  # else the list, and the nodes in it, would never be freed
    for node in (nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())):
        if node.GetModuleName() == MODULE and [node.GetNodeReference(role) for role in _ROLES] == [volumeNode, segmentationNode]:
            return node
    return None


def save(scene: Any, volumeNode: Any, segmentationNode: Any, saved: Saved) -> None:
    node = find(scene, volumeNode, segmentationNode) or _made(scene, volumeNode, segmentationNode)
    node.SetParameter(_ABOUT, json.dumps({"version": _VERSION, "localToSession": saved.localToSession.tolist(), "labelIds": dict(saved.labelIds),
                                          "prompts": list(saved.prompts), "pending": saved.pending}))
    node.SetParameter(_FILE, base64.b64encode(saved.file).decode())


def load(node: Any) -> Saved | None:
    """What `save` wrote; None where there is nothing, or something that this version does not understand."""
    try:
        values = json.loads(node.GetParameter(_ABOUT)) if node is not None else {}
        if values.get("version") != _VERSION:
            return None
        file = base64.b64decode(node.GetParameter(_FILE), validate=True)
        return Saved(np.array(values["localToSession"], dtype=np.float64).reshape(4, 4), dict(values["labelIds"]), tuple(values["prompts"]),
                     int(values["pending"]), file)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error):
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
