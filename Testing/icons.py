"""Draws the module's icons into DiffSegExtension/Resources/Icons: `QT_QPA_PLATFORM=offscreen python Testing/icons.py`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Callable

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QGuiApplication, QImage, QLinearGradient, QPainter, QPainterPath, QPen

FOLDER = Path(__file__).resolve().parents[1] / "DiffSegExtension" / "Resources" / "Icons"
LINE, ADD, FILL = QColor(70, 86, 108), QColor(46, 148, 82), QColor(46, 148, 82, 60)
UNIT = 64.0  # all drawings are in a square of this side


def pen(width: float, color: QColor = LINE, style: Qt.PenStyle = Qt.SolidLine) -> QPen:
    return QPen(color, width, style, Qt.RoundCap, Qt.RoundJoin)


def point(painter: QPainter) -> None:
    painter.setPen(pen(4))
    for angle in range(0, 360, 90):
        way = QPointF(math.cos(math.radians(angle)), math.sin(math.radians(angle)))
        painter.drawLine(QPointF(32, 32) + way * 15, QPointF(32, 32) + way * 26)
    painter.setPen(Qt.NoPen)
    painter.setBrush(ADD)
    painter.drawEllipse(QPointF(32, 32), 8, 8)


def scribble(painter: QPainter) -> None:
    path = QPainterPath(QPointF(8, 46))
    path.cubicTo(14, 8, 30, 6, 28, 30)
    path.cubicTo(26, 56, 40, 60, 42, 36)
    path.cubicTo(43, 20, 54, 18, 56, 22)
    painter.setPen(pen(7, ADD))
    painter.drawPath(path)


def box(painter: QPainter) -> None:
    painter.setPen(pen(4, LINE, Qt.DashLine))
    painter.setBrush(FILL)
    painter.drawRect(QRectF(10, 14, 44, 36))
    painter.setPen(Qt.NoPen)
    painter.setBrush(ADD)
    for corner in ((10, 14), (54, 50)):
        painter.drawEllipse(QPointF(*corner), 6, 6)


def lasso(painter: QPainter) -> None:
    path = QPainterPath(QPointF(14, 40))
    path.cubicTo(0, 6, 40, 2, 54, 18)
    path.cubicTo(64, 34, 44, 50, 28, 46)
    path.cubicTo(20, 44, 16, 42, 14, 40)
    painter.setPen(pen(4, LINE, Qt.DashLine))
    painter.setBrush(FILL)
    painter.drawPath(path)
    painter.setPen(pen(5, ADD))
    painter.drawLine(QPointF(24, 46), QPointF(18, 58))


def DiffSeg(painter: QPainter) -> None:
    """Noise on the left becomes a shape on the right."""
    shape = QPainterPath()
    shape.addEllipse(QRectF(8, 10, 48, 44))
    shade = QLinearGradient(8, 0, 56, 0)
    shade.setColorAt(0.25, QColor(46, 148, 82, 0))
    shade.setColorAt(0.75, QColor(46, 148, 82, 235))
    painter.setPen(Qt.NoPen)
    painter.fillPath(shape, shade)
    for number in range(46):  # dots by the golden angle: even, yet without rows
        radius, angle = 3.6 * math.sqrt(number), 2.39996 * number
        place = QPointF(30 + radius * math.cos(angle), 32 + 0.92 * radius * math.sin(angle))
        if place.x() < 40:
            painter.setBrush(QColor(70, 86, 108, round(255 * (1 - max(0.0, place.x() - 8) / 36))))
            painter.drawEllipse(place, 1.9, 1.9)
    painter.setPen(pen(3.5, QColor(24, 98, 52)))
    painter.drawArc(QRectF(8, 10, 48, 44), -100 * 16, 200 * 16)


def save(draw: Callable[[QPainter], None], side: int) -> None:
    image = QImage(side, side, QImage.Format_ARGB32)
    image.fill(Qt.transparent)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.Antialiasing)
    painter.scale(side / UNIT, side / UNIT)
    draw(painter)
    painter.end()
    image.save(str(FOLDER / f"{draw.__name__}.png"))


if __name__ == "__main__":
    application = QGuiApplication([])
    FOLDER.mkdir(parents=True, exist_ok=True)
    for draw in (point, scribble, box, lasso):
        save(draw, 64)
    save(DiffSeg, 128)
