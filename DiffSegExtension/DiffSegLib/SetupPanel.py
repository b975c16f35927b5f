"""What DiffSeg needs: found, missing or broken; installing it; the worker's Python; and the models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from . import Icons, ModelFiles, Requirements, Tables, WorkerPython

_LEVELS = {"found": "green", "missing": "red", "broken": "red", "unfit": "amber"}


class SetupPanel:
    """`onReady` is called when the worker's Python or the models may have changed."""

    def __init__(self, ui: Any, work: Any, onReady: Callable[[], None]) -> None:
        self.ui, self._work, self._onReady = ui, work, onReady
        self.requirements: tuple[Requirements.Requirement, ...] = ()
        self._models: list[ModelFiles.ModelFile] = []
        Tables.prepare(ui.requirementTable, 3)
        Tables.prepare(ui.modelTable, 0)
        ui.pythonEdit.filters, ui.bundleEdit.filters = ctk.ctkPathLineEdit.Files, ctk.ctkPathLineEdit.Dirs
        ui.pythonEdit.currentPath = WorkerPython.chosen()
        self._connections = [
            (ui.setupButton, "contentsCollapsed(bool)", self._onFolded), (ui.checkAgainButton, "clicked(bool)", self._onCheck),
            (ui.installButton, "clicked(bool)", self._onInstall), (ui.pythonEdit, "currentPathChanged(QString)", self._onPython),
            (ui.addModelButton, "clicked(bool)", self._onAddModel), (ui.deleteModelButton, "clicked(bool)", self._onDeleteModel),
            (ui.modelTable, "itemSelectionChanged()", self._onModel)]
        for widget, signal, slot in self._connections:
            widget.connect(signal, slot)

    def close(self) -> None:
        for widget, signal, slot in self._connections:
            widget.disconnect(signal, slot)

    @property
    def ready(self) -> bool:
        return bool(self.requirements) and not Requirements.lacking(self.requirements)

    def makeReady(self) -> bool:
        """Whether the worker has what it needs; looks again where it had not, and unfolds this section where it has not."""
        if not self.ready:
            self.check()
        return self.ready

    def check(self) -> None:
        """Look at what is there and show it; unfolds this section where something is missing. SetupError becomes the line at its top."""
        python = WorkerPython.chosen()
        try:
            self.requirements = Requirements.check(python, WorkerPython.command()[1] if python else None)
            missing = Requirements.lacking(self.requirements)
            text = self._summary(missing)
        except Requirements.SetupError as error:
            self.requirements, missing, text = (), (), str(error)
        self.ui.setupLabel.text = text
        self._showRequirements()
        self.ui.installButton.enabled = bool(missing) and not python
        if not self.ready:
            self.ui.setupButton.collapsed = False

    def _summary(self, missing: tuple[Requirements.Requirement, ...]) -> str:
        if not missing:
            return _("Everything is there.")
        return _("{count} of {all} requirements are not met; about {megabytes} MB are to be fetched, more for a graphics card.").format(
            count=len(missing), all=len(self.requirements), megabytes=sum(Requirements.ABOUT[each.name][0] for each in missing))

    def _showRequirements(self) -> None:
        Tables.fill(self.ui.requirementTable, [(each.name, _(each.state), each.version, each.toFetch) for each in self.requirements])
        for number, each in enumerate(self.requirements):
            self.ui.requirementTable.item(number, 1).setToolTip(each.detail)
            self.ui.requirementTable.item(number, 1).setIcon(qt.QIcon(Icons.dot(_LEVELS[each.state])))

    def showModels(self) -> None:
        self._models = ModelFiles.models()
        Tables.fill(self.ui.modelTable, [(each.title, each.modality, f"{each.megabytes:.1f} MB", each.sha256[:12]) for each in self._models],
                    right=(2,))
        for number, each in enumerate(self._models):
            self.ui.modelTable.item(number, 3).setToolTip(each.sha256)
        self._onModel()

    def _onFolded(self, folded: bool) -> None:
        if not folded and not self.requirements:
            self._onCheck()

    def _onCheck(self, _checked: bool = False) -> None:
        self.check()
        self.showModels()

    def _onPython(self, path: str) -> None:
        """Called for every letter that is typed; only a program, or none, is a choice."""
        if not path or Path(path).is_file():
            WorkerPython.choose(path)
            self.check()
            self._onReady()

    def _onInstall(self, _checked: bool) -> None:
        """On the main thread, from a click: Slicer's installer shows its own progress."""
        try:
            Requirements.install(Requirements.lacking(self.requirements), self.ui.bundleEdit.currentPath)
        except Requirements.SetupError as error:
            self._work.say("Setup", str(error))
        self.check()
        self._onReady()

    # models

    def _chosen(self) -> ModelFiles.ModelFile | None:
        row = self.ui.modelTable.currentRow()
        return self._models[row] if 0 <= row < len(self._models) else None

    def _onModel(self) -> None:
        chosen = self._chosen()
        self.ui.deleteModelButton.enabled = chosen is not None and not chosen.bundled

    def _onAddModel(self, _checked: bool) -> None:
        file = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Add a model"), "", _("Models (*.safetensors)"))
        self.addModel(file[0] if isinstance(file, (list, tuple)) else file)  # PySide answers with the filter beside it, PythonQt without

    def addModel(self, file: str) -> None:
        if file:
            self._try(lambda: ModelFiles.add(file))

    def _onDeleteModel(self, _checked: bool) -> None:
        chosen = self._chosen()
        if chosen is not None and slicer.util.confirmOkCancelDisplay(_("Delete the model {title}?").format(title=chosen.title)):
            self._try(lambda: ModelFiles.delete(chosen))

    def _try(self, change: Callable[[], Any]) -> None:
        try:
            change()
        except (OSError, ValueError) as error:
            self._work.say("BadInput", str(error))
        self.showModels()
        self._onReady()
