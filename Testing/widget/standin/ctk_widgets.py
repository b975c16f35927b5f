"""The ctk widgets that DiffSeg's window uses, with the properties and signals that CTK documents, drawn about as CTK draws them."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A header that folds what lies in its layout away."""

    contentsCollapsed = Signal(bool)
    clicked = Signal(bool)
    SIGNALS = {"contentsCollapsed(bool)": "contentsCollapsed", "clicked(bool)": "clicked"}
    PUBLIC = ("click", "setText", "setCollapsed")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self.setContentsMargins(0, self._header(), 0, 0)

    def _header(self) -> int:
        return self.fontMetrics().height() + 9

    def _get_text(self) -> str:
        return self._text

    def setText(self, text: str) -> None:
        self._text = text
        self.update()

    def _get_collapsed(self) -> bool:
        return self._collapsed

    def setCollapsed(self, collapsed: bool) -> None:
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            if collapsed:
                child.setProperty("shownBefore", not child.isHidden())
            child.setVisible(not collapsed and child.property("shownBefore") is not False)
        self.setMaximumHeight(self._header() if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    def click(self) -> None:
        self.setCollapsed(not self._collapsed)
        self.clicked.emit(False)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        if event.position().y() < self._header():
            self.click()

    def sizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(100, self._header()) if self._collapsed else super().sizeHint()

    def minimumSizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(100, self._header()) if self._collapsed else super().minimumSizeHint()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter, header = QtGui.QPainter(self), self._header()
        area = QtCore.QRect(0, 1, self.width() - 1, header - 3)
        painter.setPen(self.palette().mid().color())
        if not self._collapsed:
            painter.drawRoundedRect(QtCore.QRect(0, header // 2, self.width() - 1, self.height() - header // 2 - 1), 3, 3)
        painter.setBrush(self.palette().button())
        painter.drawRoundedRect(area, 3, 3)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, area.center().y() - 4, 9, 9)
        kind = QtWidgets.QStyle.PE_IndicatorArrowRight if self._collapsed else QtWidgets.QStyle.PE_IndicatorArrowDown
        self.style().drawPrimitive(kind, arrow, painter, self)
        painter.setPen(self.palette().buttonText().color())
        painter.drawText(area.adjusted(21, 0, 0, 0), QtCore.Qt.AlignVCenter, self._text)

    text = Property(str, _get_text, setText)
    collapsed = Property(bool, _get_collapsed, setCollapsed)
    checked = Property(bool, lambda self: not self._collapsed, lambda self, value: self.setCollapsed(not value))


class ctkPathLineEdit(QtWidgets.QWidget):
    """A line for a path and a button that opens a dialog."""

    currentPathChanged = Signal(str)
    SIGNALS = {"currentPathChanged(QString)": "currentPathChanged"}
    PUBLIC = ("setCurrentPath", "addCurrentPathToHistory")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._line, button = QtWidgets.QLineEdit(), QtWidgets.QToolButton()
        button.setText("...")
        row.addWidget(self._line)
        row.addWidget(button)
        self._filters = ""
        self._line.textChanged.connect(self.currentPathChanged)

    def setCurrentPath(self, path: str) -> None:
        self._line.setText(path)

    def addCurrentPathToHistory(self) -> None:
        pass

    currentPath = Property(str, lambda self: self._line.text(), setCurrentPath)
    settingKey = Property(str, lambda self: "", lambda self, value: None)
    filters = Property(str, lambda self: self._filters, lambda self, value: setattr(self, "_filters", value))


WIDGETS = {kind.__name__: kind for kind in (ctkCollapsibleButton, ctkPathLineEdit)}
