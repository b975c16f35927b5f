"""Between which volumes an organ lies: as its chances say, widened by as much as held-out cases needed.

Chances of single voxels say nothing of errors that many voxels share, and most errors of a volume are of that kind: an outline drawn a little wider all
round. Nor do samples that a chain draws voxel by voxel. So a range from chances alone is far too narrow, and how much too narrow is measured on
validation cases: conformalized quantile regression (Romano, Patterson and Candes 2019), on the logarithms of volumes, and normalised by what is usual
for the organ (Papadopoulos, Gammerman and Vovk 2008).
"""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from torch import Tensor

LEAST, MOST = .75, .25  # chance from which a voxel counts for the smaller and for the larger volume
RATE = .9
SHARED = 16  # so many cases of an organ weigh as much as those of all organs together
CARD = "volume_ranges"


@dataclass(frozen=True)
class KnownVolume:
    """An organ of a held-out case: its true volume, more than 0, and its range by chances alone, in the same unit."""

    organ: str
    low: float
    high: float
    true: float


@dataclass(frozen=True)
class VolumeRanges:
    """factors: organ -> by how much a range from chances has to be widened, 1 or more, so that of `rate` of such cases it holds the true volume.

    cases: of how many that was learnt. An organ without a factor has no range that holds.
    """

    factors: Mapping[str, float]
    cases: int
    rate: float = RATE

    @classmethod
    def fitted(cls, seen: Sequence[KnownVolume], cases: int, rate: float = RATE) -> VolumeRanges:
        """From organs of validation cases: what a tenth of all organs need more than is usual for the organ, times what is usual for it.

        What is usual is the mean of its own cases, drawn towards that of all: a few cases' worst says little, and one factor for all organs would
        make a sure one's range as wide as a doubtful one's. A case is held against what the others say is usual.
        """
        needs: dict[str, list[float]] = {}
        for each in seen:
            needs.setdefault(each.organ, []).append(_need(each))
        finite = [need for some in needs.values() for need in some if math.isfinite(need)]
        shared = sum(finite) / max(len(finite), 1)
        ratios = [need / _usual(some[:n] + some[n + 1:], shared) for some in needs.values() for n, need in enumerate(some)]
        most = _quantile(ratios, rate)
        missed = {organ for organ, some in needs.items() if sum(map(math.isinf, some)) > (1 - rate) * len(some)}
        factors = {organ: round(math.exp(most * _usual(some, shared)), 4) for organ, some in needs.items() if organ not in missed and math.isfinite(most)}
        return cls(factors, cases, rate)

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> VolumeRanges | None:
        """From a model's card; None where it tells none."""
        return cls.from_dict(card.get(CARD))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> VolumeRanges | None:
        return None if values is None else cls(dict(values["factors"]), values["cases"], values["rate"])

    def to_dict(self) -> dict[str, Any]:
        return {"rate": self.rate, "cases": self.cases, "factors": dict(self.factors)}

    def widened(self, organ: str, low: float, high: float) -> tuple[float, float] | None:
        """None for an organ whose range is not known, or of which nothing was seen: no factor makes more of nothing."""
        factor = self.factors.get(organ)
        return None if factor is None or high == 0 else (low / factor, high * factor)


def range_of(chance: Tensor) -> tuple[int, int]:
    """Voxels that count for the smaller and for the larger volume of one organ, from its chances of any shape."""
    return int((chance >= LEAST).sum()), int((chance >= MOST).sum())


def _need(seen: KnownVolume) -> float:
    """Logarithm of the factor from which on the range holds the true volume; infinite where nothing was thought possible."""
    below = math.log(seen.low / seen.true) if seen.low > 0 else -math.inf
    above = math.log(seen.true / seen.high) if seen.high > 0 else math.inf
    return max(below, above, 0.)


def _usual(needs: Sequence[float], shared: float) -> float:
    """Of one organ, from its finite needs and the mean of all organs'; more than 0."""
    own = [need for need in needs if math.isfinite(need)]
    return max((sum(own) + SHARED * shared) / (len(own) + SHARED), 1e-9)


def _quantile(needs: Sequence[float], rate: float) -> float:
    """The smallest need that holds for a new case with the chance `rate`, if cases are exchangeable; infinite where there are too few to tell."""
    rank = math.ceil((len(needs) + 1) * rate)
    return sorted(needs)[rank - 1] if rank <= len(needs) else math.inf
