"""Whether what another tool's model needs is installed; a sentence says what to install."""
from __future__ import annotations

import importlib
import os
from contextlib import contextmanager, redirect_stdout
from typing import Any, Iterator

from ..errors import BadInput

INSTALL = {
    "nnunetv2": "pip install nnunetv2 (where torchvision, which it asks for, does harm: pip install --no-deps nnunetv2 "
                "dynamic_network_architectures acvl_utils batchgenerators batchgeneratorsv2, and what they name)",
    "monai": "pip install monai",
}


def needed(module: str, package: str) -> Any:
    """The module, or BadInput that names what is missing of the package and how to get it."""
    try:
        with quietly():
            return importlib.import_module(module)
    except ImportError as error:
        missing = getattr(error, "name", None) or package
        raise BadInput(f"This model needs {package}, and {missing} is missing ({error}); install it with: {INSTALL.get(package, f'pip install {missing}')}.") from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without what other people's packages print, which would get among what is printed for programs to read."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield
