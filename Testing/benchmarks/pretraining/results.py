"""What run records say of each encoder: means and spreads over seeds, for tables, claims and figures."""
from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence

from .plan import ENCODERS

TITLES = {"scratch": "from scratch", "random": "random, frozen", "restorative": "restorative", "masked": "masked autoencoding",
          "contrastive": "contrastive", "diffusion": "diffusion", "diffusion-input": "  + input", "diffusion-auxiliary": "  + auxiliary",
          "diffusion-both": "  + both", "diffusion+coordinates": "control: diffusion, coordinates to the probe",
          "diffusion-both-untold": "control: + both, told nothing",
          "diffusion-input-untold": "control: + input, told nothing"}


@dataclass(frozen=True)
class Spread:
    """Values by seed."""

    values: Mapping[int, float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    @property
    def sd(self) -> float:
        """The sample's; 0 for one seed."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else 0.

    def over(self, other: Spread) -> Spread:
        """This less the other, seed by seed, of the seeds that both have."""
        return Spread({seed: value - other.values[seed] for seed, value in self.values.items() if seed in other.values})

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.sd:.3f}" if len(self.values) > 1 else f"{self.mean:.3f}"


@dataclass(frozen=True)
class Setting:
    """A protocol with a share of the labels."""

    protocol: str
    labels: float

    def __str__(self) -> str:
        return f"{self.protocol}, {100 * self.labels:g} %"


class Results:
    """Records by encoder and setting. An encoder that no record has is missing everywhere."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self.records: dict[tuple[str, Setting], dict[int, Mapping[str, Any]]] = {}
        for record in records:
            wanted = record["settings"]
            setting = Setting(wanted["protocol"], wanted["labels"])
            self.records.setdefault((wanted["encoder"]["name"], setting), {})[wanted["seed"]] = record

    @property
    def encoders(self) -> list[str]:
        return [name for name in ENCODERS if any(name == encoder for encoder, _ in self.records)]

    @property
    def settings(self) -> list[Setting]:
        """Frozen before fine-tuned, all labels before few."""
        order = ("linear", "nonlinear", "finetune")
        return sorted({setting for _, setting in self.records}, key=lambda each: (order.index(each.protocol), -each.labels))

    def of(self, encoder: str, setting: Setting, split: str = "test", organ: str | None = None) -> Spread | None:
        """Mean Dice over organs, or one organ's, by seed; None where nothing was run. Without a test split, the validation's."""
        found = self._found(encoder, setting, split)
        values = {seed: each["mean"] if organ is None else each["organs"].get(organ) for seed, each in found.items()}
        values = {seed: value for seed, value in values.items() if value is not None}
        return Spread(values) if values else None

    def confused(self, encoder: str, setting: Setting, split: str = "test") -> Spread | None:
        """Share of the voxels of paired organs, called one of the two, that are called the wrong one; mean over pairs."""
        values = {seed: statistics.fmean(each["confused"].values()) for seed, each in self._found(encoder, setting, split).items() if each["confused"]}
        return Spread(values) if values else None

    def organs(self) -> list[str]:
        """Every organ that was scored, as first met."""
        records = (record for runs in self.records.values() for record in runs.values())
        return list(dict.fromkeys(organ for record in records for organ in record.get("test", record["validation"])["organs"]))

    def best(self, encoders: Sequence[str], setting: Setting) -> str | None:
        """The encoder that validates best, so that the test cases choose nothing."""
        known = [name for name in encoders if self.of(name, setting, "validation")]
        return max(known, key=lambda name: self.of(name, setting, "validation").mean) if known else None

    def readings(self) -> dict[str, str]:
        """At which noise level each frozen encoder was read."""
        told: dict[str, str] = {}
        for (encoder, setting), runs in self.records.items():
            if setting.protocol != "finetune":
                reading = next(iter(runs.values()))["reading"]
                told[encoder] = "clean" if reading["log_snr"] is None else f"logSNR {reading['log_snr']:g}, {reading['noise']} noise"
        return told

    def _found(self, encoder: str, setting: Setting, split: str) -> dict[int, Mapping[str, Any]]:
        runs = self.records.get((encoder, setting), {})
        return {seed: record.get(split, record["validation"]) for seed, record in sorted(runs.items())}
