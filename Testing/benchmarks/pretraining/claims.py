"""What is claimed of diffusion pretraining with guidance, and whether the records bear it out."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

from .plan import GUIDED
from .results import TITLES, Results, Setting, Spread

NONLINEAR, FEW, TUNED = Setting("nonlinear", 1.), Setting("finetune", .1), Setting("finetune", 1.)
PAIR = ("parotid_gland_right", "parotid_gland_left")
FACTOR = 1.075  # of the paper: 7.5 % over restorative pretraining


@dataclass(frozen=True)
class Claim:
    """holds: None where the runs that it needs are missing."""

    text: str
    numbers: str
    holds: bool | None

    def __str__(self) -> str:
        verdict = {True: "HOLDS", False: "DOES NOT HOLD", None: "NOT MEASURED"}[self.holds]
        return f"{verdict}: {self.text}" + (f"\n    {self.numbers}" if self.numbers else "")


def claims(results: Results) -> list[Claim]:
    """Every claim. Where one of several encoders may stand for its kind, it is the one that validates best."""
    return list(_claims(results))


def _claims(results: Results) -> Iterator[Claim]:
    guided = results.best(GUIDED, NONLINEAR) or "diffusion + guidance"
    restorative = results.best(("restorative", "masked"), NONLINEAR) or "restorative"
    of = lambda name: results.of(name, NONLINEAR)  # noqa: E731
    yield _at_least("Frozen, non-linear, all labels: diffusion + guidance reaches 1.075 times the best restorative pretraining",
                    guided, of(guided), restorative, of(restorative), FACTOR)
    yield _at_least("Frozen, non-linear, all labels: diffusion + guidance is at least as good as contrastive pretraining",
                    guided, of(guided), "contrastive", of("contrastive"))
    tuned = results.best(GUIDED, FEW) or "diffusion + guidance"
    yield _at_least("With 10 % of the labels, fine-tuning diffusion + guidance beats training from scratch",
                    tuned, results.of(tuned, FEW), "scratch", results.of("scratch", FEW), strictly=True)
    yield _at_least("... and diffusion without guidance", tuned, results.of(tuned, FEW), "diffusion", results.of("diffusion", FEW), strictly=True)
    yield _at_least("... also where the network is told no coordinates any more", "diffusion-input-untold", results.of("diffusion-input-untold", FEW),
                    "diffusion", results.of("diffusion", FEW), strictly=True)
    whole = results.best(GUIDED, TUNED) or "diffusion + guidance"
    yield _at_least("With all labels, fine-tuning diffusion + guidance beats training from scratch",
                    whole, results.of(whole, TUNED), "scratch", results.of("scratch", TUNED), strictly=True)
    yield _at_least("Frozen, non-linear, all labels: guidance adds to diffusion", guided, of(guided), "diffusion", of("diffusion"), strictly=True)
    yield _at_least("... more than coordinates add when only the probe gets them", guided, of(guided),
                    "diffusion+coordinates", of("diffusion+coordinates"), strictly=True)
    yield _at_least("... and to the parotids", guided, _parotids(results, guided), "diffusion", _parotids(results, "diffusion"), strictly=True)
    confused = lambda name: results.confused(name, NONLINEAR)  # noqa: E731
    yield _at_least("... and confuses right and left less", "diffusion", confused("diffusion"), guided, confused(guided), strictly=True)


def _at_least(text: str, name: str, value: Spread | None, other: str, against: Spread | None, factor: float = 1., strictly: bool = False) -> Claim:
    if value is None or against is None:
        lacking = [each for each, spread in ((name, value), (other, against)) if spread is None]
        return Claim(text, f"no run of {' and '.join(lacking)}", None)
    difference = value.over(against)
    paired = f"; difference {difference.mean:+.3f} ± {difference.sd:.3f}, above 0 for {_above(difference)} seeds" if difference.values else ""
    numbers = f"{_title(name)} {value}, {_title(other)} {against}, ratio {value.mean / max(against.mean, 1e-9):.3f}{paired}"
    wanted = factor * against.mean
    return Claim(text, numbers, value.mean > wanted if strictly else value.mean >= wanted)


def _parotids(results: Results, encoder: str) -> Spread | None:
    """Mean of both, by seed."""
    sides = [results.of(encoder, NONLINEAR, organ=organ) for organ in PAIR]
    if None in sides:
        return None
    return Spread({seed: (value + sides[1].values[seed]) / 2 for seed, value in sides[0].values.items() if seed in sides[1].values})


def _above(difference: Spread) -> str:
    return f"{sum(value > 0 for value in difference.values.values())} of {len(difference.values)}"


def _title(name: str) -> str:
    return f"diffusion {TITLES[name].strip()}" if name in GUIDED else TITLES.get(name, name)
