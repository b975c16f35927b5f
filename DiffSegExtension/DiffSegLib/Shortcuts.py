"""Keys that work while the module is open and no text field has the focus."""

from __future__ import annotations

from typing import Callable, Mapping

import qt
import slicer

_TEXT = ("QLineEdit", "QTextEdit", "QPlainTextEdit", "QAbstractSpinBox", "ctkConsole")
_FOCUS = "focusChanged(QWidget*,QWidget*)"


class Shortcuts:
    """Keys -> actions. They live in the main window, so that they also work with the mouse over a view."""

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self._actions = actions
        self._shortcuts: list = []

    def start(self) -> None:
        window = slicer.util.mainWindow()
        if window is None or self._shortcuts:
            return
        for key, action in self._actions.items():
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            # Another module may hold the same key in the background; then Qt calls it ambiguous, and the open module wins.
            shortcut.connect("activated()", action)
            shortcut.connect("activatedAmbiguously()", action)
            self._shortcuts.append((shortcut, action))
        slicer.app.connect(_FOCUS, self._onFocus)
        self._onFocus(None, slicer.app.focusWidget())

    def stop(self) -> None:
        if not self._shortcuts:
            return
        slicer.app.disconnect(_FOCUS, self._onFocus)
        for shortcut, action in self._shortcuts:
            shortcut.disconnect("activated()", action)
            shortcut.disconnect("activatedAmbiguously()", action)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []

    def _onFocus(self, _old, new) -> None:
        """A text field keeps its keys, Enter and Ctrl+Z too, so the shortcuts rest meanwhile."""
        typing = new is not None and any(new.inherits(kind) for kind in _TEXT)
        for shortcut, _action in self._shortcuts:
            shortcut.enabled = not typing
