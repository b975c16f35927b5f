"""Filling the window's tables."""

from __future__ import annotations

from typing import Any, Iterable, Sequence

import qt

from slicer.i18n import tr as _


def prepare(table: Any, stretched: int) -> None:
    """Columns as wide as their content, one of them as wide as is left; no row numbers."""
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(22)
    header = table.horizontalHeader()
    header.setMinimumSectionSize(24)
    header.setHighlightSections(False)
    for column in range(table.columnCount):
        header.setSectionResizeMode(column, qt.QHeaderView.Stretch if column == stretched else qt.QHeaderView.ResizeToContents)
    header.setDefaultAlignment(qt.Qt.AlignLeft | qt.Qt.AlignVCenter)


def fill(table: Any, rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Replace the rows; columns named in `right` hold numbers. Signals stay silent meanwhile."""
    rows = list(rows)
    before = table.blockSignals(True)
    table.setRowCount(len(rows))
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            item = qt.QTableWidgetItem(text)
            if column in right:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            table.setItem(number, column, item)
    table.blockSignals(before)


def number(ml: float) -> str:
    """Millilitres with as many digits as a reader needs, without the unit."""
    return f"{ml:.0f}" if ml >= 100 or ml == 0 else f"{ml:.1f}" if ml >= 1 else f"{ml:.2f}"


def numberRange(low: float, high: float) -> str:
    return f"{number(low)} \u2013 {number(high)}"


def showRange(table: Any, row: int, column: int, rate: float | None) -> None:
    """Pointing at a range tells what it is worth."""
    table.item(row, column).setToolTip(
        _("By the model's own chances alone: the true volume often lies outside.") if rate is None
        else _("In {percent} % of cases that the model had not seen, the true volume lay in such a range.").format(percent=round(100 * rate)))


def ml(value: float) -> str:
    return number(value) + " ml"
