"""What is compared, as plain values: encoders, protocols, label shares and seeds, in one size for a CPU and one for a GPU."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterator, Sequence

from DiffSegCore.errors import BadInput

GUIDANCE = {"diffusion": "none", "diffusion-input": "input", "diffusion-auxiliary": "auxiliary", "diffusion-both": "both"}
GUIDED = ("diffusion-input", "diffusion-auxiliary", "diffusion-both")
PRETRAINED = ("restorative", "masked", "contrastive", *GUIDANCE)
FROZEN = ("random", *PRETRAINED)
CONTROLS = {"diffusion+coordinates": ("diffusion", "beside"),  # an encoder, and its use of coordinates
            "diffusion-both-untold": ("diffusion-both", "untold"),
            "diffusion-input-untold": ("diffusion-input", "untold")}
PROBED, TUNED = tuple(CONTROLS)[:2], tuple(CONTROLS)[2:]  # the controls of frozen probes, and of fine-tuning
ENCODERS = ("scratch", *FROZEN, *CONTROLS)

# Every CT of shared/data that no evaluation looks at; validation and test cases of OpenKBP and the last ten sarcomas stay unseen.
UNLABELLED = ("ct_hn_openkbp", "ct_lesion_sts", "ct_abdomen", "tests_small/acil_ct64", "tests_small/cthead_dicom")
LEFT_OUT = ("STS_02[89]", "STS_03?", "amos_0018*")


@dataclass(frozen=True)
class Arm:
    """Probes of one kind: every encoder with every seed."""

    protocol: str
    labels: float
    seeds: tuple[int, ...]
    encoders: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """pretext and probe: names of recipes; arms in order of importance, frozen ones before fine-tuned ones; cost: a guess in
    seconds of a pretraining, of a frozen encoder's features with the choice of a noise level, of a frozen probe, of a fine-tuning.
    """

    name: str
    title: str
    pretext: str
    probe: str
    arms: tuple[Arm, ...]
    cost: tuple[float, float, float, float]
    labelled: str = "ct_hn_openkbp"
    unlabelled: tuple[str, ...] = UNLABELLED
    leave_out: tuple[str, ...] = LEFT_OUT

    @property
    def pretrained(self) -> list[str]:
        """Encoders that have to be pretrained, in order."""
        return [name for name in PRETRAINED if any(name in arm.encoders for arm in self.arms)]

    def only(self, names: Sequence[str], protocols: Sequence[str] = ()) -> Plan:
        """The part of the plan that concerns these encoders and protocols, none named is all; BadInput lists those that it has where one is unknown."""
        encoders = [name for name in ENCODERS if any(name in arm.encoders for arm in self.arms)]
        for kind, given, known in (("encoder", names, encoders), ("protocol", protocols, list(dict.fromkeys(arm.protocol for arm in self.arms)))):
            for name in given:
                if name not in known:
                    raise BadInput(f"the plan {self.name!r} has no {kind} {name!r}; it has {', '.join(known)}")
        return replace(self, arms=tuple(replace(arm, encoders=tuple(each for each in arm.encoders if each in (names or encoders)))
                                        for arm in self.arms if not protocols or arm.protocol in protocols))

    def probes(self, frozen: bool) -> Iterator[tuple[str, str, float, int]]:
        """(encoder, protocol, labels, seed). Frozen: encoder after encoder, for features are kept of one at a time. Else seed after seed,
        so that a comparison that is cut short is a whole one with fewer seeds."""
        arms = [arm for arm in self.arms if (arm.protocol != "finetune") == frozen]
        runs = [(encoder, arm.protocol, arm.labels, seed) for arm in arms for seed in arm.seeds for encoder in arm.encoders]
        return iter(sorted(runs, key=lambda run: ENCODERS.index(run[0])) if frozen else runs)

    def hours(self) -> float:
        """A guess from `cost`, on the machine that the plan is made for."""
        features = len({run[0] for run in self.probes(True)})
        counts = (len(self.pretrained), features, len(list(self.probes(True))), len(list(self.probes(False))))
        return sum(count * cost for count, cost in zip(counts, self.cost)) / 3600


SEEDS = (0, 1, 2)
CPU = Plan("cpu", "Small encoders on one core, about two and a half hours", "head-neck-cpu", "head-neck-cpu", (
    Arm("nonlinear", 1., SEEDS, FROZEN),
    Arm("nonlinear", 1., SEEDS, PROBED),
    Arm("linear", 1., SEEDS, FROZEN),
    Arm("nonlinear", .1, SEEDS, FROZEN),
    Arm("linear", .1, SEEDS, FROZEN),
    Arm("finetune", .1, SEEDS, ("scratch", *PRETRAINED, *TUNED)),
    Arm("finetune", 1., SEEDS, ("scratch", *PRETRAINED))), cost=(140, 80, 20, 95))

# What might explain the picture, one thing changed at a time: the best form of guidance on validation cases, and the strongest rivals.
CAUSES = Plan("", "", "head-neck-cpu", "head-neck-cpu", (Arm("nonlinear", 1., SEEDS, ("masked", "contrastive", "diffusion-input")),), cost=CPU.cost)
CPU_CAUSES = (
    replace(CAUSES, name="cpu-length", title="Four times the pretraining", pretext="head-neck-cpu-long", cost=(4 * CPU.cost[0], *CPU.cost[1:])),
    replace(CAUSES, name="cpu-noise", title="All noise levels alike", pretext="head-neck-cpu-noise").only(["diffusion-input"]),
    replace(CAUSES, name="cpu-hu", title="HU as they are", pretext="head-neck-cpu-hu", probe="head-neck-cpu-hu",
            arms=(Arm("nonlinear", 1., SEEDS, ("masked", "contrastive", "diffusion")),)),  # body-ct's coordinates are of the other values
    replace(CAUSES, name="cpu-wide", title="Twice the channels", pretext="head-neck-cpu-wide", probe="head-neck-cpu-wide", cost=tuple(3 * each for each in CPU.cost)),
    replace(CAUSES, name="cpu-fine", title="The two finest levels read alone", probe="head-neck-cpu-fine"),
    replace(CAUSES, name="cpu-coarse", title="The two coarsest levels read alone", probe="head-neck-cpu-coarse"))

GPU = Plan("gpu", "Full encoders on one GPU; not run", "head-neck-gpu", "head-neck-gpu", (
    *(Arm(protocol, labels, SEEDS, (*FROZEN, *PROBED)) for labels in (1., .1) for protocol in ("nonlinear", "linear")),
    *(Arm("finetune", labels, SEEDS, ("scratch", *PRETRAINED, *TUNED)) for labels in (.1, 1.))), cost=(10800, 600, 240, 2400))

TRIAL = Plan("trial", "A few steps of everything: to see that it runs", "trial", "trial", (
    Arm("nonlinear", 1., (0,), ("random", "restorative", "diffusion")),
    Arm("finetune", .4, (0,), ("scratch", "restorative"))), cost=(10, 10, 5, 5))

PLANS = {plan.name: plan for plan in (CPU, *CPU_CAUSES, GPU, TRIAL)}


def plan_of(name: str) -> Plan:
    """The plan of that name; BadInput lists the names where there is none."""
    if name not in PLANS:
        raise BadInput(f"there is no plan {name!r}; there are {', '.join(PLANS)}")
    return PLANS[name]
