"""Correcting a segment: tools, which side a click is on, the preview with its millilitres, undo, and the list of prompts."""

from __future__ import annotations

from typing import Any, Callable

import slicer
from slicer.i18n import tr as _

from . import Icons, Tables
from .ViewClicks import Stroke, ViewClicks, sliceViews

TOOLS = ("point", "scribble", "box", "lasso")
_NUMBER = 256  # Qt.UserRole


class CorrectPanel:
    """`onChanged` is called when segments may look different."""

    def __init__(self, ui: Any, logic: Any, work: Any, onChanged: Callable[[], None]) -> None:
        self.ui, self._logic, self._work, self._onChanged = ui, logic, work, onChanged
        self._segment = self._name = ""
        self._waiting: list[tuple[Stroke, str]] = []  # strokes with their segments, made before an earlier one was answered
        self._asking = False
        self._clicks = ViewClicks(self.onStroke)
        self._connections = [
            (ui.acceptButton, "clicked(bool)", self.accept), (ui.rejectButton, "clicked(bool)", self.reject),
            (ui.undoButton, "clicked(bool)", self.undo), (ui.redoButton, "clicked(bool)", self.redo),
            (ui.removePromptButton, "clicked(bool)", self.removePrompt), (ui.belongsButton, "toggled(bool)", self._onPolarity),
            (ui.lockBox, "toggled(bool)", self._onLock),
            (ui.fixButton, "contentsCollapsed(bool)", self._onFolded), (ui.promptList, "currentRowChanged(int)", self._onPrompt)]
        for tool in TOOLS:
            button = self._button(tool)
            button.setIcon(Icons.icon(tool))
            self._connections.append((button, "toggled(bool)", lambda on, tool=tool: self._onTool(tool, on)))
        for widget, signal, slot in self._connections:
            widget.connect(signal, slot)
        if slicer.app.layoutManager() is not None:
            slicer.app.layoutManager().connect("layoutChanged(int)", self._onLayout)
        ui.previewRow.visible = False

    def close(self) -> None:
        self._clicks.stop()
        if slicer.app.layoutManager() is not None:  # it goes with the main window, before Slicer unloads modules
            slicer.app.layoutManager().disconnect("layoutChanged(int)", self._onLayout)
        for widget, signal, slot in self._connections:
            widget.disconnect(signal, slot)

    def _button(self, tool: str) -> Any:
        return getattr(self.ui, tool + "Button")

    def select(self, segment: str, name: str) -> None:
        """The segment that prompts go to."""
        self._segment, self._name = segment, name
        self.refresh()

    def refresh(self) -> None:
        ui, free, pending = self.ui, not self._work.busy, self._logic.pending is not None
        if free:  # what was stopped or refused takes the strokes that came after it along
            self._waiting, self._asking = [], False
        ui.currentSegmentLabel.text = f"<b>{self._name}</b>" if self._segment else _("Select a segment above.")
        for tool in TOOLS:
            self._button(tool).enabled = bool(self._segment)
        self._showPreview()
        ui.acceptButton.enabled = ui.rejectButton.enabled = pending and free
        ui.undoButton.enabled, ui.redoButton.enabled = free and self._logic.canUndo, free and self._logic.canRedo
        self._listPrompts()

    def _onFolded(self, folded: bool) -> None:
        """Unfolding shows all that lies inside, so the preview's row is hidden again where there is none."""
        if not folded:
            self._showPreview()

    def _listPrompts(self) -> None:
        self.ui.promptList.clear()
        for prompt in self._logic.prompts():
            sign = "+" if prompt["inside"] else "\u2212"
            self.ui.promptList.addItem(f"{prompt['number']}  {sign} {prompt['kind']}  {prompt.get('name', '')}".rstrip())
            self.ui.promptList.item(self.ui.promptList.count - 1).setData(_NUMBER, prompt["number"])
        self.ui.removePromptButton.enabled = False

    # tools

    def choose(self, tool: str) -> None:
        """Take up a tool, or put it away if it is in use: what keys 1 to 4 do."""
        if self._button(tool).enabled:
            self._button(tool).checked = not self._button(tool).checked

    def putAway(self) -> None:
        for tool in TOOLS:
            self._button(tool).checked = False

    def _onTool(self, tool: str, on: bool) -> None:
        if not on:
            if self._clicks.tool == tool:
                self._clicks.stop()
            return
        for other in TOOLS:
            if other != tool:
                self._button(other).checked = False
        self._clicks.start(tool, sliceViews())

    def _onLayout(self, _layout: int) -> None:
        """Another layout may have views that were not there when the tool was taken up."""
        if self._clicks.tool:
            self._clicks.start(self._clicks.tool, sliceViews())

    def _onPolarity(self, belongs: bool) -> None:
        self._clicks.inside = belongs

    def togglePolarity(self) -> None:
        (self.ui.excludesButton if self.ui.belongsButton.checked else self.ui.belongsButton).checked = True

    def _onLock(self, locked: bool) -> None:
        self._logic.lockOthers = locked

    # prompts

    def onStroke(self, stroke: Stroke) -> None:
        """A stroke in a view becomes a prompt; its answer joins the preview, so several may be given before it is accepted."""
        if self._asking and self._work.busy:
            self._waiting.append((stroke, self._segment))
        else:
            self._ask(stroke, self._segment)

    def _ask(self, stroke: Stroke, segment: str) -> None:
        self._asking = True
        if not self._work.run(lambda *calls: self._logic.prompt(stroke, segment, *calls), self._onPreview, bar=False):
            self._asking = False

    def _onPreview(self, _preview: Any) -> None:
        self._asking = False
        if self._waiting:
            self._ask(*self._waiting.pop(0))
        self.refresh()

    def _showPreview(self) -> None:
        preview = self._logic.pending
        self.ui.previewRow.visible = preview is not None
        if preview is not None:
            self.ui.previewLabel.text = _("<b>{added}</b> added, <b>{removed}</b> removed").format(
                added=Tables.ml(preview.addedMl), removed=Tables.ml(preview.removedMl))

    def accept(self, _checked: bool = False) -> None:
        if self._logic.pending is not None:
            self._logic.accept()
            self._changed()

    def reject(self, _checked: bool = False) -> None:
        if self._logic.pending is not None:
            self._logic.reject()
            self._changed()

    def escape(self) -> None:
        """Esc drops the preview; without one, puts the tool away; and stops what is running."""
        if self._work.busy:
            self._work.cancel()
        elif self._logic.pending is not None:
            self.reject()
        else:
            self.putAway()

    def undo(self, _checked: bool = False) -> None:
        if self.ui.undoButton.enabled:
            self._logic.undo()
            self._changed()

    def redo(self, _checked: bool = False) -> None:
        if self.ui.redoButton.enabled:
            self._logic.redo()
            self._changed()

    def _onPrompt(self, row: int) -> None:
        self.ui.removePromptButton.enabled = row >= 0 and not self._work.busy

    def removePrompt(self, _checked: bool = False) -> None:
        item = self.ui.promptList.currentItem()
        if item is not None and self.ui.removePromptButton.enabled:
            number = item.data(_NUMBER)
            self._work.run(lambda *calls: self._logic.removePrompt(number, *calls), lambda _edit: self._changed(), bar=False)

    def _changed(self) -> None:
        self.refresh()
        self._onChanged()
