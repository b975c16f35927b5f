"""Skull, brain and face."""

from __future__ import annotations

import numpy as np

from ..canvas import Part
from ..shapes import above, ellipsoid, joined, mirrored, slab, tube
from .individual import AIR, Individual
from .labels import BRAINSTEM


def skull(who: Individual) -> list[Part]:
    centre, radii = who.moved_along((0, -50, 76), 2), who.sized((73, 93, 75), 0.03)
    vault = above(ellipsoid(centre, radii), (0, -95, 22), (0, -0.42, 1))
    hindbrain = ellipsoid((0, -98, 45), (50, 36, 27))
    temporal = mirrored(ellipsoid((38, -16, 64), (25, 30, 16)))
    temporal_bone = mirrored(ellipsoid((38, -16, 63.5), (28.5, 33.5, 19.5)))
    brain = above(ellipsoid(centre, radii - (6.5, 6.5, 6)), (0, -95, 30), (0, -0.42, 1))
    petrous = tube([(60, -62, 42), (22, -42, 52)], (12, 6), (1, 1, 0.8))
    mastoid = ellipsoid((58, -74, 32), (11, 13, 19))
    wing = tube([(58, -2, 70), (18, -18, 72)], (5, 5), (1, 1, 0.8))
    clivus = tube([(0, -24, 58), (0, -44, 26)], (8, 6), (1.8, 1, 1))
    dense = who.near(0.95, 0.05)
    brain_hu = who.near(34, 4)
    return [
        Part(joined(vault, ellipsoid((0, -98, 44), (54.5, 40.5, 31)), temporal_bone, blend_mm=6), who.bone(dense, 2.0, 0.5)),
        Part(joined(brain, hindbrain, temporal, blend_mm=6), ((0.0, brain_hu),)),
        Part(mirrored(joined(petrous, mastoid, wing, blend_mm=4)), who.bone(dense, 3.0, 0.7)),
        Part(mirrored(ellipsoid((58, -76, 32), (6, 8, 13))), ((0.0, who.near(-150, 150)),)),      # mastoid cells
        Part(clivus, who.bone(0.7, 2.5, 0.4)),
        Part(mirrored(tube([(5, -95, 92), (15, -45, 95), (11, -18, 92)], (4, 6, 3))), ((0.0, 8.0),)),   # ventricles
        Part(joined(ellipsoid((0, -35, 66), (20, 13, 12)), ellipsoid((0, -54, 34), (13, 13, 12)), blend_mm=8), ((0.0, 10.0),)),
    ] + _brainstem(who, brain_hu)


def _brainstem(who: Individual, brain_hu: float) -> list[Part]:
    """Medulla, pons bulging forwards, and the midbrain's two peduncles."""
    wide = who.factor(0.06)
    stem = joined(
        tube([(0, -67, 21), (0, -65, 40)], (7.5 * wide, 10 * wide), (1.15, 1, 1)),
        ellipsoid((0, -58, 53), np.array((17.5, 14, 15)) * wide),
        tube([(5, -62, 62), (7, -56, 80)], (11 * wide, 9 * wide)),
        tube([(-5, -62, 62), (-7, -56, 80)], (11 * wide, 9 * wide)),
        blend_mm=8,
    )
    whole = above(above(stem, (0, 0, 24), (0, 0, 1)), (0, -60, who.near(78, 4)), (0, -0.2, -1))
    ventricle = ellipsoid((0, -79, 52), (8, 5, 12))
    return [Part(ventricle, ((0.0, 10.0),)), Part(whole, ((0.0, brain_hu - who.near(4, 2)),), BRAINSTEM)]


def face(who: Individual) -> list[Part]:
    upper_jaw = tube([(0, 44, 24), (19, 33, 24), (27, 8, 26), (25, -6, 30)], (7, 7, 7, 5), (0.8, 0.8, 1.5))
    teeth = tube([(0, 44, 13), (17, 34, 13), (25, 12, 14)], (4, 4, 4.5), (1, 1, 1.4))
    cheekbone = tube([(30, 30, 48), (48, 20, 48), (64, -6, 52), (67, -30, 52)], (7, 7, 3.5, 3.5))
    pterygoid = tube([(14, -14, 52), (15, -16, 26)], (3, 3), (1, 2.5, 1))
    nose = tube([(0, 40, 66), (0, 62, 44)], (7, 11))
    sinus_hu = AIR if who.rng.random() < 0.75 else who.near(15, 10)
    return [
        Part(nose, ((0.0, 20.0),)),
        Part(mirrored(ellipsoid((80, -62, 46), (5, 14, 26))), ((0.0, -10.0),)),          # ear
        Part(mirrored(tube([(86, -52, 46), (50, -50, 47)], 3.5)), ((0.0, AIR),)),
        Part(ellipsoid((0, 8, 52), (44, 42, 34)), ((0.0, 20.0),)),
        Part(mirrored(ellipsoid((31, 16, 74), (21, 29, 19))), ((0.0, 0.6 * who.bone_hu), (2.5, who.fat_hu))),
        Part(mirrored(ellipsoid((32, 27, 73), (12.5, 12.5, 12.5))), ((0.0, 30.0), (1.5, 12.0))),      # eye
        Part(mirrored(tube([(31, 20, 73), (14, -12, 72)], 2.5)), ((0.0, 35.0),)),
        Part(mirrored(joined(upper_jaw, cheekbone, pterygoid, blend_mm=3)), who.bone(0.75, 2.5, 0.4)),
        Part(slab((-24, -4, 27), (24, 38, 30), 1.0), ((0.0, 0.4 * who.bone_hu),)),                          # palate
        Part(mirrored(teeth), ((0.0, who.near(1700, 200)),)),
        Part(mirrored(ellipsoid((27, 12, 45), who.sized((13, 17, 15)))), ((-2.0, 500.0), (0.0, sinus_hu))),
        Part(ellipsoid((0, 16, 52), (15, 40, 22)), ((-1.5, 300.0), (0.0, AIR))),                       # nasal cavity
        Part(ellipsoid((0, -14, 62), who.sized((13, 11, 10), 0.15)), ((-2.0, 600.0), (0.0, AIR))),
        Part(mirrored(ellipsoid((7, 16, 46), (4, 26, 10))), ((0.0, 30.0),)),                           # conchae
        Part(slab((-1.2, -6, 32), (1.2, 50, 72), 1.0), ((0.0, 150.0),)),                               # septum
        Part(mirrored(ellipsoid((10, 36, 96), who.sized((11, 4, 9), 0.3))), ((-2.0, 600.0), (0.0, AIR))),
    ]
