"""Records of disturbed cases as plain numbers for a model's card, and those numbers as Markdown."""
from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from typing import Any, Mapping, Sequence

from .disturbances import AS_IS
from .records import Record, markdown as table

Records = Mapping[str, Record]  # by case


def summary(records: Mapping[str, Records], titles: Mapping[str, str], strange: Records) -> dict[str, Any]:
    """records: {disturbance: {case: record}}, the undisturbed ones among them; strange: {what it shows: record}.

    Changes are means over the cases in which the organ has a Dice both as it is and disturbed.
    """
    plain = records[AS_IS.name]
    return {"cases": len(plain), "dice": _organs([record.get("dice", {}) for record in plain.values()]),
            "disturbed": {titles[name]: _disturbed(plain, ones) for name, ones in records.items()},
            "out_of_domain": {what: {key: record[key] for key in ("warnings", "ml", "error") if key in record} for what, record in strange.items()}}


def _disturbed(plain: Records, records: Records) -> dict[str, Any]:
    changes = [{organ: dice - plain[case]["dice"][organ] for organ, dice in record["dice"].items() if organ in plain[case].get("dice", {})}
               for case, record in records.items() if case in plain and "dice" in record]
    dice = _organs([record.get("dice", {}) for record in records.values()])
    organs = _organs(changes)
    warned = [record["warnings"] for record in records.values() if record.get("warnings")]
    return {"cases": len(records), "dice": _mean(list(dice.values())), "change": _mean(list(organs.values())), "organs": organs,
            "crashed": sum("error" in record for record in records.values()), "warned": len(warned), "warnings": _kinds(warned)}


def markdown(found: Mapping[str, Any]) -> str:
    """Three tables: disturbances, the organs' changes, and volumes of other kinds; and what the warnings say."""
    parts = [f"The first {found['cases']} test cases. Dice is the mean over the organs that are left; changes are of organs that are there before and after.",
             _overall(found), _by_organ(found)]
    if found["out_of_domain"]:
        parts.append(_strange(found["out_of_domain"]))
    warnings = [f"- {title}: {count} x {sentence}" for title, each in found["disturbed"].items() for sentence, count in each["warnings"].items()]
    return "\n\n".join((*parts, *(["Warnings, with N for numbers:\n\n" + "\n".join(warnings)] if warnings else [])))


def _overall(found: Mapping[str, Any]) -> str:
    rows = [("scan", "Dice", "change", "organ that changes most", "crashed", "warned")]
    for title, each in found["disturbed"].items():
        worst = min(each["organs"], key=each["organs"].__getitem__, default="")
        most = f"{worst} {each['organs'][worst]:+.3f}" if worst and each["organs"][worst] < 0 else ""
        rows.append((title, f"{each['dice']:.3f}", f"{each['change']:+.3f}", most, f"{each['crashed']} of {each['cases']}", f"{each['warned']} of {each['cases']}"))
    return table(rows)


def _by_organ(found: Mapping[str, Any]) -> str:
    titles = [title for title in found["disturbed"] if title != AS_IS.title]
    rows = [("change of Dice", AS_IS.title, *titles)]
    for organ, dice in found["dice"].items():
        changes = (found["disturbed"][title]["organs"].get(organ, math.nan) for title in titles)
        rows.append((organ, f"{dice:.3f}", *("" if math.isnan(change) else f"{change:+.3f}" for change in changes)))
    return table(rows)


def _strange(found: Mapping[str, Any]) -> str:
    rows = [("another kind of volume", "warned", "ml found"),
            *((what, "crashed" if "error" in each else "yes" if each["warnings"] else "NO", f"{each.get('ml', math.nan):.0f}") for what, each in found.items())]
    said = [f"- {what}: {each.get('error') or ' '.join(each['warnings']) or 'nothing'}" for what, each in found.items()]
    return "\n\n".join((table(rows), "What is said of them:\n\n" + "\n".join(said)))


def _organs(cases: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over cases of each organ, in the order they are met."""
    names = dict.fromkeys(organ for case in cases for organ in case)
    return {organ: _mean([case[organ] for case in cases if organ in case]) for organ in names}


def _kinds(warned: Sequence[Sequence[str]]) -> dict[str, int]:
    """In how many cases a sentence came, whatever numbers and organs it names."""
    kinds = [{re.sub(r"\([a-z_, ]+\)", "(...)", re.sub(r"\d+(\.\d+)?", "N", sentence)) for sentence in sentences} for sentences in warned]
    return dict(Counter(kind for ones in kinds for kind in sorted(ones)))


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), 4) if values else math.nan
