"""Registers DiffSeg with 3D Slicer; what it does lies in DiffSegLib, and the segmentation itself in DiffSegCore."""

from __future__ import annotations

import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class DiffSeg(ScriptedLoadableModule):
    def __init__(self, parent) -> None:
        super().__init__(parent)
        parent.title = "DiffSeg"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Markups"]
        parent.contributors = ["The DiffSeg authors"]
        parent.helpText = _(
            "Segments organs in CT, lists the least certain first, and corrects any segment with a few clicks. "
            "Start with the sample volume <i>DiffSegSample</i> in the Sample Data module and follow the "
            "<a href=\"{tutorial}\">ten-minute guide</a>. Not for clinical use.").format(tutorial=tutorialAddress())
        parent.acknowledgementText = _("The bundled models were trained on head and neck CTs of OpenKBP, abdominal MR of CHAOS, and other public scans.")
        slicer.app.connect("startupCompleted()", registerSampleData)


class DiffSegWidget(ScriptedLoadableModuleWidget):
    """Hands everything to DiffSegLib.Widget, which is loaded when the module is first opened."""

    panel = None  # until `setup` has come to its end

    def setup(self) -> None:
        super().setup()
        from DiffSegLib.Widget import Widget

        self.panel = Widget(self.layout, self.resourcePath("UI/DiffSeg.ui"))

    def cleanup(self) -> None:
        if self.panel is not None:
            self.panel.close()
            self.panel = None

    def enter(self) -> None:
        if self.panel is not None:
            self.panel.enter()

    def exit(self) -> None:
        if self.panel is not None:
            self.panel.exit()

    def onReload(self) -> None:
        """Slicer's developer button reloads this file; what it is made of is loaded anew with it."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "DiffSegLib"]:
            del sys.modules[name]
        super().onReload()


class DiffSegLogic(ScriptedLoadableModuleLogic):
    """What other modules and scripts use: `DiffSegLogic().create()` is the logic behind the panel, without a window."""

    def create(self):
        from DiffSegLib.WorkerPython import newLogic

        return newLogic()


class DiffSegTest(ScriptedLoadableModuleTest):
    """The real path in the application: the sample, the worker, two clicks, undo, accept, save. Fails when any of it fails."""

    def runTest(self, **kwargs) -> None:
        from DiffSegLib.SelfTest import run

        self.setUp()
        run(self.delayDisplay)

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()


def tutorialAddress() -> str:
    """The guide in the checkout, where there is one; an installed extension says the README's place in the Extensions Manager."""
    guide = Path(__file__).resolve().parents[1] / "docs" / "ClinicianGuide.md"
    return guide.as_uri() if guide.is_file() else "https://extensions.slicer.org"


def registerSampleData() -> None:
    from DiffSegLib.SampleVolume import register

    register()
