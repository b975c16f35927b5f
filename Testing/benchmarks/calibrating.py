"""Fit a temperature and the width of volume ranges to a model that was trained before trainings did so themselves, and say what it changes.

    python -m Testing.benchmarks.calibrating --model head-neck-ct --data DIR [--leave-out PATTERN ...] [-o FILE]

On the validation cases of the model's recipe: mean negative log-likelihood, and how far the Dice that the chances promise of an organ lies from the
true one, at temperature 1, which is how the network was trained, and at the best. -o writes the model with its logits divided by that, in half
precision, its labels as they were, and a card that tells how far ranges of volumes have to be widened (`volume_ranges`).
"""
from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Iterator, Sequence

import numpy as np
import torch

from DiffSegCore.data.cache import GridCase, cached_cases
from DiffSegCore.data.cases import read_dataset
from DiffSegCore.model import Model, save_model
from DiffSegCore.registry import DEFAULT, load_model
from DiffSegCore.training.calibrating import TEMPERATURES, cool, fitted_ranges, negative_log_likelihood
from DiffSegCore.training.head import case_logits, labelled_split
from DiffSegCore.training.recipes import HeadRecipe, recipe
from DiffSegCore.volume_ranges import CARD as RANGES


def validation_cases(model: Model, settings: HeadRecipe, args: argparse.Namespace, cache: Path) -> list[GridCase]:
    dataset = read_dataset(args.data, label_file=settings.label_file)
    _, check = labelled_split(dataset, args.data, args.leave_out)
    return cached_cases(check, dataset.labels, model.organs, model.preprocessing, cache)


def gaps(logits: torch.Tensor, case: GridCase) -> Iterator[float]:
    """Promised less true Dice of each organ that the case shows."""
    chances, found, truth = logits.softmax(0), logits.argmax(0), torch.from_numpy(np.array(case.channels))
    for channel in case.places:
        own, true = found == channel, truth == channel
        promised = 2 * chances[channel][own].sum() / (own.sum() + chances[channel].sum())
        yield float(promised - 2 * (own & true).sum() / (own.sum() + true.sum()))


def report(cases: Sequence[tuple[GridCase, torch.Tensor]], undrawn: bool) -> float:
    """Prints a line a temperature, and returns the best."""
    nll = {each: statistics.fmean(negative_log_likelihood(logits, case, each, undrawn) for case, logits in cases) for each in TEMPERATURES}
    best = min(nll, key=nll.__getitem__)
    for each in (1., best):
        off = [gap for case, logits in cases for gap in gaps(logits / each, case)]
        print(f"temperature {each:.3g}: negative log-likelihood {nll[each]:.4f}; promised Dice {statistics.fmean(off):+.3f} off on average, "
              f"{statistics.fmean(map(abs, off)):.3f} in size ({len(off)} organs of {len(cases)} validation cases)")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT, metavar="NAME|FILE")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="PATTERN")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE")
    args = parser.parse_args()
    model = load_model(args.model)
    model.network.eval()
    settings, training = recipe(model.card["name"]), model.card.get("training", {})
    cool(model.network.head, 1 / training.get("temperature", 1.))
    with tempfile.TemporaryDirectory() as cache:
        cases = validation_cases(model, settings, args, Path(cache))
        said = [(case, case_logits(model.network, case, model.window, torch.device("cpu")).float()) for case in cases]
        best = report(said, settings.empty_is_undrawn)
        logits = {case.name: each / best for case, each in said}
        ranges = fitted_ranges(lambda case: logits[case.name], cases, model.organs)
        print(f"ranges of volumes, widened so as to hold in {100 * ranges.rate:.0f} % of cases: {ranges.factors or 'too few cases to tell'}")
    if args.out:
        cool(model.network.head, best)
        model.card["training"] = {**training, "temperature": best}
        model.card[RANGES] = ranges.to_dict()
        save_model(model, args.out, bits=16)


if __name__ == "__main__":
    main()
