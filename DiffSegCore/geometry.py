"""Where voxels are. Arrays are (K, J, I), the world is RAS millimetres, boxes are half-open.

This is the only file that turns (K, J, I) into ijk, or the LPS of DICOM and ITK into RAS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Sequence

import numpy as np

from .errors import BadInput

_LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse
_KJI_IJK = np.eye(4)[[2, 1, 0, 3]]  # its own inverse
_STRAIGHT = 1e-5  # NIfTI's single precision leaves 1e-7; over 1000 voxels this is a hundredth of one
_SINGULAR = 1e-6  # |determinant| of the unit axes: three axes in one plane


@dataclass(frozen=True)
class Box:
    """A half-open block of voxels, `start` <= kji < `stop`, in (K, J, I)."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", _three_ints(self.start, "box start"))
        object.__setattr__(self, "stop", _three_ints(self.stop, "box stop"))

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        return cls((0, 0, 0), tuple(shape))

    @classmethod
    def of(cls, mask: np.ndarray) -> Box:
        """The tight box round the non-zero voxels of a (K, J, I) mask; empty if there are none."""
        mask = np.asarray(mask)
        plane = mask.any(axis=0)  # (J, I)
        hits = (mask.any(axis=(1, 2)), plane.any(axis=1), plane.any(axis=0))
        if not plane.any():
            return cls((0, 0, 0), (0, 0, 0))
        where = [np.flatnonzero(hit) for hit in hits]
        return cls(tuple(w[0] for w in where), tuple(w[-1] + 1 for w in where))

    @classmethod
    def around(cls, centre: Sequence[float], size: Sequence[int], shape: Sequence[int]) -> Box:
        """A box of `size` (or `shape`, where that is smaller) with `centre` as near its middle as fits."""
        size = [min(s, n) for s, n in zip(size, shape)]
        wanted = [math.floor(c + 0.5) - s // 2 for c, s in zip(centre, size)]
        start = [min(max(w, 0), n - s) for w, s, n in zip(wanted, size, shape)]
        return cls(tuple(start), tuple(a + s for a, s in zip(start, size)))

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(max(0, b - a) for a, b in zip(self.start, self.stop))

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def is_empty(self) -> bool:
        return self.size == 0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """`array[box.slices]`, or `array[(..., *box.slices)]` with channels in front."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop))

    def grow(self, n: int | Sequence[int]) -> Box:
        n = (n, n, n) if isinstance(n, int) else tuple(n)
        return Box(tuple(a - m for a, m in zip(self.start, n)), tuple(b + m for b, m in zip(self.stop, n)))

    def shift(self, by: Sequence[int]) -> Box:
        return Box(tuple(a + d for a, d in zip(self.start, by)), tuple(b + d for b, d in zip(self.stop, by)))

    def intersect(self, other: Box) -> Box:
        """What both share; empty (start == stop) along an axis where they miss each other."""
        start = tuple(max(a, b) for a, b in zip(self.start, other.start))
        stop = tuple(max(s, min(a, b)) for s, a, b in zip(start, self.stop, other.stop))
        return Box(start, stop)

    def clip(self, shape: Sequence[int]) -> Box:
        return self.intersect(Box.whole(shape))


@dataclass(frozen=True, eq=False)
class Geometry:
    """A voxel grid in the world: (K, J, I) shape and the 4x4 matrix from ijk to RAS millimetres.

    Any direction matrix will do: oblique, left-handed, axes in any order. Raises BadInput for an
    empty grid, a number that is not finite, a spacing of zero, or axes that lie in one plane.
    """

    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _three_ints(self.shape, "volume shape"))
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        matrix.flags.writeable = False
        object.__setattr__(self, "ijk_to_ras", matrix)
        _check(self.shape, matrix)

    @classmethod
    def from_itk(cls, image: Any) -> Geometry:
        """The grid of a three-dimensional SimpleITK image."""
        size, spacing, origin = image.GetSize(), image.GetSpacing(), image.GetOrigin()
        if len(size) != 3:
            raise BadInput(f"The image has {len(size)} dimensions; a volume has three.")
        lps = np.eye(4)
        lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * spacing
        lps[:3, 3] = origin
        return cls.from_lps(tuple(reversed(size)), lps)

    @classmethod
    def from_ijk(cls, size: Sequence[int], ijk_to_ras: np.ndarray) -> Geometry:
        """From NIfTI's words: `size` is (I, J, K)."""
        return cls(tuple(reversed(size)), ijk_to_ras)

    @classmethod
    def from_lps(cls, shape: Sequence[int], ijk_to_lps: np.ndarray) -> Geometry:
        """From the matrix that DICOM, ITK and NRRD speak; `shape` is (K, J, I)."""
        return cls(tuple(shape), _LPS_RAS @ ijk_to_lps)

    @property
    def size_ijk(self) -> tuple[int, int, int]:
        """Voxels along I, J, K: the order of ITK and VTK."""
        return self.shape[::-1]

    @property
    def ijk_to_lps(self) -> np.ndarray:
        return _LPS_RAS @ self.ijk_to_ras

    def stamp(self, image: Any) -> None:
        """Set spacing, origin and direction of a SimpleITK image of this shape."""
        if tuple(reversed(image.GetSize())) != self.shape:
            raise BadInput(f"An image of size {tuple(reversed(image.GetSize()))} (K, J, I) is not on a grid of {self.shape}.")
        lps = self.ijk_to_lps
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm, (K, J, I)."""
        return tuple(np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)[::-1].tolist())

    @property
    def origin(self) -> tuple[float, float, float]:
        """RAS mm of the centre of voxel (0, 0, 0)."""
        return tuple(self.ijk_to_ras[:3, 3].tolist())

    @property
    def direction(self) -> np.ndarray:
        """(3, 3): its columns are the unit i, j and k axes in RAS."""
        axes = self.ijk_to_ras[:3, :3]
        return axes / np.linalg.norm(axes, axis=0)

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """From voxel edge to voxel edge, (K, J, I)."""
        return tuple(n * s for n, s in zip(self.shape, self.spacing))

    @cached_property
    def _kji_to_ras(self) -> np.ndarray:
        return self.ijk_to_ras @ _KJI_IJK

    @cached_property
    def _ras_to_kji(self) -> np.ndarray:
        return np.linalg.inv(self._kji_to_ras)

    def to_ras(self, kji: Any) -> np.ndarray:
        """RAS mm of continuous indices, (..., 3) to (..., 3); whole numbers are voxel centres."""
        return _apply(self._kji_to_ras, kji)

    def to_index(self, ras: Any) -> np.ndarray:
        """Continuous kji of points in RAS mm, (..., 3) to (..., 3)."""
        return _apply(self._ras_to_kji, ras)

    def contains(self, kji: Any) -> bool:
        """Whether every given continuous index lies in a voxel of the grid."""
        kji = np.asarray(kji, dtype=np.float64)
        return bool(((kji >= -0.5) & (kji < np.array(self.shape) - 0.5)).all())

    def resampled(self, spacing_mm: float | Sequence[float]) -> Geometry:
        """The grid models work on: `spacing_mm` (K, J, I), I to the right, J to the front, K up.

        It covers the box in RAS round this grid's voxel edges and is centred on it.
        """
        spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), 3)
        last = np.array(self.shape) - 0.5
        corners = self.to_ras(np.stack(np.meshgrid(*zip((-0.5,) * 3, last), indexing="ij"), -1))
        low, high = corners.min(axis=(0, 1, 2)), corners.max(axis=(0, 1, 2))  # RAS
        step = spacing[::-1]  # I, J, K: the order of R, A, S
        count = np.maximum(1, np.ceil((high - low) / step - 1e-3)).astype(int)
        matrix = np.diag([*step, 1.0])
        matrix[:3, 3] = (low + high) / 2 - (count - 1) / 2 * step
        return Geometry(tuple(count[::-1]), matrix)

    def crop(self, box: Box) -> Geometry:
        """The grid of the voxels in `box`, which may reach outside this one."""
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = self.to_ras(box.start)
        return Geometry(box.shape, matrix)

    def padded(self, before: int | Sequence[int], after: int | Sequence[int]) -> Geometry:
        """With that many voxels more, (K, J, I), in front of and behind each axis."""
        before, after = (np.broadcast_to(np.asarray(n, dtype=int), 3) for n in (before, after))
        return self.crop(Box(tuple(-before), tuple(np.array(self.shape) + after)))

    def turned(self, order: Sequence[int], flipped: Sequence[int] = ()) -> Geometry:
        """The grid of `np.flip(array.transpose(order), flipped)`: the same voxels, other axes."""
        shape = [self.shape[axis] for axis in order]
        kji = np.eye(4)
        for row, axis in enumerate(order):
            sign = -1 if row in flipped else 1
            kji[:3, row] = sign * np.eye(3)[axis]
            kji[axis, 3] = shape[row] - 1 if sign < 0 else 0
        return Geometry(tuple(shape), self._kji_to_ras @ kji @ _KJI_IJK)

    def with_shape(self, shape: Sequence[int]) -> Geometry:
        """As many voxels (K, J, I) as that between the same outer edges."""
        scale = np.array(self.shape) / shape
        matrix = self.ijk_to_ras.copy()
        matrix[:3, :3] *= scale[::-1]
        matrix[:3, 3] = self.to_ras((scale - 1) / 2)
        return Geometry(tuple(shape), matrix)

    def straightened(self) -> Geometry:
        """This grid with axes at exact right angles, turned about its centre; itself if they are already.

        Headers round: a grid that moves by less than half a voxel is taken as meant to be straight.
        Raises BadInput where it moves further, as a gantry-tilted CT does.
        """
        direction = self.direction
        slant = direction.T @ direction - np.eye(3)
        if np.abs(slant).max() < _STRAIGHT:
            return self
        left, _, right = np.linalg.svd(direction)
        matrix = self.ijk_to_ras.copy()
        matrix[:3, :3] = left @ right * np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        centre = (np.array(self.shape) - 1) / 2
        matrix[:3, 3] += self.to_ras(centre) - Geometry(self.shape, matrix).to_ras(centre)
        straight = Geometry(self.shape, matrix)
        if not self.same_grid(straight, tolerance_mm=min(self.spacing) / 2):
            upright = 1 / np.linalg.norm(np.linalg.inv(direction), axis=1)  # cosine of each axis to the plane of the others
            raise BadInput(
                f"Its axes are {math.degrees(math.acos(upright.min())):.1f} degrees away from right angles (gantry tilt or shear); straighten it first, "
                "for example with 3D Slicer: load it, harden its acquisition transform and save it."
            )
        return straight

    def index_map(self, other: Geometry) -> np.ndarray:
        """(4, 4): takes homogeneous kji of this grid to kji of the other."""
        return other._ras_to_kji @ self._kji_to_ras

    def same_grid(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Whether shapes agree and no voxel centre lies further than `tolerance_mm` from its like."""
        if self.shape != other.shape:
            return False
        corners = np.stack(np.meshgrid(*((0, n - 1) for n in self.shape), indexing="ij"), -1)
        apart = np.linalg.norm(self.to_ras(corners) - other.to_ras(corners), axis=-1)
        return bool(apart.max() <= tolerance_mm)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return self.shape == other.shape and np.array_equal(self.ijk_to_ras, other.ijk_to_ras)

    def __hash__(self) -> int:
        return hash((self.shape, tuple(self.ijk_to_ras.ravel().tolist())))


def _apply(matrix: np.ndarray, points: Any) -> np.ndarray:
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def _three_ints(values: Sequence[int], what: str) -> tuple[int, int, int]:
    numbers = tuple(int(v) for v in values)
    if len(numbers) != 3 or any(n != v for n, v in zip(numbers, values)):
        raise BadInput(f"A {what} is three whole numbers (K, J, I), not {tuple(values)}.")
    return numbers


def _check(shape: tuple[int, int, int], matrix: np.ndarray) -> None:
    if min(shape) < 1:
        raise BadInput(f"A volume of {shape} voxels (K, J, I) is empty; each axis needs at least one.")
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise BadInput(f"The ijk-to-RAS matrix has to be 4x4, finite, with 0 0 0 1 below, not {matrix.tolist()}.")
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    if spacing.min() <= 1e-9:
        raise BadInput(f"The spacing {tuple(spacing[::-1].tolist())} mm (K, J, I) has a zero; correct it in the file's header.")
    if abs(np.linalg.det(matrix[:3, :3] / spacing)) < _SINGULAR:
        raise BadInput(
            f"The direction matrix {(matrix[:3, :3] / spacing).tolist()} (RAS) is singular: its axes lie in one plane; "
            "correct the file's header."
        )
