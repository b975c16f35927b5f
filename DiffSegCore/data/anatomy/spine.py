"""The column of vertebrae round the spinal canal, and the cord in it."""

from __future__ import annotations

import numpy as np

from ..canvas import Part
from ..shapes import above, ellipsoid, joined, mirrored, tube
from .individual import Individual, soft
from .labels import SPINAL_CORD


# superior, anterior of the spinal canal's middle
CANAL = ((-290, -165), (-230, -152), (-180, -129), (-130, -105), (-100, -90), (-75, -80), (-40, -74), (0, -71), (28, -67))


def column(who: Individual) -> list[Part]:
    z = np.array([level for level, _ in CANAL], float)
    canal = np.array([depth for _, depth in CANAL], float)
    size = np.interp(z, (-290, -100, 28), (1.5, 1.05, 0.9))
    column = [(0, y + 7 + 10 * s, level) for level, y, s in zip(z[:-1], canal[:-1], size[:-1])]
    bodies = tube(column, 10.5 * size[:-1], (1.25, 0.85, 1))
    parts = [Part(above(bodies, (0, 0, 14), (0, 0, -1)), who.bone(0.6, 2.0, 0.25))]
    level = 2.0
    while level > CANAL[0][0]:
        parts += _vertebra(who, level, float(np.interp(level, z, canal)), float(np.interp(level, z, size)))
        level -= float(np.interp(level, (-290, -120, 0), (24, 19, 16.5)))
    dens = tube([(0, -50, 0), (0, -47, 27)], (7, 5))
    atlas = tube([(0, -40, 20), (20, -50, 19), (30, -63, 18), (18, -78, 19), (0, -86, 20)], (4, 7, 7, 4.5, 4.5), (1, 1, 1.1))
    return parts + [Part(mirrored(atlas), who.bone(0.85, 2.5, 0.5)), Part(dens, who.bone(0.8, 2.0, 0.4))]


def _vertebra(who: Individual, level: float, canal: float, size: float) -> list[Part]:
    """The disc below, the arch round the canal, the processes."""
    disc_level = level - 8 * size
    front = canal + 7 + 10 * size
    disc = ellipsoid((0, front, disc_level), (13 * size, 9.5 * size, 2.8))
    back = canal - 12 * size
    arch = tube([(13 * size, front - 4, level), (13 * size, canal - 4, level - 2), (0, back, level - 5)], np.array((5, 4, 4)) * size)
    transverse = tube([(12 * size, front - 2, level - 2), (24 * size, front - 5, level - 3)], (4.5, 4))
    spinous = tube([(0, back, level - 5), (0, canal - 34 * size, level - 13)], (3.2, 4), (1, 1, 1.5))
    bone = joined(mirrored(joined(arch, transverse)), spinous, blend_mm=2)
    return [Part(disc, ((0.0, who.near(90, 15)),)), Part(bone, who.bone(who.near(0.75, 0.05), 2.5, 0.5))]


def cord(who: Individual) -> list[Part]:
    """Fluid and cord fill the canal up to the brainstem; contours take both."""
    path = [(0, y, level) for level, y in CANAL]
    wide = np.interp([level for level, _ in CANAL], (-290, -130, -60, 28), (6.4, 6.0, 6.7, 6.8)) * who.factor(0.05)
    sac = above(tube(path, wide, (1.15, 0.9, 1)), (0, 0, 24), (0, 0, -1))
    return [soft(sac, 18.0, SPINAL_CORD), soft(tube(path, 0.75 * wide, (1.2, 0.85, 1)), who.near(42, 5))]
