"""Small pictures made of colours: confidence dots, segment squares, traffic lights; and the tools' icons from files."""

from __future__ import annotations

from pathlib import Path

import qt

FOLDER = Path(__file__).resolve().parents[1] / "Resources" / "Icons"
LEVELS = {"green": (56, 158, 72), "amber": (232, 163, 23), "red": (205, 50, 47), "gray": (150, 150, 150)}


def dot(level: str, size: int = 14):
    """A filled circle, as a QPixmap."""
    return _drawn(size, LEVELS[level], True)


def segmentDot(color: tuple[float, float, float], level: str):
    """The segment's colour as a square, its confidence as a dot beside it, as a QIcon of 32 x 14."""
    pixmap = qt.QPixmap(32, 14)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter()
    painter.begin(pixmap)
    painter.drawPixmap(0, 0, dot(level))
    painter.drawPixmap(18, 0, _drawn(14, tuple(round(255 * part) for part in color), False))
    painter.end()
    icon = qt.QIcon(pixmap)
    icon.addPixmap(pixmap, qt.QIcon.Selected)  # a selected row must not tint the colours
    return icon


def confidenceLevel(confidence: float | None) -> str:
    """green, amber or red of the Dice that the model expects, 0 to 1; gray where it has not seen the segment."""
    if confidence is None:
        return "gray"
    return "green" if confidence >= 0.75 else "amber" if confidence >= 0.6 else "red"


def icon(name: str):
    return qt.QIcon(str(FOLDER / f"{name}.png"))


def _drawn(size: int, color: tuple[int, int, int], round_: bool):
    pixmap = qt.QPixmap(size, size)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter()
    painter.begin(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing, True)
    painter.setPen(qt.QPen(qt.QColor(*color).darker(125)))
    painter.setBrush(qt.QBrush(qt.QColor(*color)))
    if round_:
        painter.drawEllipse(1, 1, size - 3, size - 3)
    else:
        painter.drawRect(1, 1, size - 3, size - 3)
    painter.end()
    return pixmap
