# SPDX-License-Identifier: AGPL-3.0-or-later
"""The texts of a case's archive: what a person opens first, the rows, and what proves them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from io import BytesIO, StringIO

from vision_line import __version__
from vision_line.desk.cases.case_contents import CaseContents, CaseMember
from vision_line.desk.cases.case_files import FileFate
from vision_line.desk.cases.record_check import CheckedRecord
from vision_line.desk.rendering import rendered
from vision_line.records.columns import COLUMNS
from vision_line.records.formats import iso_utc, spreadsheet_text, write_csv, write_jsonl
from vision_line.reviews.answer import body_of

_FILE_COLUMNS = ("file", "what", "state", "said", "sha256", "recorded_as", "recorded_sha256")


def documents(contents: CaseContents, fates: Sequence[FileFate], checked: CheckedRecord) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of each, in their order; what is opened first comes last, when all is known."""
    for table, rows in contents.tables.items():
        for ending, writer in (("csv", write_csv), ("json", write_jsonl)):
            into = BytesIO()
            writer(into, COLUMNS[table], [rows])
            data = into.getvalue()
            yield f"rows/{table}.{ending}", data if ending == "csv" else _json_array(data)
    yield "rows/files.csv", _files_csv(fates)
    yield "rows/settings.json", _json([_settings(member) for member in contents.members if member.found is not None])
    yield "rows/journal.json", _json(_journal(contents, checked))
    yield "rows/case.json", _json(_case(contents))
    yield "rows/reviews.json", _json(_reviews(contents))
    yield "index.html", _index(contents, fates, checked).encode("utf-8", "backslashreplace")
    yield "README.txt", _readme(contents, fates, checked).encode("utf-8", "backslashreplace")


def record_said(checked: CheckedRecord) -> str:
    """Return what to say of the record that the files come from."""
    at = iso_utc(checked.at_utc)
    if checked.holds is None:
        return f"NOT CHECKED: {checked.said} ({at})"
    if checked.holds:
        return f"The record was what was written when it was checked at {at}: {checked.said}"
    return f"THE RECORD IS NOT WHAT WAS WRITTEN, as a check at {at} found: {checked.said}"


def lacking(fates: Sequence[FileFate]) -> list[FileFate]:
    """Return the files that are not in the archive."""
    return [one for one in fates if not one.fate.is_in]


def _json(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=True, indent=1, allow_nan=False) + "\n").encode()


def _json_array(lines: bytes) -> bytes:
    return b"[\n" + b",\n".join(lines.splitlines()) + b"\n]\n"


def _files_csv(fates: Sequence[FileFate]) -> bytes:
    into = StringIO(newline="")
    writer = csv.writer(into)
    writer.writerow(_FILE_COLUMNS)
    for one in fates:
        wanted = one.wanted
        cells = (wanted.what, one.fate.value, one.said, one.sha256, wanted.path, wanted.sha256 or "")
        writer.writerow(map(spreadsheet_text, (wanted.place if one.fate.is_in else "", *cells)))
    return into.getvalue().encode("utf-8-sig", "backslashreplace")


def _settings(member: CaseMember) -> dict[str, object]:
    """Return what was set of an event's camera, and where the event is in the journal."""
    since_utc = member.settings.since_utc
    return {
        "folder": member.name,
        "run_id": member.event.run_id,
        "event_id": member.event.event_id,
        "camera": member.event.camera,
        "settings_since_utc": None if since_utc is None else iso_utc(since_utc),
        "settings": member.settings.values,
    }


def _journal(contents: CaseContents, checked: CheckedRecord) -> dict[str, object]:
    return {
        "record_head": {"entry": contents.head_number, "sha256": contents.head},
        "reviews_head": {"sha256": contents.reviews_head},
        "record_checked": {**asdict(checked), "at_utc": iso_utc(checked.at_utc)},
        "events": [
            {
                "run_id": member.event.run_id,
                "event_id": member.event.event_id,
                "first_entry": member.first_entry,
                "last_entry": member.last_entry,
            }
            for member in contents.members
        ],
    }


def _case(contents: CaseContents) -> dict[str, object]:
    case = contents.case
    return {
        "number": case.number,
        "name": case.name,
        "note": case.note,
        "made_by": case.by,
        "made_utc": iso_utc(case.made_utc),
        "state": "open" if case.is_open else "closed",
        "archive_made_utc": iso_utc(contents.made_utc),
        "vision_line": __version__,
        "events": [{**asdict(member.event), "folder": member.name, **_row(member)} for member in contents.members],
        "entries": [
            {"entry": one.number, "what": one.kind, "at_utc": iso_utc(one.at_utc), **one.body} for one in case.entries
        ],
    }


def _reviews(contents: CaseContents) -> list[dict[str, object]]:
    """Return what people said of the events; of each person what counts, with the entry that has it."""
    return [
        {
            "run_id": event.run_id,
            "event_id": event.event_id,
            "entry": answer.number,
            "at_utc": iso_utc(answer.at_utc),
            **body_of(answer, is_second=answer.is_second),
        }
        for event in contents.case.events
        for answer in contents.answers_for(event)
    ]


def _row(member: CaseMember) -> Mapping[str, object]:
    row = "in the records" if member.found is not None else "removed from the records"
    return {"row": row, "challenge_part": member.is_challenge}


def _index(contents: CaseContents, fates: Sequence[FileFate], checked: CheckedRecord) -> str:
    return rendered(
        "case_index.html",
        contents=contents,
        case=contents.case,
        checked=checked,
        record_said=record_said(checked),
        fates={one.wanted.place: one for one in fates},
        lacking=lacking(fates),
    )


def _readme(contents: CaseContents, fates: Sequence[FileFate], checked: CheckedRecord) -> str:
    case = contents.case
    challenged = sum(member.is_challenge for member in contents.members)
    gone = [member for member in contents.members if member.found is None]
    lines = [
        f"Case {case.number}: {case.name}",
        "",
        record_said(checked),
        *(
            []
            if checked.holds
            else ["Each file below was still compared with the SHA-256 that its row in the record says."]
        ),
        "",
        f"Made by {case.by} at {iso_utc(case.made_utc)}; it is {'open' if case.is_open else 'closed'}.",
        f"This archive: vision-line {__version__}, {iso_utc(contents.made_utc)}; {len(contents.members)} events.",
        *([f"OF CHALLENGE PARTS, and no products: {challenged} of them (rows/case.json)."] if challenged else []),
        f"Head of the record's journal: entry {contents.head_number}, {contents.head or 'none'}",
        f"Head of the journal of what people decided: {contents.reviews_head or 'none'}",
        "",
        *([case.note, ""] if case.note else []),
        "Open index.html in a browser: each event with its images and clips. It asks nothing of any network.",
        "",
        "events/      of each event the untouched image, the image with boxes, and the enlarged defect",
        "clips/       the video around the events",
        "rows/        the rows of the record as tables (CSV) and for programs (JSON), times in UTC:",
        "             events, clips, cameras, runs; files.csv says of every file what became of it;",
        "             settings.json what was set of the cameras; journal.json where the events are in the journal;",
        "             reviews.json what people said of the events; case.json the case and every change of it",
        "SHA256SUMS   check all files with: sha256sum -c SHA256SUMS",
        "             on Windows, of one file: certutil -hashfile FILE SHA256",
        "",
        "The heads prove something where they were kept elsewhere before: vision-line verify --head HASH says whether",
        "the record still holds one. SHA256SUMS shows that this archive is whole, not who made it.",
        "",
        *_lacking_said(gone, lacking(fates)),
    ]
    return "\r\n".join(lines) + "\r\n"


def _lacking_said(gone: Sequence[CaseMember], missing: Sequence[FileFate]) -> Iterator[str]:
    if not gone and not missing:
        yield "Nothing is missing: every file that the rows name is here."
        return
    yield "NOT IN THIS ARCHIVE:"
    for member in gone:
        event = f"event {member.event.event_id} of {member.event.camera}"
        yield f"- the row and all files of {event}: removed from the records"
    for one in missing:
        yield f"- {one.wanted.place}: {one.fate.value}: {one.said}"
