"""The models that `make evaluate` measures, and what every measurement of them shares on the command line."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Callable

from DiffSegCore.errors import BadInput
from DiffSegCore.model import Model
from DiffSegCore.registry import find_model, load_model, name_of
from DiffSegCore.resources import resource

from .held_out import DATA, HELD_OUT


def arguments(about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="NAME|PATH", help="one model instead of all that ship with DiffSeg")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="where the data sets lie")
    parser.add_argument("--cases", type=int, metavar="N", help="so many cases")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="records and tables: what is there is not computed again")
    return parser


def organ_models(wished: str | None) -> list[tuple[str, Model]]:
    """(name, model) of the wished one, or of every bundled model that names organs; says which ones it leaves out."""
    if wished:
        return [(name_of(find_model(wished)), load_model(wished))]
    there = {name_of(path): path for path in sorted(resource("Models").glob("*.safetensors"))}
    models = [(name, load_model(path)) for name, path in there.items()]
    for name in HELD_OUT.keys() - there.keys():
        say(f"{name}: not among the bundled models, left out")
    for name, model in models:
        if model.organs and name not in HELD_OUT:
            raise BadInput(f"{name} is bundled, and there are no cases to measure it on: give it a row in HELD_OUT of held_out.py.")
    return [(name, model) for name, model in models if model.organs]


def say(line: str) -> None:
    """Progress, apart from what is printed as a result."""
    print(line, file=sys.stderr, flush=True)


def ending(main: Callable[[], None]) -> int:
    """The exit code: 2 and a sentence for what the user can mend."""
    try:
        main()
    except BadInput as error:
        say(str(error))
        return 2
    return 0
