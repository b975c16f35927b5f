"""How a refiner was trained and has to be run: what a model's card says under "refiner"."""
from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Mapping

from .diffusion import BernoulliDiffusion, CategoricalDiffusion, cosine_squared, shifted
from .errors import BadInput

CARD = "refiner"


@dataclass(frozen=True)
class RefinerCard:
    """levels: T of the schedule; odds: its shift (see `diffusion.shifted`), 1 in 2D; diffusion: False for a feed-forward control,
    asked once with an empty noisy mask; organs: of the labels after background, () for one object of any kind;
    helps: whether it bettered its segmentor on validation cases, so that `diffseg segment` uses it, with so many
    samples; steps: as many as validation cases chose, for all that ask for no other number.
    """

    levels: int = 20
    odds: float = .26
    diffusion: bool = True
    organs: tuple[str, ...] = ()
    helps: bool = False
    steps: int = 2
    samples: int = 2

    def chain(self, classes: int) -> BernoulliDiffusion | CategoricalDiffusion:
        """Bernoulli for one object, categorical for K >= 2 exclusive labels, background first."""
        kind = BernoulliDiffusion if classes == 1 else CategoricalDiffusion
        return kind(shifted(cosine_squared(self.levels), self.odds))

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "organs": list(self.organs)}

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> RefinerCard:
        """From a model's card; BadInput where it does not say."""
        if CARD not in card:
            raise BadInput(f"The model {card.get('name', '')!r} says nothing of a refiner; train one with `diffseg train refiner`.")
        values = dict(card[CARD])
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        return cls(**{**known, "organs": tuple(known.get("organs", ()))})
