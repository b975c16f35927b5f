"""What the running application gives modules: `slicer.app`, slice views, the module base classes, translation. Unknown names raise."""

from __future__ import annotations

import os
import sys
import types
from types import SimpleNamespace
from typing import Any, Callable

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from . import ctk_widgets, mrml_widgets
from .loader import Loader
from .pythonqt import HOMES, Class, Instance, Module, wrap


class Settings:
    """qt.QSettings, kept in memory: a test leaves nothing in the user's."""

    values: dict[str, Any] = {}

    def value(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def setValue(self, key: str, value: Any) -> None:
        self.values[key] = value


class CtkPathLineEdit(Class):
    """Its filters are flags of the class."""

    Dirs, Files, Readable, Writable, Executable = 0x001, 0x002, 0x010, 0x020, 0x040


class App:
    """slicer.app: what the application logic of the test's scene knows, and what a window adds."""

    applicationVersion, majorVersion, minorVersion = "5.12.0", 5, 12

    def __init__(self, before: Any, views: Any, window: QtWidgets.QMainWindow) -> None:
        self._before, self._views, self._window = before, views, window
        self.copied = ""
        self.connections: list[tuple[str, Callable[..., Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._before, name)  # raises for what neither has

    def connect(self, signal: str, slot: Callable[..., Any]) -> bool:
        if signal not in ("startupCompleted()", "focusChanged(QWidget*,QWidget*)"):
            raise ValueError(f"the application has no signal {signal}")
        self.connections.append((signal, slot))
        return True

    def disconnect(self, signal: str, slot: Callable[..., Any]) -> bool:
        self.connections.remove((signal, slot))
        return True

    def emit(self, signal: str, *values: Any) -> None:
        for name, slot in list(self.connections):
            if name == signal:
                slot(*values)

    def layoutManager(self) -> Any:
        return self._views

    def focusWidget(self) -> Any:
        return wrap(QtWidgets.QApplication.focusWidget())

    def topLevelWidgets(self) -> list[Any]:
        return [wrap(self._window)]

    def clipboard(self) -> Any:
        return SimpleNamespace(setText=lambda text: setattr(self, "copied", text))

    def startupEnvironment(self) -> Any:
        return SimpleNamespace(keys=lambda: os.environ.keys(), value=os.environ.__getitem__)

    def processEvents(self) -> None:
        QtWidgets.QApplication.processEvents()

    def moduleManager(self) -> Any:
        return SimpleNamespace(connect=lambda signal, slot: True, disconnect=lambda signal, slot: True)

    def testingEnabled(self) -> bool:
        return True


class Views:
    """The layout manager with three slice views: real slice nodes, real interactors, no pixels."""

    def __init__(self, scene: Any) -> None:
        self._scene, self._widgets = scene, {name: _sliceWidget(scene, name) for name in ("Red", "Yellow", "Green")}
        self.slots: list[Callable[[int], Any]] = []

    def connect(self, signal: str, slot: Callable[[int], Any]) -> bool:
        if signal != "layoutChanged(int)":
            raise ValueError(f"the layout manager has no signal {signal}")
        self.slots.append(slot)
        return True

    def disconnect(self, signal: str, slot: Callable[[int], Any]) -> bool:
        self.slots.remove(slot)
        return True

    def addView(self, name: str) -> None:
        """As choosing a layout with one view more."""
        self._widgets[name] = _sliceWidget(self._scene, name)
        for slot in self.slots:
            slot(0)

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._widgets)

    def sliceWidget(self, name: str) -> Any:
        return self._widgets[name]


def _sliceWidget(scene: Any, name: str) -> Any:
    node = slicer.vtkMRMLSliceNode()
    node.SetName(name)
    node.SetLayoutName(name)
    node.SetDimensions(200, 200, 1)
    node.SetFieldOfView(200.0, 200.0, 1.0)
    scene.AddNode(node)
    renderers, interactor = vtk.vtkRendererCollection(), vtk.vtkGenericRenderWindowInteractor()
    renderers.AddItem(vtk.vtkRenderer())
    window = SimpleNamespace(GetRenderers=lambda: renderers)  # a real window would take a second of every test
    interactor.SetSize(200, 200)
    view = SimpleNamespace(interactor=lambda: interactor, renderWindow=lambda: window)
    return SimpleNamespace(sliceView=lambda: view, mrmlSliceNode=lambda: node)


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent, self.moduleName = parent, type(self).__name__


class ScriptedLoadableModuleWidget:
    """As Slicer's: the layout comes from the parent that the application made."""

    def __init__(self, parent: Any) -> None:
        self.parent, self.layout = parent, parent.layout()

    def setup(self) -> None:
        pass

    def cleanup(self) -> None:
        pass

    def resourcePath(self, name: str) -> str:
        return os.path.join(os.path.dirname(sys.modules[type(self).__module__].__file__), "Resources", name)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")


class ScriptedLoadableModuleTest:
    def delayDisplay(self, message: str, *_: Any) -> None:
        pass


def modules() -> dict[str, types.ModuleType]:
    """What `import qt`, `import ctk`, `slicer.i18n` and `slicer.ScriptedLoadableModule` find."""
    own = {"QUiLoader": Loader, "QSettings": Settings}
    base, words = types.ModuleType("slicer.ScriptedLoadableModule"), types.ModuleType("slicer.i18n")
    for kind in (ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest):
        setattr(base, kind.__name__, kind)
    words.tr, words.translate = lambda text: text, lambda context, text: text
    ctk = Module("ctk", {**ctk_widgets.WIDGETS, "ctkPathLineEdit": CtkPathLineEdit(ctk_widgets.ctkPathLineEdit)})
    return {"qt": Module("qt", own, HOMES), "ctk": ctk, "slicer.i18n": words, "slicer.ScriptedLoadableModule": base}


def parentWidget() -> Instance:
    """What the application hands a module's widget: a qMRMLWidget with a vertical layout."""
    widget = mrml_widgets.qMRMLWidget()
    widget.setLayout(QtWidgets.QVBoxLayout())
    return wrap(widget)


def leftovers() -> int:
    """Timers that still run: what a closed window must not leave."""
    return sum(timer.isActive() for timer in QtWidgets.QApplication.instance().findChildren(QtCore.QTimer))
