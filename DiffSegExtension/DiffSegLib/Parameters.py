"""What is chosen in the window, in a node of the scene, so that a saved scene opens with the same choices.

A plain script node: `parameterNodeWrapper` is not there where the scene runs without the application.
"""

from __future__ import annotations

from typing import Any, Mapping

MODULE = "DiffSeg"
DEFAULTS: Mapping[str, str] = {"model": "", "clickModel": "", "device": "auto", "lockOthers": "true", "tool": "point"}
_VOLUME, _SEGMENTATION, _REGION = "InputVolume", "Segmentation", "Region"


class Parameters:
    """Values of the scene's one parameter node, made when first asked for. A value that was never set is its default."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene

    @property
    def node(self) -> Any:
        return self._scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode") or self._made()

    @property
    def volume(self) -> Any:
        return self.node.GetNodeReference(_VOLUME)

    @volume.setter
    def volume(self, node: Any) -> None:
        self._refer(_VOLUME, node)

    @property
    def segmentation(self) -> Any:
        return self.node.GetNodeReference(_SEGMENTATION)

    @segmentation.setter
    def segmentation(self, node: Any) -> None:
        self._refer(_SEGMENTATION, node)

    @property
    def region(self) -> Any:
        """The ROI that limits changes, or None."""
        return self.node.GetNodeReference(_REGION)

    @region.setter
    def region(self, node: Any) -> None:
        self._refer(_REGION, node)

    @property
    def model(self) -> str:
        return self._get("model")

    @model.setter
    def model(self, name: str) -> None:
        self._set("model", name)

    @property
    def clickModel(self) -> str:
        return self._get("clickModel")

    @clickModel.setter
    def clickModel(self, name: str) -> None:
        self._set("clickModel", name)

    @property
    def device(self) -> str:
        return self._get("device")

    @device.setter
    def device(self, name: str) -> None:
        self._set("device", name)

    @property
    def tool(self) -> str:
        return self._get("tool")

    @tool.setter
    def tool(self, name: str) -> None:
        self._set("tool", name)

    @property
    def lockOthers(self) -> bool:
        return self._get("lockOthers") == "true"

    @lockOthers.setter
    def lockOthers(self, locked: bool) -> None:
        self._set("lockOthers", "true" if locked else "false")

    def _get(self, name: str) -> str:
        return self.node.GetParameter(name) or DEFAULTS[name]

    def _set(self, name: str, value: str) -> None:
        self.node.SetParameter(name, value)

    def _refer(self, role: str, node: Any) -> None:
        self.node.SetNodeReferenceID(role, node.GetID() if node is not None else None)

    def _made(self) -> Any:
        node = self._scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag(MODULE)
        node.SetModuleName(MODULE)
        node.SetName(MODULE)
        return self._scene.AddNode(node)
