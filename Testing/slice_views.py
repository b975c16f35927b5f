"""Slices of a scene with their segmentations, drawn offscreen by Slicer's own displayable managers: what its slice views show."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

MANAGERS = ("vtkMRMLSegmentationsDisplayableManager2D",)


class SliceView:
    """One view of a scene; `show` moves it, `pixels` draws it."""

    def __init__(self, scene: Any, application: Any, name: str, size: tuple[int, int]) -> None:
        self.node = scene.AddNode(_sliceNode(name, size))
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(application)
        self._logic.SetMRMLScene(scene)
        self._logic.SetSliceNode(self.node)
        self._window, self._renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
        self._window.SetOffScreenRendering(1)
        self._window.SetSize(*size)
        self._window.AddRenderer(self._renderer)
        self._mapper = self._image()
        interactor = vtk.vtkGenericRenderWindowInteractor()
        interactor.SetRenderWindow(self._window)
        self._managers = self._group(application)

    def _image(self) -> vtk.vtkImageMapper:
        mapper, actor = vtk.vtkImageMapper(), vtk.vtkActor2D()
        mapper.SetColorWindow(255)
        mapper.SetColorLevel(127.5)
        actor.SetMapper(mapper)
        self._renderer.AddViewProp(actor)
        return mapper

    def _group(self, application: Any) -> Any:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application)
        for name in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = factory.InstantiateDisplayableManagers(self._renderer)
        group.SetMRMLDisplayableNode(self.node)
        return group

    def show(self, volume: Any, orientation: str, ras: tuple[float, float, float], across_mm: float) -> None:
        self._logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        _turn(self.node, orientation)
        width, height = self._window.GetSize()
        self.node.SetFieldOfView(across_mm, across_mm * height / width, 1.0)
        self.node.JumpSliceByCentering(*ras)

    def pixels(self) -> np.ndarray:
        """(height, width, 3) uint8."""
        self._logic.UpdatePipeline()
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())  # there is none before a volume is shown
        return grabbed(self._window)


def grabbed(window: vtk.vtkRenderWindow) -> np.ndarray:
    """Draw a window; (height, width, 3) uint8."""
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.Update()
    width, height, _ = grab.GetOutput().GetDimensions()
    return vtk_to_numpy(grab.GetOutput().GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()


def _sliceNode(name: str, size: tuple[int, int]) -> Any:
    node = slicer.vtkMRMLSliceNode()
    node.SetName(name)
    node.SetLayoutName(name)
    node.SetDimensions(*size, 1)
    return node


def _turn(node: Any, orientation: str) -> None:
    """As Slicer's three standard views: the patient's right on the left, from the front, from the left."""
    columns = {"Axial": ((-1, 0, 0), (0, 1, 0), (0, 0, 1)), "Coronal": ((-1, 0, 0), (0, 0, 1), (0, 1, 0)),
               "Sagittal": ((0, -1, 0), (0, 0, 1), (-1, 0, 0))}[orientation]
    matrix = node.GetSliceToRAS()
    for column, way in enumerate(columns):
        for row in range(3):
            matrix.SetElement(row, column, way[row])
    node.UpdateMatrices()
