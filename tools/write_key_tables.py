# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write the tables of keys in README and docs/ from the models, so that they cannot disagree.

A table stands above a marker `<!-- keys: module:Model -->`. Usage: python tools/write_key_tables.py [--check]
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"((?:^\|[^\n]*\n)*)<!-- keys: ([\w.]+):(\w+) -->", re.MULTILINE)


def filled(text: str) -> str:
    """Return `text` with the table above each marker made anew."""
    return _BLOCK.sub(_table, text)


def _table(match: re.Match[str]) -> str:
    model: type[BaseModel] = getattr(importlib.import_module(match[2]), match[3])
    inherited = {name for parent in model.__mro__[1:] for name in getattr(parent, "model_fields", {})}
    fields = {name: field for name, field in model.model_fields.items() if name not in inherited}
    said = {name: one.get("description") for name, one in model.model_json_schema()["properties"].items()}
    # A public key without a default is an output or must be given; the column would say nothing.
    has_defaults = any(not field.is_required() for field in fields.values())
    head = "| key | default | meaning |\n|---|---|---|\n" if has_defaults else "| key | meaning |\n|---|---|\n"
    rows = (
        f"| `{name}` |{f' {_default(field)} |' if has_defaults else ''} {said[name]}{_choices(field)} |\n"
        for name, field in fields.items()
    )
    return f"{head}{''.join(rows)}<!-- keys: {match[2]}:{match[3]} -->"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return "–" if value is None else f"`{json.dumps(value)}`"


def _choices(field: FieldInfo) -> str:
    words = [word for word in get_args(field.annotation) if isinstance(word, str)]
    return f" One of {', '.join(f'`{word}`' for word in words)}." if len(words) > 1 else ""


def main() -> None:
    """Rewrite the documents, or with --check fail where one would change."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        new = filled(text)
        if "--check" in sys.argv and new != text:
            sys.exit(f"{document.name}: its key tables are old, run tools/write_key_tables.py")
        if new != text:
            document.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
