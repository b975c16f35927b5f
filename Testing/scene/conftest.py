"""Slicer's scene without Slicer's window: what the application would set up, on the real MRML of slicer-core.

Without slicer-core these tests are skipped, and the summary says so in capitals.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Iterator

import numpy as np
import pytest

EXTENSION = Path(__file__).resolve().parents[2] / "DiffSegExtension"
sys.path.insert(0, str(EXTENSION))

LOGICS = {  # Segmentations first: it registers the converters
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
}

try:
    import slicer
    import vtk
except ImportError:
    slicer = vtk = None
    collect_ignore_glob = ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if slicer is None:
        terminalreporter.section("SLICER-CORE NOT FOUND", sep="!", red=True, bold=True)
        terminalreporter.line("No test of Testing/scene ran. Install it with: pip install 'diffseg[slicer-dev]'")


@pytest.fixture(autouse=True)
def noNetwork(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this computer may be talked to: the worker is on it."""
    import socket

    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        assert not isinstance(address, tuple) or address[0] in ("127.0.0.1", "::1"), f"a test called {address}"
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty scene with the logics that nodes rely on; slicer.mrmlScene, slicer.app and slicer.modules lead to it."""
    scene = slicer.vtkMRMLScene()
    app = slicer.vtkSlicerApplicationLogic()
    app.SetMRMLScene(scene)
    app.SetModuleLogic("Colors", app.GetColorLogic())
    logics = {name: _logic(name, scene, app) for name in LOGICS}
    _giveRemoteIo(scene, app)
    modules = SimpleNamespace(**{name.lower(): SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()})
    monkeypatch.setattr(slicer, "mrmlScene", scene, raising=False)
    monkeypatch.setattr(slicer, "app", SimpleNamespace(applicationLogic=lambda: app), raising=False)
    monkeypatch.setattr(slicer, "modules", modules, raising=False)
    yield scene
    scene.Clear(1)


def _logic(name: str, scene: Any, app: Any) -> Any:
    logic = getattr(slicer, LOGICS[name])()
    logic.SetMRMLApplicationLogic(app)
    logic.SetMRMLScene(scene)
    app.SetModuleLogic(name, logic)
    return logic


def _giveRemoteIo(scene: Any, app: Any) -> None:
    """Reading .mrb asks for a cache and a data manager; kept alive by the scene's attribute of this test."""
    remote, data = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
    remote.SetMRMLScene(scene)
    remote.AddDataIOToScene()
    data.SetMRMLApplicationLogic(app)
    data.SetAndObserveDataIOManager(remote.GetDataIOManager())
    scene.keptAlive = (app, remote, data)


@pytest.fixture
def addVolume(scene: Any) -> Any:
    """addVolume(array (K, J, I), ijkToRas 4x4) -> node."""
    from DiffSegLib.Images import orientedImage, toMatrix

    def add(array: np.ndarray, ijkToRas: np.ndarray, name: str = "CT", modality: str = "CT") -> Any:
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        image = orientedImage(array, np.eye(4))
        plain = vtk.vtkImageData()
        plain.DeepCopy(image)
        node.SetAndObserveImageData(plain)
        node.SetIJKToRASMatrix(toMatrix(ijkToRas))
        if modality:
            node.SetAttribute("DICOM.Modality", modality)
        return node

    return add


@pytest.fixture
def addTransform(scene: Any) -> Any:
    """addTransform(4x4) -> node."""
    from DiffSegLib.Images import toMatrix

    def add(matrix: np.ndarray) -> Any:
        node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
        node.SetMatrixTransformToParent(toMatrix(matrix))
        return node

    return add


@pytest.fixture
def bentTransform(scene: Any) -> Any:
    """A transform that is not linear: a thin-plate spline that moves one corner."""
    spline = vtk.vtkThinPlateSplineTransform()
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for corner in np.ndindex(2, 2, 2):
        place = 200.0 * np.array(corner) - 100
        source.InsertNextPoint(place)
        target.InsertNextPoint(place + (12.0 if corner == (1, 1, 1) else 0.0))
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Bent")
    node.SetAndObserveTransformToParent(spline)
    return node


@pytest.fixture
def addSegmentation(scene: Any) -> Any:
    """addSegmentation(volumeNode, ids (K, J, I), ijkToRas=None) -> node with one shared layer, segments "part 1", "part 2", ..."""
    from DiffSegLib.SceneBridge import Organ, importLabels, prepare

    def add(volumeNode: Any, ids: np.ndarray) -> Any:
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Drawn")
        prepare(node, volumeNode)
        organs = [Organ(int(id), f"part_{id}", f"part {id}", (10 * int(id) % 256, 200, 90)) for id in np.unique(ids) if id]
        importLabels(node, volumeNode, ids, organs)
        return node

    return add


def voxelsOf(segmentationNode: Any, segmentId: str, shape: tuple[int, int, int], margin: int = 0) -> np.ndarray:
    """A segment's voxels as Slicer holds them, (K, J, I) bool of a lattice that begins at 0, with a margin on all sides, read without the code
    under test."""
    from vtk.util.numpy_support import vtk_to_numpy

    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    image = segment.GetRepresentation("Binary labelmap")
    out = np.zeros([n + 2 * margin for n in shape], dtype=bool)
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    if i1 >= i0:
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
        inner = out[k0 + margin:k1 + margin + 1, j0 + margin:j1 + margin + 1, i0 + margin:i1 + margin + 1]
        inner[:] = values == segment.GetLabelValue()
    return out
