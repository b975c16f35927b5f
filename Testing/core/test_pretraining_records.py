"""The comparison of pretexts that docs/Pretraining.md tells of is the one whose records lie in docs/pretraining."""
from __future__ import annotations

import json
from pathlib import Path

from benchmarks.pretraining.causes import causes
from benchmarks.pretraining.plan import plan_of
from benchmarks.pretraining.results import Results
from benchmarks.pretraining.table import markdown, table

from DiffSegCore.training.probe_records import read_records

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "docs" / "pretraining"
RECORDS = read_records(HOME / "records")


def test_every_run_of_the_plan_has_its_record():
    there = {(record["settings"]["encoder"]["name"], record["settings"]["protocol"], record["settings"]["labels"], record["settings"]["seed"]) for record in RECORDS}
    assert there == {*plan_of("cpu").probes(True), *plan_of("cpu").probes(False)}


def test_all_runs_had_the_same_recipe_and_cases():
    assert len({json.dumps(record["settings"]["recipe"], sort_keys=True) for record in RECORDS}) == 1
    assert {(len(record["train"]), record["validation"]["cases"], record["test"]["cases"]) for record in RECORDS} == {(110, 15, 40), (11, 15, 40)}


def test_table_and_page_say_what_the_records_say():
    results = Results(RECORDS)
    assert (HOME / "table.txt").read_text(encoding="utf-8") == table(results) + "\n"
    assert causes(HOME) in (ROOT / "docs" / "Pretraining.md").read_text(encoding="utf-8")
    assert markdown(results) in (ROOT / "docs" / "Pretraining.md").read_text(encoding="utf-8")
