# SPDX-License-Identifier: AGPL-3.0-or-later
"""`reviews.sqlite`, beside the record file: what people decide. Users of the desk, answers of reviewers, the journal.

Its writers are the desk and commands. It holds hashes of passwords, so nobody but its owner reads it.
"""

from __future__ import annotations

from vision_line.records import side_journal
from vision_line.records.file_identity import FileIdentity
from vision_line.records.side_file import SideFile

FILE_NAME = "reviews.sqlite"

#: Raise it with every change of the tables, and give `_ADDED` what the new version has.
SCHEMA_VERSION = 2

#: "vlrv".
APPLICATION_ID = 0x766C7276

#: `credential` is the number of the journal's entry that set the password: sessions of an earlier one are over.
_USERS = """CREATE TABLE users (
        user INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, password TEXT,
        credential INTEGER NOT NULL, added_utc REAL NOT NULL) STRICT"""

#: What joins and searches need of the answers; the whole of each is its entry, of the same `number`. `withdrawn` is the
#: number of the entry that took it back. What is sent twice has the same `submission`.
_ANSWERS = """CREATE TABLE answers (
        number INTEGER PRIMARY KEY, key TEXT NOT NULL, kind TEXT NOT NULL, run_id TEXT NOT NULL, id TEXT NOT NULL,
        person TEXT NOT NULL, at_utc REAL NOT NULL, verdict TEXT NOT NULL, class TEXT, is_second INTEGER NOT NULL,
        stratum TEXT NOT NULL, inclusion REAL NOT NULL, submission TEXT, withdrawn INTEGER,
        UNIQUE (person, submission)) STRICT"""

_ADDED: dict[int, tuple[str, ...]] = {
    1: (_USERS, *side_journal.TABLES),
    2: (_ANSWERS, "CREATE INDEX answers_by_key ON answers (key)"),
}
REVIEWS_FILE = SideFile(
    FILE_NAME, FileIdentity("a file of vision-line desk", APPLICATION_ID, SCHEMA_VERSION), _ADDED, {2: (_ANSWERS,)}
)

writing = REVIEWS_FILE.writing
reading = REVIEWS_FILE.reading
