"""Organs as closed surfaces for printing and planning: one STL file each, in millimetres. The only file that knows VTK."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BadInput
from .files import atomic
from .geometry import Box, Geometry
from .progress import Progress, silent
from .volume import LabelMap

_SMOOTHINGS = 20
_PASS_BAND = 0.1  # removes the steps of voxels and keeps the volume
_HEADER = "DiffSeg SPACE=LPS"  # Slicer's word for the side that x grows to; other programs read none


def check_stl() -> None:
    """BadInput where VTK is missing."""
    try:
        import vtkmodules.vtkFiltersCore  # noqa: F401
    except ImportError as error:
        raise BadInput(f"STL files need the package vtk ({error}): pip install 'diffseg[export]'.") from error


def write_stl(labels: LabelMap, folder: Path, progress: Progress = silent) -> tuple[Path, ...]:
    """`<organ>.stl` in LPS mm for each label that has a voxel, in an existing folder. Raises BadInput as `check_stl` and `atomic` do."""
    check_stl()
    from vtkmodules.vtkIOGeometry import vtkSTLWriter

    written = []
    names = _file_names(labels)
    for number, (id, name) in enumerate(names.items()):
        progress(number / len(names), f"Surface of {name}")
        path = folder / f"{name}.stl"
        with atomic(path) as temporary:
            writer = vtkSTLWriter()
            writer.SetInputData(surface(labels.ids == id, labels.geometry))
            writer.SetFileName(str(temporary))
            writer.SetHeader(_HEADER)
            writer.SetFileTypeToBinary()
            writer.Write()
        written.append(path)
    return tuple(written)


def surface(mask: np.ndarray, geometry: Geometry) -> Any:
    """The closed smooth surface of a (K, J, I) mask as vtkPolyData in LPS mm, its triangles facing outwards."""
    from vtkmodules.vtkCommonTransforms import vtkTransform
    from vtkmodules.vtkFiltersCore import vtkReverseSense, vtkWindowedSincPolyDataFilter
    from vtkmodules.vtkFiltersGeneral import vtkDiscreteFlyingEdges3D, vtkTransformPolyDataFilter

    box = Box.of(mask)
    grid = geometry.crop(box.grow(1))  # a margin of background closes what touches the image's edge
    edges = vtkDiscreteFlyingEdges3D()
    edges.SetInputData(_image(np.pad(mask[box.slices], 1)))
    edges.GenerateValues(1, 1, 1)
    place = vtkTransform()
    place.SetMatrix(grid.ijk_to_lps.ravel().tolist())
    placed = vtkTransformPolyDataFilter()
    placed.SetInputConnection(edges.GetOutputPort())
    placed.SetTransform(place)
    last = smooth = vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(placed.GetOutputPort())
    smooth.SetNumberOfIterations(_SMOOTHINGS)
    smooth.SetPassBand(_PASS_BAND)
    smooth.BoundarySmoothingOff()
    smooth.FeatureEdgeSmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    if np.linalg.det(grid.ijk_to_lps[:3, :3]) < 0:
        last = vtkReverseSense()
        last.SetInputConnection(smooth.GetOutputPort())
    last.Update()
    return last.GetOutput()


def _image(mask: np.ndarray) -> Any:
    """In voxel coordinates: spacing 1, the first voxel at 0."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(*Geometry(mask.shape, np.eye(4)).size_ijk)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(mask, np.uint8).ravel(), deep=True))
    return image


def _file_names(labels: LabelMap) -> dict[int, str]:
    """Id -> a name that every file system takes, of the labels that have a voxel."""
    ids = [int(id) for id in np.flatnonzero(np.bincount(labels.ids.ravel())) if id]
    names = {id: re.sub(r"[^\w-]+", "_", labels.names.get(id, f"label_{id}")).strip("_") or f"label_{id}" for id in ids}
    often = Counter(name.casefold() for name in names.values())
    return {id: name if often[name.casefold()] == 1 else f"{name}_{id}" for id, name in names.items()}
