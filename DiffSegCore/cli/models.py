"""`diffseg models`: which models there are, what is known of them, and how they come and go."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from ..errors import BadInput
from .command import add_command
from .terminal import bar

_ACTIONS = ("list", "info", "install", "add", "verify", "remove")
_NEEDS_ONE = ("info", "install", "remove")
_KINDS = "nnunet, monai or torchscript"


def add(commands: Any) -> None:
    parser = add_command(commands, "models", "list, install, add, check and remove models", run,
                         more="Models ship with DiffSeg or lie in the folders that the variable DIFFSEG_MODELS names, else in one in your home. "
                              "Only `install` with a name or an address goes to the network. `add` takes another tool's model, an nnU-Net v2 folder, a "
                              "MONAI bundle's folder or a TorchScript file with its description, and leaves its weights where they are.")
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="list",
                        help="list (default); info NAME; install NAME, ADDRESS or FILE; add KIND PATH; verify [NAME]; remove NAME")
    parser.add_argument("model", nargs="?", metavar="MODEL", help=f"a model's name; for install also an http(s) address or a file; for add its kind: {_KINDS}")
    parser.add_argument("path", nargs="?", metavar="PATH", help="for add: where the model lies")
    parser.add_argument("--name", help="what an added model is called; its folder's or file's name by default")
    parser.add_argument("--modality", choices=("CT", "MR"), help="of an added model that does not say")
    parser.add_argument("--trust", action="store_true", help="agree that an added model's own code runs: a MONAI bundle and a TorchScript file are programs")
    parser.add_argument("--sha256", metavar="HEX", help="of the file to install; it is refused if it has another")
    parser.add_argument("--replace", action="store_true", help="let install take the place of another model of the name")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace) -> int | None:
    if args.model is None and args.action in _NEEDS_ONE:
        raise BadInput(f"Which model? Say `diffseg models {args.action} NAME`; `diffseg models` lists the names.")
    if args.action == "add" and args.path is None:
        raise BadInput(f"Which model? Say `diffseg models add KIND PATH`; KIND is {_KINDS}.")
    if args.action != "add" and args.path is not None:
        raise BadInput(f"`diffseg models {args.action}` takes one model, not {args.path!r} too.")
    return {"list": _list, "info": _info, "install": _install, "add": _add, "verify": _verify, "remove": _remove}[args.action](args)


def _list(args: argparse.Namespace) -> None:
    from ..catalogue import catalogue
    from ..registry import model_rows

    rows = model_rows()
    here = {row["name"] for row in rows}
    absent = [entry for entry in catalogue().values() if entry.name not in here]
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    texts = [*map(_text, rows), *(f"{each.name}: {each.title}\n  not installed, {each.bytes / 1e6:.1f} MB: diffseg models install {each.name}" for each in absent)]
    print("\n\n".join(texts) or "There is no model; train one with `diffseg train head`, or set DIFFSEG_MODELS to a folder of them.")


def _info(args: argparse.Namespace) -> None:
    from ..catalogue import catalogue
    from ..model import describe_model
    from ..registry import find_model, model_files

    entry = catalogue().get(args.model)
    if entry is not None and args.model not in model_files():
        print(json.dumps(vars(entry), indent=2))  # not here yet
        return
    path = find_model(args.model)
    print(json.dumps({"file": str(path), **describe_model(path)}, indent=2))


def _install(args: argparse.Namespace) -> None:
    from ..installing import install

    with bar() as progress:
        path = install(args.model, sha256=args.sha256, replace=args.replace, progress=progress)
    print(json.dumps({"name": path.stem, "file": str(path)}) if args.json else f"{path.stem} is installed: {path}")


def _add(args: argparse.Namespace) -> None:
    from ..foreign.adding import add_foreign
    from ..foreign_file import read_foreign

    with bar() as progress:
        path = add_foreign(args.model, args.path, name=args.name, modality=args.modality or "", trust=args.trust, replace_old=args.replace, progress=progress)
    model = read_foreign(path)
    if args.json:
        print(json.dumps({"name": model.name, "file": str(path), "organs": list(model.organs)}))
    else:
        print(f"{model.name} is added: {', '.join(model.organs)}\ndiffseg segment INPUT -o OUTPUT --model {model.name}")


def _verify(args: argparse.Namespace) -> int:
    from ..installing import verify

    with bar() as progress:
        found = verify(args.model, progress)
    if args.json:
        print(json.dumps([{"name": each.name, "file": str(each.file), "problem": each.problem} for each in found], indent=2))
    else:
        print("\n".join(f"{each.name}: {each.problem or 'as it should be'}" for each in found))
    return int(any(each.problem for each in found))


def _remove(args: argparse.Namespace) -> None:
    from ..installing import remove

    path = remove(args.model)
    print(json.dumps({"name": args.model, "file": str(path)}) if args.json else f"{path} is removed.")


def _text(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['name']}: {row['error']}"
    spacing = " x ".join(f"{mm:g}" for mm in reversed(row["spacing_mm"]))
    return "\n".join((
        f"{row['name']}: {row['title']}",
        f"  {row['modality']}, {spacing} mm, {_names(row)}, {row['megabytes']:.1f} MB, SHA-256 {row['sha256'][:16]}...",
        *([f"  organs   {', '.join(row['organs'])}"] if row["organs"] else []),
        f"  source   {row['source'] or 'not stated'}",
        f"  licence  {row['licence'] or 'not stated'}",
        f"  Dice     {_dice(row['dice'])}",
    ))


def _names(row: dict[str, Any]) -> str:
    """What a model gives a name to; one without organs is of another kind."""
    if row["organs"]:
        return f"{len(row['organs'])} organs"
    return "any structure that is clicked" if row.get("clicks") else f"names no organs ({row.get('kind') or 'unknown kind'})"


def _dice(measured: Any) -> str:
    """A card's Dice: a mean, or {organ: mean}."""
    if not measured:
        return "not measured"
    if not isinstance(measured, dict):
        return f"{measured:.3f}"
    mean = math.fsum(measured.values()) / len(measured)
    return f"{mean:.3f}, the mean of {', '.join(f'{organ} {dice:.3f}' for organ, dice in measured.items())}"
