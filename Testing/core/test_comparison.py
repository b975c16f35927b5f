"""The comparison of pretexts: it runs what is missing, once, and its table says of each claim whether it holds."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.pretraining.causes import causes
from benchmarks.pretraining.claims import claims
from benchmarks.pretraining.figure import save_figure
from benchmarks.pretraining.plan import ENCODERS, PLANS, plan_of
from benchmarks.pretraining.results import Results, Setting
from benchmarks.pretraining.running import Place, missing, run
from benchmarks.pretraining.table import table
from lightning.fabric import Fabric

from DiffSegCore.data.phantom import phantom
from DiffSegCore.errors import BadInput
from DiffSegCore.progress import silent
from DiffSegCore.training.probe_recipes import pretext_recipe, probe_recipe
from DiffSegCore.training.probe_records import read_records, write_record
from DiffSegCore.writing import write_labels, write_volume

NONLINEAR = Setting("nonlinear", 1.)


def a_record(encoder: str, dice: float, protocol: str = "nonlinear", labels: float = 1., seed: int = 0, confused: float = .01) -> dict:
    organs = {"parotid_gland_right": dice + .1, "parotid_gland_left": dice - .1, "larynx": dice}
    scores = {"mean": dice, "organs": organs, "confused": {"parotid_gland_right": confused}, "cases": 1, "by_case": {}}
    return {"settings": {"encoder": {"name": encoder}, "protocol": protocol, "labels": labels, "seed": seed}, "seconds": 1.,
            "reading": {"log_snr": 4.7 if "diff" in encoder else None, "noise": "keyed"}, "validation": scores, "test": scores}


def records(**dice: float) -> list[dict]:
    return [a_record(name.replace("_", "-"), value + seed / 100, seed=seed) for name, value in dice.items() for seed in (0, 1, 2)]


def verdicts(*found: dict) -> list[bool | None]:
    return [claim.holds for claim in claims(Results(found))]


def test_a_claim_holds_only_where_the_numbers_bear_it_out():
    well = records(restorative=.6, masked=.5, contrastive=.65, diffusion=.64, diffusion_input=.7)
    assert verdicts(*well) == [True, True, None, None, None, None, True, None, True, False]  # right and left are confused alike
    short = records(restorative=.6, contrastive=.65, diffusion=.64, diffusion_input=.64)
    assert verdicts(*short)[:2] == [False, False]


def test_the_better_of_the_restorative_pretexts_is_the_bar():
    assert verdicts(*records(restorative=.6, masked=.68, diffusion_input=.7))[0] is False


@pytest.mark.parametrize(("labels", "place"), ((.1, 2), (1., 5)))
def test_fine_tuning_has_to_beat_training_from_scratch(labels, place):
    tuned = [a_record(name, dice, "finetune", labels) for name, dice in (("scratch", .5), ("diffusion-both", .5))]
    assert verdicts(*tuned)[place] is False
    tuned[1]["test"] = {**tuned[1]["test"], "mean": .51}
    assert verdicts(*tuned)[place] is True


def test_validation_not_test_chooses_which_guidance_stands_for_all():
    found = records(restorative=.5, contrastive=.5, diffusion=.5, diffusion_input=.6, diffusion_both=.4)
    for record in found:
        if record["settings"]["encoder"]["name"] == "diffusion-both":
            record["validation"] = {**record["validation"], "mean": .9}
    assert claims(Results(found))[0].holds is False


def test_without_runs_a_claim_is_not_measured():
    assert verdicts() == [None] * 10 and "no run record" in table(Results([]))


def test_the_table_shows_mean_and_spread_every_organ_and_the_verdicts():
    text = table(Results(records(random=.2, restorative=.6, contrastive=.65, diffusion=.64, diffusion_both=.7)))
    assert "0.710 ± 0.010" in text and "0.810 ± 0.010" in text and "parotid R" in text
    assert "1.00 ± 0.00" in text and "logSNR 4.7, keyed noise" in text
    assert "HOLDS: Frozen" in text and "NOT MEASURED: With 10 %" in text
    assert text.index("random, frozen") < text.index("restorative") < text.index("+ both")


def test_seeds_are_compared_in_pairs():
    results = Results(records(diffusion=.5, diffusion_both=.52))
    difference = results.of("diffusion-both", NONLINEAR).over(results.of("diffusion", NONLINEAR))
    assert difference.mean == pytest.approx(.02) and difference.sd == pytest.approx(0)


def test_what_one_change_does_stands_beside_the_comparison(tmp_path):
    for place, dice in ((tmp_path, .5), (tmp_path / "cpu-length", .6)):
        for record in records(masked=dice, diffusion_input=dice) + records(random=.4) * (place == tmp_path):
            run = record["settings"]
            write_record(place / "records" / f"{run['encoder']['name']}-{run['seed']}.json", record)
    assert causes(tmp_path).splitlines() == ["| encoder | as compared | Four times the pretraining |", "|---|---|---|",
                                             "| masked autoencoding | 0.510 ± 0.010 | 0.610 ± 0.010 |", "| diffusion + input | 0.510 ± 0.010 | 0.610 ± 0.010 |"]


def test_the_figure_is_drawn_from_records(tmp_path):
    save_figure(Results(records(random=.2, diffusion=.5)), tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_every_plan_names_known_recipes_and_puts_frozen_probes_side_by_side():
    for plan in PLANS.values():
        assert pretext_recipe(plan.pretext).widths == probe_recipe(plan.probe).widths
        order = [run[0] for run in plan.probes(True)]
        assert order == sorted(order, key=ENCODERS.index)
        assert len(set(plan.probes(True)) | set(plan.probes(False))) == len([*plan.probes(True), *plan.probes(False)])
    with pytest.raises(BadInput, match="'huge'.*cpu"):
        plan_of("huge")


def test_seeds_of_fine_tuning_come_one_after_the_other_so_that_a_short_comparison_is_a_whole_one():
    runs = [run for run in plan_of("cpu").probes(False) if run[2] == .1]
    first = runs[:len(runs) // 3]
    assert {encoder for encoder, *_ in first} == {encoder for encoder, *_ in runs} and {seed for *_, seed in first} == {0}


@pytest.fixture
def place(tmp_path) -> Place:
    """Coarse phantoms, labelled."""
    for seed, split in ((1, "train"), (2, "train"), (3, "validation"), (4, "test")):
        case = tmp_path / "data" / "phantoms" / split / f"p{seed}"
        case.mkdir(parents=True)
        volume, labels = phantom(seed, spacing_mm=(8, 8, 8), shape=(14, 18, 18))
        write_volume(volume, case / "ct.nii.gz")
        write_labels(labels, case / "oar.nii.gz")
        (case / "oar.json").unlink()
    table = tmp_path / "data" / "phantoms" / "labels.txt"
    table.write_text("\n".join(f"{value} {name}" for value, name in labels.names.items()))
    return Place(tmp_path / "data", tmp_path / "out", None)


def test_a_comparison_runs_stops_and_goes_on(place):
    plan = replace(plan_of("trial"), labelled="phantoms", unlabelled=("phantoms",))
    fabric, said = Fabric(accelerator="cpu", devices=1), []
    assert not run(plan, place, fabric, silent, 0, said.append) and "goes on from here" in said[-1]
    assert len(missing(plan, place, fabric)) == 7
    assert run(plan, place, fabric, silent, 60, said.append) and missing(plan, place, fabric) == []
    found = read_records(place.out / "records")
    assert len(found) == 5 and not any(path.is_dir() for path in (place.out / "features").glob("*/*"))
    before = {path: path.stat().st_mtime_ns for path in place.out.rglob("*.json")}
    assert run(plan, place, fabric, silent, 60, said.append)
    assert before == {path: path.stat().st_mtime_ns for path in place.out.rglob("*.json")}
    assert "restorative" in table(Results(found)) and json.dumps(found)


def test_what_is_missing_is_said_before_hours_of_work(place):
    fabric = Fabric(accelerator="cpu", devices=1)
    with pytest.raises(BadInput, match="ct_hn_openkbp.*--data"):
        run(plan_of("trial"), place, fabric, silent, 60, print)
    with pytest.raises(BadInput, match="--coordinates"):
        run(replace(plan_of("cpu"), labelled="phantoms", unlabelled=("phantoms",)), place, fabric, silent, 60, print)
    assert not place.out.exists() or not list(place.out.rglob("*.ckpt"))


def test_a_changed_plan_does_not_mix_with_older_records(place):
    plan = replace(plan_of("trial"), labelled="phantoms", unlabelled=("phantoms",), arms=plan_of("trial").arms[1:])
    fabric = Fabric(accelerator="cpu", devices=1)
    run(plan, place, fabric, silent, 60, lambda line: None)
    path = next((Path(place.out) / "records").glob("scratch*"))
    record = json.loads(path.read_text())
    record["settings"]["recipe"]["overlap"] = .9
    path.write_text(json.dumps(record))
    with pytest.raises(BadInput, match="other settings"):
        run(plan, place, fabric, silent, 60, lambda line: None)
