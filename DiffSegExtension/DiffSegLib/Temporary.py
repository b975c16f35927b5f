"""Nodes that are only there to be looked at: never saved, never listed, gone without a trace."""

from __future__ import annotations

from typing import Any


def addTemporary(scene: Any, className: str, name: str) -> Any:
    """A new node with its display nodes; neither is saved with the scene nor listed in selectors."""
    node = scene.CreateNodeByClass(className)
    node.UnRegister(None)
    node.SetName(name)
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(True)
    scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    for display in _displays(node):
        display.SetSaveWithScene(False)
    return node


def removeTemporary(scene: Any, node: Any) -> None:
    """The node and its display nodes; nothing where it is gone already."""
    if node is not None and scene.IsNodePresent(node):
        for each in (*_displays(node), node):
            scene.RemoveNode(each)


def _displays(node: Any) -> list[Any]:
    return [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes()) if node.GetNthDisplayNode(n) is not None]
