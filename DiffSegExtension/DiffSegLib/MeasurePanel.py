"""Volumes, means and diameters of the segments, and writing them to files."""

from __future__ import annotations

from typing import Any

import ctk
from slicer.i18n import tr as _

from . import Tables

_FORMATS = {"dicomsegBox": "dicomseg", "segNrrdBox": "seg.nrrd", "niftiBox": "nii.gz", "stlBox": "stl"}


class MeasurePanel:
    def __init__(self, ui: Any, logic: Any, work: Any) -> None:
        self.ui, self._logic, self._work = ui, logic, work
        Tables.prepare(ui.measureTable, 0)
        ui.folderEdit.filters = ctk.ctkPathLineEdit.Dirs
        ui.measureButton.connect("contentsCollapsed(bool)", self._onFolded)
        ui.exportButton.connect("clicked(bool)", self._onExport)

    def close(self) -> None:
        self.ui.measureButton.disconnect("contentsCollapsed(bool)", self._onFolded)
        self.ui.exportButton.disconnect("clicked(bool)", self._onExport)

    def refresh(self) -> None:
        """Measure again if the table is open: it reads all voxels, so a closed one costs nothing."""
        if self.ui.measureButton.collapsed:
            return
        rows = self._logic.measure()
        Tables.fill(self.ui.measureTable, map(_cells, rows), right=(1, 2, 3, 4, 5))
        for number, row in enumerate(rows):
            if row.range is not None:
                Tables.showRange(self.ui.measureTable, number, 2, row.rangeRate)
        self.ui.exportButton.enabled = self.ui.measureTable.rowCount > 0 and not self._work.busy

    def _onFolded(self, folded: bool) -> None:
        """Unfolding shows all that lies inside, the empty line too."""
        if not folded:
            self.ui.exportLabel.visible = bool(self.ui.exportLabel.text)
            self.refresh()

    def formats(self) -> tuple[str, ...]:
        return tuple(name for box, name in _FORMATS.items() if getattr(self.ui, box).checked)

    def _onExport(self, _checked: bool) -> None:
        folder = self.ui.folderEdit.currentPath
        if not folder:
            self._work.say("BadInput", _("Choose a folder to export into."))
        elif not self.formats():
            self._work.say("BadInput", _("Tick at least one format to export."))
        else:
            self.ui.folderEdit.addCurrentPathToHistory()
            self._work.run(lambda *calls: self._logic.export(folder, self.formats(), *calls), self._onExported)

    def _onExported(self, manifest: Any) -> None:
        self.ui.exportLabel.text = _("Written, with {manifest}.").format(manifest=manifest)
        self.ui.exportLabel.visible = True


def _cells(row: Any) -> tuple[str, ...]:
    """The table's heads say the units."""
    before = "" if row.automaticMl is None else Tables.number(row.automaticMl)
    low_high = "" if row.range is None else Tables.numberRange(*row.range)
    return (row.name, Tables.number(row.ml), low_high, before, *("" if each is None else str(round(each)) for each in (row.mean, row.diameterMm)))
