"""A labelled abdomen of balls and tubes, without an image."""
from __future__ import annotations

import numpy as np

from DiffSegCore.geometry import Geometry
from DiffSegCore.volume import LabelMap, Volume

NAMES = {1: "liver", 2: "spleen", 3: "kidney_right", 4: "gallbladder", 5: "aorta", 6: "vertebrae_L1", 7: "lung_lower_lobe_right", 8: "stomach",
         9: "autochthon_left", 10: "humerus_left"}
BALLS = {  # centre and radii, mm in K, J, I, from the first voxel
    1: ((60, 90, 130), (40, 45, 40)), 2: ((70, 60, 40), (30, 22, 16)), 3: ((35, 50, 120), (24, 16, 14)), 4: ((38, 108, 112), (14, 12, 12)),
    5: ((60, 62, 84), (300, 9, 9)), 6: ((60, 38, 84), (300, 16, 16)), 7: ((112, 80, 130), (20, 40, 34)), 8: ((70, 105, 60), (26, 24, 22)),
    9: ((60, 18, 70), (300, 12, 16)), 10: ((60, 60, 176), (300, 8, 8))}


def a_label_map(*, without: tuple[int, ...] = ()) -> LabelMap:
    """Balls and tubes where organs are, 4 mm a voxel, stored as scanners store them: I to the left, J to the back."""
    kji = np.stack(np.meshgrid(*(np.arange(n) * 4. for n in (34, 36, 48)), indexing="ij"), -1)
    ids = np.zeros(kji.shape[:3], np.uint8)
    for value, (centre, radii) in BALLS.items():
        if value not in without:
            ids[(((kji - centre) / radii) ** 2).sum(-1) < 1] = value
    return LabelMap(ids[:, ::-1, ::-1].copy(), Geometry(ids.shape, np.diag([-4., -4., 4., 1.])), NAMES)


MR_NAMES = {1: "liver", 3: "kidney_right"}


def an_abdominal_mr() -> tuple[Volume, LabelMap]:
    """The same abdomen in fat-suppressed T2-weighted MR: dim muscle, liver less dim, bright kidneys and fluid, fat nearly black."""
    labels = a_label_map()
    kji = np.stack(np.meshgrid(*(np.arange(n) * 4. for n in labels.ids.shape), indexing="ij"), -1)
    body = ((kji[..., 1:] - (72, 96)) ** 2 / np.array((60, 82)) ** 2).sum(-1) < 1
    shine = np.array([20, 90, 110, 400, 500, 10, 80, 2, 60, 70, 0])  # by id; what has none is fat and muscle in stripes
    array = np.where(labels.ids > 0, shine[labels.ids], np.where(kji[..., 2] % 24 < 12, 10, 40)) * body
    array = array + 2 * np.random.default_rng(0).random(array.shape)
    ids = np.where(np.isin(labels.ids, list(MR_NAMES)) & body, labels.ids, 0).astype(np.uint8)
    return Volume(array.astype(np.float32), labels.geometry), LabelMap(ids, labels.geometry, MR_NAMES)
