"""How often a range of volumes holds the true one: what samples span, what chances span, and that widened as validation cases say."""
from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Iterator, Mapping

from refiner_table import shared

from DiffSegCore.evaluation import aligned
from DiffSegCore.volume_ranges import KnownVolume, VolumeRanges

Records = Mapping[str, dict[str, Any]]  # by case
SHOWN = "exact-1x1"  # by organ


def volumes(place: Path, validation: Path) -> str:
    """Both tables, of records as `refiner_table` reads them; the one by organ is of SHOWN."""
    settings, learnt = shared(place), shared(validation)
    return f"{coverage(settings, learnt)}\n\n{SHOWN}\n{by_organ(settings[SHOWN], factors_of(learnt[SHOWN]))}"


def coverage(settings: Mapping[str, Records], validation: Mapping[str, Records]) -> str:
    """Of test cases' organs: the share whose true volume lies in a range, and the median of the ranges' widths as a share of the true volume.

    Widened are those of settings with validation records of their own: how sure chances are depends on steps and kernel.
    """
    rows = [("covered (width)", "samples", "chances", "widened", "factors")]
    for name, records in settings.items():
        factors = factors_of(validation.get(name, {}))
        rows.append((name, *(_share(list(ranges)) for ranges in (_samples(records), _chances(records), _widened(records, factors))),
                     f"{min(factors.factors.values()):.2f} to {max(factors.factors.values()):.2f}" if factors.factors else "-"))
    return aligned(rows)


def by_organ(records: Records, factors: VolumeRanges) -> str:
    """The widened range of every organ."""
    organs = sorted({organ for record in records.values() for organ in record["sizes"]})
    rows = [("organ", "n", "factor", "covered (width)")]
    for organ in organs:
        ranges = list(_widened(records, factors, organ))
        rows.append((organ, str(len(ranges)), f"{factors.factors[organ]:.2f}", _share(ranges)))
    return aligned(rows)


def factors_of(records: Records) -> VolumeRanges:
    """Fitted to a setting's validation records."""
    return VolumeRanges.fitted([KnownVolume(organ, *size["range"], size["true"]) for _, organ, size in _sizes(records)], len(records))


def _sizes(records: Records) -> Iterator[tuple[str, str, dict[str, Any]]]:
    return ((case, organ, size) for case, record in records.items() for organ, size in record["sizes"].items())


def _samples(records: Records) -> Iterator[tuple[float, float, float]]:
    return ((*size["samples"], size["true"]) for _, _, size in _sizes(records) if size["samples"])


def _chances(records: Records) -> Iterator[tuple[float, float, float]]:
    return ((*size["range"], size["true"]) for _, _, size in _sizes(records))


def _widened(records: Records, factors: VolumeRanges, only: str = "") -> Iterator[tuple[float, float, float]]:
    for _, organ, size in _sizes(records):
        if (limits := factors.widened(organ, *size["range"])) and only in ("", organ):
            yield *limits, size["true"]


def _share(ranges: list[tuple[float, float, float]]) -> str:
    if not ranges:
        return "-"
    covered = statistics.fmean(low <= true <= high for low, high, true in ranges)
    return f"{covered:.2f} ({statistics.median((high - low) / true for low, high, true in ranges):.2f})"
