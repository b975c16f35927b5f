"""How well body coordinates lay patients over each other: along the body, and where the same organ's centroid falls."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np
import torch
from scipy.stats import spearmanr

from .coordinates import CoordinateMap, coordinate_map, straight_fit
from .data.cache import GridCase
from .networks.coordinates import BodyCoordinates
from .preprocess import Preprocessing


@dataclass(frozen=True, eq=False)
class Placed:
    """One patient: RAS mm (n, 3) and u (n, 3) of the body's voxels, and of its organs' centroids, each (3,)."""

    name: str
    ras: np.ndarray
    u: np.ndarray
    centre_ras: Mapping[str, np.ndarray]
    centre_u: Mapping[str, np.ndarray]

    @property
    def rank_correlation(self) -> float:
        """Spearman of u_z and z over the body's voxels: 1 where u never falls on the way to the head."""
        return float(spearmanr(self.ras[:, 2], self.u[:, 2]).statistic)

    @property
    def units_a_mm(self) -> np.ndarray:
        """How fast each coordinate rises along its own axis, (3,)."""
        return np.diag(straight_fit(self.ras, self.u)[0])

    @property
    def error_mm(self) -> float:
        """Mean distance of the body's voxels from where a linear map of u, the best for this patient, puts them."""
        towards, _ = straight_fit(self.u, self.ras)
        off = (self.ras - self.ras.mean(axis=0)) - (self.u - self.u.mean(axis=0)) @ towards
        return float(np.linalg.norm(off, axis=1).mean())

    def profile(self) -> tuple[np.ndarray, np.ndarray]:
        """z mm of the slices with body in them, rising, and the mean u_z of each."""
        z, slices = np.unique(self.ras[:, 2].round(2), return_inverse=True)
        return z, np.bincount(slices, self.u[:, 2]) / np.bincount(slices)


@dataclass(frozen=True)
class Spread:
    """Root mean square distance of one organ's centroids from their mean, over n patients.

    units: along R, A, S; mm: in all, units turned to mm; before_mm: without coordinates, bodies laid on each other by their
    centres of gravity.
    """

    organ: str
    n: int
    units: tuple[float, float, float]
    mm: float
    before_mm: float


def placed(case: GridCase, organs: Sequence[str], network: BodyCoordinates, preprocessing: Preprocessing, window: Sequence[int]) -> Placed:
    """A case of the training cache; organs: name of channel 1, 2, ...; window: as trained."""
    image = torch.from_numpy(np.array(case.image, np.float32))[None]
    return located(case.name, coordinate_map(network, image, case.geometry, preprocessing, window), centroids(case, organs))


def located(name: str, found: CoordinateMap, centre_ras: Mapping[str, np.ndarray]) -> Placed:
    ras, u = found.places()
    return Placed(name, ras, u, dict(centre_ras), {organ: found.at(at) for organ, at in centre_ras.items()})


def centroids(case: GridCase, organs: Sequence[str]) -> dict[str, np.ndarray]:
    """Organ -> RAS mm of its centroid, for the organs contoured in this case."""
    return {organs[channel - 1]: case.geometry.to_ras(places.mean(axis=0)) for channel, places in case.places.items()}


def spreads(patients: Sequence[Placed]) -> list[Spread]:
    """One row an organ that two or more patients have."""
    units_a_mm = np.mean([each.units_a_mm for each in patients], axis=0)
    organs = dict.fromkeys(organ for each in patients for organ in each.centre_u)
    return [_spread(organ, holders, units_a_mm) for organ in organs
            if len(holders := [each for each in patients if organ in each.centre_u]) > 1]


def mean_error_mm(patients: Sequence[Placed]) -> float:
    """One number to choose a network by: the error within patients plus the mean spread of organs between them."""
    between = [row.mm for row in spreads(patients)]
    return float(np.mean([each.error_mm for each in patients]) + (np.mean(between) if between else 0.))


def _spread(organ: str, holders: Sequence[Placed], units_a_mm: np.ndarray) -> Spread:
    u = _from_mean([each.centre_u[organ] for each in holders])
    ras = _from_mean([each.centre_ras[organ] - each.ras.mean(axis=0) for each in holders])
    safe = np.where(np.abs(units_a_mm) < 1e-9, 1e-9, units_a_mm)  # constant coordinates align nothing: kilometres
    return Spread(organ, len(holders), tuple(_rms(u).tolist()), float(np.linalg.norm(_rms(u / safe))), float(np.linalg.norm(_rms(ras))))


def _from_mean(points: Sequence[np.ndarray]) -> np.ndarray:
    return np.array(points) - np.mean(points, axis=0)


def _rms(points: np.ndarray) -> np.ndarray:
    return np.sqrt((points ** 2).mean(axis=0))
