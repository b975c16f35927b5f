"""Every sentence that the module can show when something fails is in docs/Troubleshooting.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Iterator

import pytest

from conftest import EXTENSION

ROOT = EXTENSION.parent
PAGE = " ".join((ROOT / "docs" / "Troubleshooting.md").read_text(encoding="utf-8").split())
RAISED = ("BadInput", "Failure", "SetupError", "ValueError")
LONG = 25  # letters: a shorter piece between two values says too little to look for


def sentences(file: Path) -> Iterator[str]:
    """The longest fixed piece of each sentence that a file raises for a user."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED and node.args:
            text = node.args[-1]
            pieces = [text] if isinstance(text, ast.Constant) else getattr(text, "values", [])
            longest = max((each.value for each in pieces if isinstance(each, ast.Constant) and isinstance(each.value, str)), key=len, default="")
            if len(longest) >= LONG:
                yield " ".join(longest.split())


FILES = sorted([*EXTENSION.rglob("*.py"), *(ROOT / "DiffSegCore" / "service").glob("*.py")])
SAID = sorted({sentence for file in FILES for sentence in sentences(file)})


@pytest.mark.parametrize("sentence", SAID, ids=lambda text: re.sub(r"\W+", " ", text)[:50])
def test_the_page_has_it(sentence):
    assert sentence in PAGE


def test_the_page_has_a_section_for_each_kind_and_its_sentence(window):
    from DiffSegLib import Messages

    for kind in Messages.KINDS:
        assert f"## {kind}" in PAGE
        assert Messages.sentence(kind, "") in PAGE
