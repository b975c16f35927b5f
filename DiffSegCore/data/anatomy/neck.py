"""Muscles, vessels and glands of the neck."""

from __future__ import annotations

import numpy as np

from ..canvas import Part
from ..shapes import ellipsoid, joined, mirrored, tube, within
from .individual import Individual, soft


def muscles(who: Individual) -> list[Part]:
    """Each in a thin sheath of fat, over the fat that fills the gaps between them."""
    side = 58 * who.build
    sternomastoid = tube([(58, -72, 28), (side, -55, -30), (32, -30, -85), (16, -14, -122)], (8, 11, 10, 5), (0.7, 1.4, 1))
    trapezius = tube([(14, -116, 20), (30, -122, -50), (80, -134, -95), (145, -105, -92)], (7, 11, 15, 10), (1, 0.8, 0.8))
    deep = tube([(20, -102, 30), (24, -104, -40), (26, -122, -100), (24, -160, -280)], (16, 19, 18, 20), (1.15, 1, 1))
    scalene = tube([(30, -62, -5), (36, -68, -60), (58, -70, -112)], (8, 11, 9))
    longus = tube([(10, -38, 22), (12, -44, -40), (12, -62, -110)], (6, 7, 6), (1.2, 0.8, 1))
    bellies = [within(mirrored(muscle), who.skin, who.fat_mm) for muscle in (deep, trapezius, scalene, longus, sternomastoid)]
    sheath_hu = 0.5 * (who.fat_hu + who.muscle_hu)
    return [_gaps(who)] + [Part(belly, ((-1.2, sheath_hu), (0.0, who.near(who.muscle_hu, 4)))) for belly in bellies]


def _gaps(who: Individual) -> Part:
    behind = tube([(56, -98, -40), (66, -98, -92)], (12, 20), (0.8, 1.2, 1))
    beside_throat, cheek = ellipsoid((27, -26, 12), (6, 9, 22)), ellipsoid((46, 18, 16), (9, 10, 16))
    return soft(within(mirrored(joined(behind, beside_throat, cheek)), who.skin, who.fat_mm), 0.8 * who.fat_hu)


def vessels_and_glands(who: Individual) -> list[Part]:
    carotid = tube(who.moved([(24, -42, -118), (25, -40, -60), (29, -44, -20), (28, -48, 28)], 2), (4, 4, 3.5, 3))
    beside = who.moved([(32, -46, -112), (36, -48, -60), (38, -52, -10), (34, -56, 28)], 2)
    jugular = tube(beside, np.array((6, 6, 6, 4)) * who.factor(0.2))
    thyroid = ellipsoid((16, -30, -92), who.sized((8, 9, 20), 0.15))
    submandibular = ellipsoid(who.moved((36, -4, -32), 2), who.sized((10, 16, 13), 0.1))
    masseter = tube([(58, -2, 38), (54, 0, -14)], (8, 7), (0.8, 1.9, 1))
    medial_pterygoid = tube([(20, -10, 34), (38, -12, -6)], (8, 7), (0.9, 1.4, 1))
    tongue = joined(ellipsoid((0, 14, 0), (23, 27, 16)), ellipsoid((0, 4, -20), (20, 24, 14)), blend_mm=10)
    vessel_hu = 45 + who.contrast
    return [
        soft(mirrored(masseter), who.muscle_hu + 5),
        soft(mirrored(medial_pterygoid), who.muscle_hu),
        soft(tongue, who.near(50, 10)),
        soft(mirrored(submandibular), who.near(35, 15)),
        soft(mirrored(thyroid), who.near(100, 15) + 0.3 * who.contrast),
        soft(mirrored(carotid), vessel_hu),
        soft(mirrored(jugular), 0.8 * vessel_hu),
    ]
