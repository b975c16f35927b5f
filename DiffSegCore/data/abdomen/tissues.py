"""How bright each tissue is in CT, before contrast and in its phases: values of radiology textbooks, drawn anew for each person."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

import numpy as np

PHASES = {"plain": .22, "arterial": .2, "venous": .48, "late": .1}
_HU = {  # plain, arterial, venous, late, and how much people differ
    "liver": (56, 70, 108, 90, 9),
    "spleen": (48, 120, 122, 95, 9),
    "cortex": (33, 170, 185, 145, 18),
    "medulla": (30, 75, 160, 140, 15),
    "gallbladder": (11, 11, 12, 12, 7),
    "pancreas": (38, 98, 93, 72, 10),
    "adrenal_gland": (22, 65, 68, 50, 10),
    "aorta": (42, 300, 155, 105, 16),
    "inferior_vena_cava": (42, 85, 132, 105, 15),
    "portal_vein_and_splenic_vein": (42, 110, 165, 108, 16),
    "artery": (42, 290, 150, 105, 15),
    "vein": (42, 60, 115, 105, 15),
    "heart": (42, 200, 135, 100, 20),
    "esophagus": (36, 50, 60, 55, 7),
    "wall": (36, 62, 82, 68, 10),
    "muscle": (53, 58, 62, 61, 5),
    "prostate": (40, 58, 75, 70, 8),
    "soft": (42, 55, 65, 60, 8),
    "spinal_cord": (32, 34, 36, 36, 5),
    "cyst": (8, 8, 8, 8, 5),
    "cartilage": (95, 95, 97, 97, 20),
    "marrow": (185, 190, 195, 195, 50),
    "cortical": (520, 520, 520, 520, 120),
    "lung": (-850, -845, -840, -840, 35),
    "fat": (-105, -105, -103, -103, 6),
    "skin": (20, 25, 30, 30, 15),
}
VARIES_IN_ARTERIES = .22  # of the contrast in arteries and in what fills with them: the moment of the scan
BLOOD = ("aorta", "inferior_vena_cava", "portal_vein_and_splenic_vein", "artery", "vein", "heart")  # alike in all people before contrast
GROUPS = {  # beginning of a structure's name -> tissue; the first that fits
    "kidney_cyst": "cyst", "kidney": "cortex", "adrenal": "adrenal_gland", "rib": "bone", "vertebrae": "bone", "sacrum": "bone", "hip": "bone",
    "femur": "bone", "sternum": "bone", "costal": "cartilage", "lung_": "lung", "iliac_artery": "artery", "iliac_vena": "vein",
    "pulmonary_vein": "heart", "atrial": "heart", "superior_vena": "vein", "brachiocephalic_vein": "vein", "brachiocephalic_trunk": "artery",
    "subclavian": "artery", "common_carotid": "artery", "gluteus": "muscle", "autochthon": "muscle", "iliopsoas": "muscle", "trachea": "airway",
    "stomach": "hollow", "small_bowel": "hollow", "duodenum": "hollow", "colon": "hollow", "rectum": "hollow", "urinary_bladder": "bladder",
    "uterus": "prostate",
}


@dataclass(frozen=True)
class Tissues:
    """phase; hu: tissue -> this person's brightness."""

    phase: str
    hu: Mapping[str, float]

    @classmethod
    def draw(cls, random: np.random.Generator) -> Tissues:
        phase = str(random.choice(list(PHASES), p=list(PHASES.values())))
        column = list(PHASES).index(phase)
        strength = float(np.exp(random.normal(0, VARIES_IN_ARTERIES if phase == "arterial" else .1)))  # of what the contrast adds
        still = {name: .4 for name in BLOOD} if phase == "plain" else {}
        hu = {name: plain + strength * (row[column] - plain) + row[-1] * still.get(name, 1.) * float(random.normal())
              for name, (plain, *rest) in _HU.items() for row in [(plain, *rest)]}
        if random.random() < .2:
            hu["liver"] -= random.uniform(10, 45)  # fatty
        if random.random() < .25:
            hu["pancreas"] = max(5., hu["pancreas"] - random.uniform(10, 40))  # lobules parted by fat
        hu["marrow"] = max(hu["marrow"], 70.)
        hu["cortical"] = max(hu["cortical"], hu["marrow"] + 100)
        return cls(phase, hu)


def tissue_of(name: str) -> str:
    """The tissue that a structure is made of: a key of this file's table, or bone, hollow, bladder, airway."""
    if name in _HU:
        return name
    return next((tissue for start, tissue in GROUPS.items() if name.startswith(start)), "soft")
