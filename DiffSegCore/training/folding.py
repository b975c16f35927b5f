"""Cross-validation: which cases validate in which fold."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np

from ..data.cases import Case
from ..errors import BadInput

SEED = 42  # of the published protocol (METHODS A3): the same folds whoever makes them


@dataclass(frozen=True)
class Fold:
    """The `number`-th of `count` parts validates, counted from 1; the others are learnt from."""

    number: int
    count: int

    @classmethod
    def parsed(cls, text: str) -> Fold:
        """From "2/5"; BadInput for anything else."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]) or int(found[2]) < 2:
            raise BadInput(f"a fold is written K/N, the K-th of N parts, e.g. 2/5; not {text!r}")
        return cls(int(found[1]), int(found[2]))

    @property
    def name(self) -> str:
        return f"{self.number}-of-{self.count}"

    def of(self, splits: Mapping[str, Sequence[Case]]) -> dict[str, list[Case]]:
        """Training and validation cases divided anew; a test split stays as it is. BadInput where there are fewer cases than parts."""
        cases = sorted((case for split in ("train", "validation") for case in splits.get(split, ())), key=lambda case: case.name)
        if len(cases) < self.count:
            raise BadInput(f"{len(cases)} labelled cases cannot be divided into {self.count} folds")
        order = np.random.default_rng(SEED).permutation(len(cases))
        checked = set(order[self.number - 1::self.count].tolist())
        divided = {"train": [case for n, case in enumerate(cases) if n not in checked],
                   "validation": [case for n, case in enumerate(cases) if n in checked]}
        return {**{split: list(some) for split, some in splits.items()}, **divided}
