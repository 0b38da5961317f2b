# SPDX-License-Identifier: AGPL-3.0-or-later
"""Options that several commands have, each with one name and one help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: Where records are, unless somebody says otherwise.
RECORDS = Path("records")
#: Ends the help of an option that may be repeated; begins that of a model, and is that of a device.
MORE = "; may be given more than once."
MODEL = "Model: a bundle folder or an ONNX file."
DEVICE = "Device: auto, cpu, cuda, cuda:1, cuda:0,1 or cuda:all."

Record = Annotated[Path, typer.Option("--record", metavar="DIR", help="Folder of the records.")]
#: The same of a command that reads `streams.toml`.
RecordOfLine = Annotated[
    Path | None,
    typer.Option("--record", metavar="DIR", help="Folder of the records. Default: as in streams.toml."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Output as JSON.")]
AllowFailedGates = Annotated[
    bool, typer.Option("--allow-failed-gates", help="Accept a model that failed its quality gates.")
]
Cameras = Annotated[list[str], typer.Option("--camera", metavar="NAME", help=f"Only this camera{MORE}")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="From this UTC time, or age such as 2h or 30m.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before this UTC time, or age.")]
