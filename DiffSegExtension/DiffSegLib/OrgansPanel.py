"""The segments with name, colour, volume and confidence, the least certain first; what is checked; where to look next."""

from __future__ import annotations

from typing import Any, Callable

import qt
import slicer
from slicer.i18n import tr as _

from . import Icons, Tables

_CHECK = 3  # the column of the tick
_ID = 256  # Qt.UserRole, an int in every Qt


class OrgansPanel:
    """`onSelect(segment id, name)`: another segment is selected; `segmentation` gives the chosen one, made where there is none."""

    def __init__(self, ui: Any, logic: Any, work: Any, onSelect: Callable[[str, str], None], segmentation: Callable[[], Any]) -> None:
        self.ui, self._logic, self._work, self._onSelect, self._segmentation = ui, logic, work, onSelect, segmentation
        Tables.prepare(ui.organTable, 0)
        ui.organTable.setIconSize(qt.QSize(32, 14))
        ui.organTable.connect("itemSelectionChanged()", self._onSelection)
        ui.organTable.connect("itemChanged(QTableWidgetItem*)", self._onItem)
        ui.addSegmentButton.connect("clicked(bool)", self._onAdd)
        ui.nextPlaceButton.connect("clicked(bool)", self.nextPlace)
        ui.uncertaintyBox.connect("toggled(bool)", self._onUncertainty)

    def close(self) -> None:
        self.ui.organTable.disconnect("itemSelectionChanged()", self._onSelection)
        self.ui.organTable.disconnect("itemChanged(QTableWidgetItem*)", self._onItem)
        self.ui.addSegmentButton.disconnect("clicked(bool)", self._onAdd)
        self.ui.nextPlaceButton.disconnect("clicked(bool)", self.nextPlace)
        self.ui.uncertaintyBox.disconnect("toggled(bool)", self._onUncertainty)

    @property
    def current(self) -> str:
        """The selected segment's id, "" where none is."""
        item = self.ui.organTable.item(self.ui.organTable.currentRow(), 0)
        return item.data(_ID) if item is not None else ""

    def refresh(self) -> None:
        """Show the segments as they are now; keeps the selection."""
        table, chosen, rows = self.ui.organTable, self.current, self._logic.organs()
        Tables.fill(table, [
            (row.name, Tables.ml(row.ml), "" if row.range is None else Tables.numberRange(*row.range), "") for row in rows], right=(1, 2))
        before = table.blockSignals(True)
        for number, row in enumerate(rows):
            self._decorate(number, row)
        places = [number for number, row in enumerate(rows) if row.segmentId == chosen]
        table.setCurrentCell(places[0] if places else 0 if rows else -1, 0)
        table.blockSignals(before)
        self.ui.checkedLabel.text = _("{done} of {all} checked").format(done=sum(row.checked for row in rows), all=len(rows)) if rows else ""
        self.ui.nextPlaceButton.enabled = self.ui.uncertaintyBox.enabled = bool(rows) and not self._work.busy
        self._onSelection()

    def _decorate(self, number: int, row: Any) -> None:
        name, tick = self.ui.organTable.item(number, 0), self.ui.organTable.item(number, _CHECK)
        level = Icons.confidenceLevel(row.confidence)
        name.setIcon(Icons.segmentDot(row.color, level))
        name.setData(_ID, row.segmentId)
        if row.range is not None:
            Tables.showRange(self.ui.organTable, number, 2, row.rangeRate)
        name.setToolTip(_("The model expects a Dice of {percent} % with a careful contour.").format(percent=round(100 * row.confidence)) if row.confidence is not None
                        else _("Not from the model, so its confidence is not known."))
        tick.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
        tick.setCheckState(qt.Qt.Checked if row.checked else qt.Qt.Unchecked)

    def _onSelection(self) -> None:
        item = self.ui.organTable.item(self.ui.organTable.currentRow(), 0)
        self._onSelect(item.data(_ID) if item is not None else "", item.text() if item is not None else "")

    def _onItem(self, item: Any) -> None:
        if item.column() == _CHECK:
            segment = self.ui.organTable.item(item.row(), 0).data(_ID)
            self._logic.setChecked(segment, item.checkState() == qt.Qt.Checked)
            self.refresh()

    def _onAdd(self, _checked: bool) -> None:
        self._segmentation()
        segment = self._logic.addSegment("")
        self.refresh()
        self._select(segment)

    def nextPlace(self, _checked: bool = False) -> None:
        """Ask for the least certain place and move all views there."""
        if self.ui.nextPlaceButton.enabled:
            self._work.run(self._logic.nextPlace, self._onPlace, bar=False)

    def _onPlace(self, place: Any) -> None:
        if place is None:
            self.ui.placeLabel.text = _("No place is left where the model's samples disagree.")
            return
        slicer.modules.markups.logic().JumpSlicesToLocation(*place.ras, True)
        self._select(place.segmentId)
        self.ui.placeLabel.text = place.reason

    def _select(self, segment: str) -> None:
        table = self.ui.organTable
        for number in range(table.rowCount):
            if table.item(number, 0).data(_ID) == segment:
                table.setCurrentCell(number, 0)

    def _onUncertainty(self, shown: bool) -> None:
        if not shown:
            self._logic.hideUncertainty()
        elif not self.current or not self._work.run(
                lambda *calls: self._logic.showUncertainty(self.current, *calls), lambda _volume: None, onFail=self._untick):
            self._untick()

    def _untick(self) -> None:
        self.ui.uncertaintyBox.checked = False
