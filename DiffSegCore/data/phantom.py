"""A head-and-neck CT that never was: random anatomy with known labels, on any grid.

The anatomy, its texture and its noise are functions of RAS millimetres drawn from the seed alone, so one seed gives
one patient on every grid: oblique, left-handed, coarse or fine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry import Geometry
from ..volume import LabelMap, Volume
from .anatomy import Individual, Middle, body
from .anatomy.labels import NAMES
from .canvas import Canvas, Part, Pose
from .shapes import slab
from .texture import Texture

SPACING_MM = (2.5, 3.9, 3.9)
_VIEWS = {  # (K, J, I) extents in mm, and the height of the middle, patient mm
    "head to chest": ((320, 500, 500), (-45, 25)),
    "head and neck": ((260, 300, 340), (-20, 20)),
    "neck": ((190, 260, 260), (-25, 15)),
}


def phantom(
    seed: int,
    *,
    geometry: Geometry | None = None,
    spacing_mm: Sequence[float] = SPACING_MM,
    shape: Sequence[int] | None = None,
    noise_hu: float | None = None,
    average: bool = False,
) -> tuple[Volume, LabelMap]:
    """Patient number `seed` on `geometry`: HU int16 (K, J, I) and ids uint8, named as in the organ table.

    Without a geometry the grid is a scanner's (LPS axes, `spacing_mm` in K, J, I); its field of view is drawn from the
    seed too, unless `shape` (K, J, I) is given. `noise_hu`: standard deviation at 1 mm; None draws it, 0 is none.
    `average`: the person in the middle of every range, lying straight, takes the place of number `seed` in the scanner.
    """
    person, scan = (np.random.default_rng((seed, part)) for part in (0, 1))
    pose = Pose(np.eye(3), np.zeros(3)) if average else _pose(scan)
    geometry = geometry or _scanner_grid(np.random.default_rng((seed, 2)), pose, spacing_mm, shape)
    canvas = Canvas(geometry, pose)
    for part in _table(scan) + body(Individual.draw(Middle() if average else person)):
        canvas.paint(part)
    _measure(canvas.image, geometry, scan, noise_hu)
    hu = np.clip(np.rint(canvas.image), -1024, 3071).astype(np.int16)
    return Volume(hu, geometry, "CT"), LabelMap(canvas.ids, geometry, dict(NAMES))


def _pose(rng: np.random.Generator) -> Pose:
    """Lying a little askew; the bend gives every person other proportions."""
    pitch, roll, yaw = np.radians(rng.normal(0, (4, 2, 3)))
    directions = rng.normal(size=(6, 3))
    lengths_mm = rng.uniform(110, 300, 6)
    vectors = directions / np.linalg.norm(directions, axis=1, keepdims=True) * (2 * np.pi / lengths_mm)[:, None]
    amplitude_mm = rng.uniform(0.005, 0.014, 6) * lengths_mm
    waves = np.column_stack([[0, 0, 1, 1, 2, 2], vectors, rng.uniform(0, 2 * np.pi, 6), amplitude_mm])
    rotation = _turn(1, 2, pitch) @ _turn(2, 0, roll) @ _turn(0, 1, yaw)
    return Pose(rotation, rng.normal(0, (12, 25, 25)), float(np.clip(rng.normal(1, 0.05), 0.85, 1.15)), waves)


def _turn(first: int, second: int, angle: float) -> np.ndarray:
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def _scanner_grid(rng: np.random.Generator, pose: Pose, spacing_mm: Sequence[float], shape: Sequence[int] | None) -> Geometry:
    extent_mm, (height, spread) = _VIEWS[str(rng.choice(list(_VIEWS), p=(0.5, 0.3, 0.2)))]
    if shape is None:
        shape = [max(1, round(extent * rng.uniform(0.92, 1.08) / step)) for extent, step in zip(extent_mm, spacing_mm)]
    middle = pose.to_ras(np.array([0, -60, np.clip(rng.normal(height, spread), height - 2 * spread, height + 2 * spread)]))
    k, j, i = spacing_mm
    ijk_to_ras = np.diag([-i, -j, k, 1.0])
    grid = Geometry(tuple(shape), ijk_to_ras)
    ijk_to_ras[:3, 3] = middle - grid.to_ras((np.array(grid.shape) - 1) / 2)
    return Geometry(grid.shape, ijk_to_ras)


def _table(rng: np.random.Generator) -> list[Part]:
    """A couch under the back: a thin shell round foam."""
    height = rng.uniform(-215, -196)
    couch = slab((-250, height - 30, -600), (250, height, 600), 8.0)
    return [Part(couch, ((0.0, -150.0), (2.5, -930.0)))] if rng.random() < 0.35 else []


def _measure(image: np.ndarray, geometry: Geometry, rng: np.random.Generator, noise_hu: float | None) -> None:
    """What the scanner adds to the body, in place: uneven tissue, a calibration error, noise."""
    drawn_hu = rng.uniform(6, 30)
    gain, offset = rng.normal(1, 0.015), rng.normal(0, 5)
    tissue, noise = Texture.draw(rng, 5.0), Texture.draw(rng, 1.5)
    noise_hu = drawn_hu if noise_hu is None else noise_hu
    body = np.nonzero(image > -999)
    dense = np.clip((image[body] + 1000) / 200, 0, 1)  # air has no texture
    ras = geometry.to_ras(np.stack(body, -1)).astype(np.float32)
    voxel_mm = float(np.cbrt(np.prod(geometry.spacing)))
    added = offset + 9 * tissue.at(ras, voxel_mm)
    if noise_hu:
        added += noise_hu * noise.at(ras, voxel_mm)
    image[body] += dense * ((gain - 1) * image[body] + added)
