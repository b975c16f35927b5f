"""What changes if one thing is changed: the non-linear probe's Dice, from the records of each plan of CPU_CAUSES beside those of the comparison."""
from __future__ import annotations

from pathlib import Path

from DiffSegCore.training.probe_records import read_records

from .claims import NONLINEAR
from .plan import CPU_CAUSES
from .results import TITLES, Results


def causes(home: Path) -> str:
    """Markdown: a column for the comparison in `home`, and one for each plan with records in home/<plan>; a row for each encoder that a plan changes."""
    columns = {"as compared": Results(read_records(home / "records"))}
    columns |= {plan.title: Results(read_records(home / plan.name / "records")) for plan in CPU_CAUSES if (home / plan.name / "records").is_dir()}
    changed = {name for results in list(columns.values())[1:] for name in results.encoders}
    lines = [f"| encoder | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in [name for name in columns["as compared"].encoders if name in changed]:
        found = (results.of(name, NONLINEAR) for results in columns.values())
        title = TITLES[name].strip()
        lines.append(f"| {f'diffusion {title}' if title.startswith('+') else title} | {' | '.join('-' if each is None else str(each) for each in found)} |")
    return "\n".join(lines)
