"""A batch as one page to look through: what became of each case, how large its organs are, its picture if there is one."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any, Sequence
from urllib.parse import quote

from ..files import atomic

NAME = "report.html"
_STYLE = """\
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #1d2733; }
table { border-collapse: collapse; } th, td { padding: .35rem .7rem; border-bottom: 1px solid #d5dbe2; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } tr.failed { background: #fdeeee; } tr.doubtful { background: #fff7e0; }
img { width: 22rem; } small { color: #5b6875; }"""


def write_report(records: Sequence[dict[str, Any]], out: Path) -> None:
    """`report.html`: failed cases first, then those with remarks. It refers to files beside it and to nothing else."""
    rows = sorted(records, key=lambda record: (record["state"] == "done", not record.get("warnings"), record["case"]))
    organs = list(dict.fromkeys(organ for row in rows for organ in row.get("ml", {})))
    failed = sum(row["state"] != "done" for row in rows)
    doubtful = sum(bool(row.get("warnings")) for row in rows)
    models = ", ".join(sorted({row["model"] for row in rows if "model" in row}))
    head = "".join(f"<th>{_text(word)}</th>" for word in ("case", *(organ.replace("_", " ") for organ in organs), "remarks"))
    page = (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>DiffSeg batch</title><style>{_STYLE}</style></head><body>'
            f"<h1>{len(rows) - failed} of {len(rows)} cases segmented</h1><p>Model {_text(models)}. {failed} failed, {doubtful} with remarks. "
            f"Volumes in ml. Not for clinical use.</p><table><thead><tr>{head}</tr></thead><tbody>{''.join(_row(row, organs) for row in rows)}</tbody></table></body></html>\n")
    with atomic(out / NAME) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _row(record: dict[str, Any], organs: Sequence[str]) -> str:
    kind = "failed" if record["state"] != "done" else "doubtful" if record.get("warnings") else "done"
    files = record.get("files", ())
    links = ", ".join(f'<a href="{quote(name)}">{_text(Path(name).name)}</a>' for name in files if not name.endswith((".png", ".json")))
    pictures = "".join(f'<br><img src="{quote(name)}" alt="" loading="lazy">' for name in files if name.endswith(".png"))
    numbers = "".join(f'<td class="number">{_ml(record.get("ml", {}).get(organ))}</td>' for organ in organs)
    remarks = "<br>".join(map(_text, [*record.get("warnings", ()), *filter(None, [record.get("error")])]))
    return f'<tr class="{kind}"><td>{_text(record["case"])}<br><small>{links}</small>{pictures}</td>{numbers}<td>{remarks}</td></tr>\n'


def _ml(ml: float | None) -> str:
    return "" if ml is None else f"{ml:.1f}" if ml else "not found"


def _text(text: str) -> str:
    return html.escape(str(text))
