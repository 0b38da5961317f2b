# SPDX-License-Identifier: AGPL-3.0-or-later
"""The recipes of docs/deploy.md for a backup and for putting it back, run as they stand there, in other folders."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.desk_records import writing
from tests.fakes.made_parts import enter_part

from vision_line.config.output_settings import OutputSettings
from vision_line.outputs.cursor_file import CursorFile
from vision_line.outputs.follower import Follower
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.notification import Notification

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
#: What the recipes call, as far as they need it: a test's machine need not have it.
PROGRAMS = {
    "systemctl": "",
    "sqlite3": """
import shlex, sqlite3, sys
source, copy = sqlite3.connect(sys.argv[1]), sqlite3.connect(shlex.split(sys.argv[2])[1])
source.backup(copy)
source.close(), copy.close()
""",
    "rsync": """
import subprocess, sys
from pathlib import Path
*found, into = [one for one in sys.argv[1:] if not one.startswith("-")]
subprocess.run(["cp", "-a", *(one for one in found if Path(one).exists()), into], check=True)
""",
    "vision-line": "from vision_line.cli import main\nraise SystemExit(main())",
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return the folders of the records and of the backup."""
    for name, program in PROGRAMS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{program}\n", encoding="utf-8")
        path.chmod(0o755)
    made = tmp_path / "records", tmp_path / "backup"
    for folder in made:
        folder.mkdir()
    return made


def carry_out(title: str, folders: tuple[Path, Path]) -> None:
    """Run the first block of commands below a title of the page."""
    found = re.search(rf"^## {title}$.*?^```$(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    records, backup = folders
    commands = found[1].replace("/var/lib/vision-line/records", str(records)).replace("/backup", str(backup))
    path = f"{records.parent / 'bin'}:{os.environ['PATH']}"
    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], env={**os.environ, "PATH": path}, check=True)


def heard(directory: Path) -> list[Notification]:
    """Return what an output is told, from where it is in `outputs.sqlite`."""
    asked = OutputSettings(name="plant", since="all", kinds=["event", "part"])
    found: list[Notification] = []
    with closing(JournalSources(directory)) as sources, closing(CursorFile(directory)) as cursors:
        for source in sources.followed(asked):
            follower = Follower(asked, source, cursors)
            while (batch := follower.next(20)) is not None:
                follower.done(batch)
                found += batch.messages
    return found


def record(directory: Path, events: int) -> None:
    with writing(directory) as rows:
        run = rows.run(0, 60, "cam1")
        for number in range(events):
            rows.images(rows.event(run, "cam1", 1.0 + number), b"an image")
    enter_part(directory)


def test_what_is_put_back_is_whole_and_outputs_go_on(folders: tuple[Path, Path]) -> None:
    """Both recipes end with `verify`, which fails them where something is not as it was recorded."""
    records, _ = folders
    record(records, 3)
    assert [said.kind for said in heard(records)] == ["event"] * 3 + ["part"]
    carry_out("Backup", folders)

    enter_part(records)
    with writing(records) as rows:
        rows.event(1, "cam1", 9.0)
    assert len(heard(records)) == 2
    carry_out("Restore", folders)
    assert [said.kind for said in heard(records)] == ["fork", *["event"] * 3, "fork", "part"]

    shutil.rmtree(records)  # a new disk: the place of the output comes from the backup as well
    records.mkdir()
    carry_out("Restore", folders)
    enter_part(records)
    assert [(said.kind, said.number) for said in heard(records)] == [("part", 2)]
