"""Numpy arrays as VTK's oriented images and back. An image's extent says where in its lattice the array lies."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from DiffSegCore.geometry import Box, Geometry


def orientedImage(array: np.ndarray, ijkToRas: np.ndarray, start: tuple[int, int, int] = (0, 0, 0)) -> slicer.vtkOrientedImageData:
    """A copy of a (K, J, I) array whose first voxel is `start` (K, J, I) of the lattice."""
    from vtk.util.numpy_support import numpy_to_vtk

    box = Box(start, tuple(a + n for a, n in zip(start, array.shape)))
    image = _lattice(box, ijkToRas)
    # VTK refuses bool; np.uint8 is what labels are.
    flat = np.ascontiguousarray(array.astype(np.uint8) if array.dtype == bool else array).ravel()
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    return image


def latticeImage(geometry: Geometry) -> slicer.vtkOrientedImageData:
    """The grid alone, without voxels: what resampling takes as its reference."""
    return _lattice(Box.whole(geometry.shape), geometry.ijk_to_ras)


def arrayOf(image: vtk.vtkImageData) -> np.ndarray:
    """(K, J, I), or (K, J, I, C): a view of the image's voxels, which keeps them alive."""
    from vtk.util.numpy_support import vtk_to_numpy

    scalars = image.GetPointData().GetScalars()
    shape = tuple(reversed(image.GetDimensions()))
    components = scalars.GetNumberOfComponents()
    return vtk_to_numpy(scalars).reshape(shape if components == 1 else (*shape, components))


def boxOf(image: vtk.vtkImageData) -> Box:
    """The image's extent in its lattice; empty where there are no voxels."""
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    start, stop = (k0, j0, i0), (k1 + 1, j1 + 1, i1 + 1)
    return Box(start, stop) if all(a < b for a, b in zip(start, stop)) else Box((0, 0, 0), (0, 0, 0))


def ijkToRasOf(image: slicer.vtkOrientedImageData) -> np.ndarray:
    """(4, 4) of the whole lattice, whatever the extent."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return toArray(matrix)


def geometryOf(image: slicer.vtkOrientedImageData) -> Geometry:
    """The grid of the voxels that are there. The image must not be empty."""
    box = boxOf(image)
    return Geometry(box.stop, ijkToRasOf(image)).crop(box)


def toArray(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def toMatrix(array: np.ndarray) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=np.float64).ravel().tolist())
    return matrix


def _lattice(box: Box, ijkToRas: np.ndarray) -> slicer.vtkOrientedImageData:
    image = slicer.vtkOrientedImageData()
    (k0, j0, i0), (k1, j1, i1) = box.start, box.stop
    image.SetExtent(i0, i1 - 1, j0, j1 - 1, k0, k1 - 1)
    image.SetImageToWorldMatrix(toMatrix(ijkToRas))
    return image
