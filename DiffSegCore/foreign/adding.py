"""Another tool's model is added: looked at without running it, checked that it can be used, and written down."""
from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from ..errors import BadInput
from ..foreign_file import KINDS, RUNS_CODE, SUFFIX, ForeignModel, write_foreign
from ..progress import Progress, silent
from ..registry import model_files, own_folders
from . import bundle, bundle_folder, nnunet, nnunet_folder, torchscript


def add_foreign(kind: str, path: str | Path, *, name: str | None = None, modality: str = "", trust: bool = False, replace_old: bool = False,
                progress: Progress = silent) -> Path:
    """Write down another tool's model so that it segments by its name; returns the file that says so. The weights stay where they are.

    kind: a key of KINDS; path: its folder or file; modality: "CT" or "MR" where the model does not say; trust: its code may run.
    Raises BadInput for what is missing, of the model or of the packages that it needs, and for code without `trust`.
    """
    path = Path(path)
    if kind not in KINDS:
        raise BadInput(f"There is no kind {kind!r} of other tools' models; there are {', '.join(KINDS)}.")
    if not path.exists():
        raise BadInput(f"There is no {KINDS[kind]} model at {path}; check the path.")
    name = _name(name or (path.stem if path.is_file() else path.resolve().name))
    _check_free(name, replace_old)
    if kind in RUNS_CODE and not trust:
        raise BadInput(f"A {KINDS[kind]} model is a program: using it runs its code with your rights, on your data. If you know where {path} comes from and "
                       "trust it, say so with --trust; the files as they are now are then used, and none that was changed later.")
    progress(0.1, "Reading the model")
    model = replace(_looked(kind, path, name, modality), trusted=trust)
    target = own_folders()[0] / f"{name}{SUFFIX}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"Cannot make the folder {target.parent}: {error.strerror}; name another in DIFFSEG_MODELS.") from error
    write_foreign(model, target)
    return target


def _looked(kind: str, path: Path, name: str, modality: str) -> ForeignModel:
    if kind == "nnunet":
        nnunet.check_installed()
        return nnunet_folder.look(path, name, modality)
    if kind == "monai":
        bundle.check_installed()
        return bundle_folder.look(path, name, modality)
    return torchscript.look(path, name, modality)


def _name(word: str) -> str:
    plain = re.sub(r"[^\w.-]+", "_", word).strip("._")
    if not plain:
        raise BadInput(f"{word!r} is no name for a model; give one with --name.")
    return plain


def _check_free(name: str, replace_old: bool) -> None:
    present = model_files().get(name)
    if present is not None and not (replace_old and present.name.endswith(SUFFIX)):
        raise BadInput(f"There is a model {name!r} already ({present}); choose another with --name, or remove that one first.")
