"""The module's window without the application: a strict PySide6 stand-in for PythonQt, ctk and qMRML over slicer-core's real scene."""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
HERE = Path(__file__).resolve().parent
EXTENSION = HERE.parents[1] / "DiffSegExtension"

try:
    import PySide6  # noqa: F401
    import slicer
except ImportError:
    slicer = None
    collect_ignore_glob = ["test_*.py"]
else:
    sys.path[:0] = [str(HERE), str(EXTENSION)]
    _spec = importlib.util.spec_from_file_location("scene_conftest", HERE.parent / "scene" / "conftest.py")
    _scene = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_scene)
    scene, addVolume = _scene.scene, _scene.addVolume  # the same scene as in Testing/scene
    from standin import application, pythonqt  # noqa: E402


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if slicer is None:
        terminalreporter.section("SLICER-CORE OR PYSIDE6 NOT FOUND", sep="!", red=True, bold=True)
        terminalreporter.line("No test of Testing/widget ran. Install them with: pip install 'diffseg[slicer-dev]'")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but this computer may be talked to."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        assert not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1"), f"a test called {address}"
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(scope="session")
def qapp() -> Iterator[Any]:
    from PySide6 import QtWidgets

    app = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    app.setStyle("Fusion")
    yield app


@pytest.fixture
def mistakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """Exceptions in slots and observers, which Qt and VTK would only print; any of them fails the test."""
    found: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: found.append(error))
    yield found
    assert not found, found


@pytest.fixture
def window(qapp: Any, scene: Any, mistakes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Slicer with a main window and three slice views, as DiffSeg sees it: `slicer.app` and the modules qt and ctk."""
    from PySide6 import QtWidgets

    for name, module in application.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    application.Settings.values = {}
    frame = QtWidgets.QMainWindow()
    frame.setObjectName("qSlicerMainWindow")
    app = application.App(slicer.app, application.Views(scene), frame)
    monkeypatch.setattr(slicer, "app", app)
    monkeypatch.setattr(slicer, "util", importlib.import_module("slicer.util"), raising=False)
    monkeypatch.setenv("DIFFSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("DIFFSEG_PYTHON", raising=False)
    yield app
    for name in [name for name in sys.modules if name == "DiffSeg" or name.startswith("DiffSegLib")]:
        del sys.modules[name]  # they hold this test's qt
    pythonqt.forget()
    frame.deleteLater()


@pytest.fixture
def frame(window: Any) -> Any:
    """The parent that the application gives a module's widget."""
    return application.parentWidget()


@pytest.fixture
def spin(qapp: Any) -> Callable[..., None]:
    """spin(until) lets timers run until a condition holds, five seconds at most."""
    import time

    def run(until: Callable[[], bool], seconds: float = 5) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, "waited too long"
            qapp.processEvents()
            time.sleep(0.005)

    return run

