# SPDX-License-Identifier: AGPL-3.0-or-later
"""One term for one thing: docs/decisions/0018-vocabulary.md says which, and this holds it."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "app" / "vision_line", ROOT / "compression" / "vision_line_compression")
SUPPORT = (ROOT / "tests", ROOT / "benchmarks", ROOT / "tools")


class ModuleNames(NamedTuple):
    """What a module defines or uses by name, and which classes that are not private it defines."""

    identifiers: frozenset[str]
    classes: tuple[str, ...]


@cache
def modules(folders: tuple[Path, ...]) -> dict[Path, ModuleNames]:
    """Return the names in each module below `folders`. Their syntax trees, millions of objects, are not kept."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py")) if path.name != "__init__.py"]
    return {path: names_of(path.stem, ast.parse(path.read_text(encoding="utf-8"))) for path in paths}


def names_of(stem: str, tree: ast.Module) -> ModuleNames:
    """Return the names in a tree; the file's own is one of them."""
    nodes = list(ast.walk(tree))
    classes = tuple(node.name for node in nodes if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))
    return ModuleNames(frozenset({stem, *identifiers(nodes)}), classes)


def identifiers(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Yield what is defined or used by name."""
    for node in nodes:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Attribute(attr=name) | ast.Name(id=name):
                yield name


PAGE = (ROOT / "docs" / "decisions" / "0018-vocabulary.md").read_text(encoding="utf-8")

#: Words that left the code, and the term that took their place. A word is added once no identifier holds it any more.
FORMER_WORDS = {
    "anatomy": "structure",
    "bell": "wake-up event",
    "blame": "cause",
    "carrier": "pass-through op",
    "carriers": "pass-through op",
    "chooser": "sampler",
    "conversation": "RTSP session",
    "disorder": "order errors",
    "doorbell": "wake-up event",
    "durable": "commit latency",
    "echoes": "duplicate hits",
    "forget": "acknowledge, remove",
    "form": "variant; layout, format",
    "forms": "variants",
    "harvest": "capture result",
    "heal": "fine-tune",
    "hungry": "accepting",
    "inspector": "scheduler",
    "judge": "check, evaluate",
    "judged": "checked, evaluated",
    "judgement": "result",
    "keeper": "evidence writer",
    "lessons": "distillation",
    "lineup": "camera manager",
    "look": "inspection, inspected frame, check",
    "looks": "inspections",
    "outlet": "frame sink",
    "picture": "frame (video), image (file)",
    "pictures": "frames (video), images (file)",
    "revoke": "detach",
    "seat": "camera slot",
    "sibling": "variant",
    "siblings": "variants",
    "sighting": "true box",
    "sightings": "true boxes",
    "spoil": "corrupt",
    "spoiled": "corrupted",
    "starved": "zero-range input",
    "stations": "managed cameras",
    "stripe": "barcode",
    "subject": "device under test",
    "tell": "on_status, report",
    "tells": "report",
    "told": "reported, known",
    "twin": "variant, counterpart",
    "twins": "variants",
    "viewer": "client",
    "viewers": "client",
    "vitals": "connection stats",
}

#: Names that hold such a word and stay: keys of public formats, and other libraries' names.
PUBLIC_NAMES = {
    "PictureType",
    "SubjectAlternativeName",
    "SubjectKeyIdentifier",
    "binary_form",
    "create_engine_inspector",
    "durable_ms",
    "form",
    "form_reason",
    "forms",
    "judge",
    "judged_by",
    "min_looks",
    "picture_fps",
    "picture_wh",
    "pictures",
    "tell",
}

#: Former words that tests, benchmarks and tools may use, most of them in another sense.
SUPPORT_WORDS = {
    "bell",
    "blame",
    "carrier",
    "carriers",
    "disorder",
    "forget",
    "form",
    "inspector",
    "look",
    "sibling",
    "spoil",
    "spoiled",
    "subject",
}

#: The same for names of classes and functions whose words are good elsewhere.
FORMER_NAMES = {
    "CompressedPicture": "EncodedFrame",
    "DecodedPicture": "DecodedFrame",
    "Doorbell": "WakeUp",
    "Found": "DetectionColumns, GpuFound",
    "Judgement": "CameraHealth",
    "Kinds": "a file in pipeline/steps",
    "Known": "TrackColumns",
    "Lines": "CameraSet",
    "Lineup": "CameraManager",
    "Look": "InspectedFrame, StateStyle",
    "MinuteBook": "MinuteCounters",
    "ObservationWindow": "InspectionWindow",
    "Outlet": "FrameSink",
    "Piece": "Segment",
    "ProtectSettings": "MixedPrecisionSettings",
    "Protection": "MixedPrecision",
    "Round": "SchedulerUpdate",
    "ServerOrder": "ServerConfig",
    "Sighting": "Observation",
    "Station": "ManagedCamera",
    "Stock": "StorageUsage",
    "Subject": "DeviceUnderTest",
    "Trained": "TrainedModel",
    "Viewer": "Client",
    "Vitals": "ConnectionStats",
    "sign_image": "fingerprint_of",
    "weight_of": "estimated_bytes",
}

#: File names that occur more than once, each with the one thing that it means everywhere.
SHARED_FILE_NAMES = {
    "backend": "how one kind of device carries batches out",
    "capture": "capturing images: the command and the work",
    "challenge": "a challenge of known parts: the command and its arithmetic",
    "commands": "command lines: what both programs share, and the work of each command",
    "context": "what everything under way shares",
    "export": "writing in another form what is there: a command and a step",
    "files": "working with files",
    "graph": "nodes and what they need",
    "latency": "the latency table: measured by a step, read by the planner",
    "plan": "the pruning plan: made by a step, and its form",
    "progress": "how far work is, on a terminal",
    "prune": "removing: a command and a step",
    "report": "what was found, for a reader",
    "robustness": "corruption robustness: a step and the work",
    "run": "a run: the command and its life",
    "selftest": "the self-test: the command and the work",
    "settings": "a stage's settings",
    "speed": "speed: a step and the work",
}


def words_of(identifier: str) -> set[str]:
    """Return the words of a snake_case or CamelCase name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)}


def definitions() -> dict[str, list[Path]]:
    """Return the modules that define each class that is not private."""
    found = defaultdict(list)
    for path, names in modules(PACKAGES).items():
        for name in names.classes:
            found[name].append(path)
    return found


def test_words_of_names() -> None:
    """In every way of writing a name."""
    assert words_of("HTTPServer_forLooks") == {"http", "server", "for", "looks"}


def former_words(name: str) -> set[str]:
    """Return the words of the name that left the code; a public name may have them."""
    return words_of(name) & FORMER_WORDS.keys() if name not in PUBLIC_NAMES else set()


def term_of(name: str) -> str | None:
    """Return the term that took the place of the name or of a word in it, None where it is in use."""
    return FORMER_NAMES.get(name) or next((FORMER_WORDS[word] for word in former_words(name)), None)


def places(folders: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Yield the file and the name of each identifier."""
    for path, names in modules(folders).items():
        for name in names.identifiers:
            yield str(path.relative_to(ROOT)), name


def test_former_words_do_not_come_back() -> None:
    """Neither as a word of a name nor as a whole name."""
    back = {(path, name): term_of(name) for path, name in places(PACKAGES)}

    assert not {place: term for place, term in back.items() if term}


def test_former_words_do_not_come_back_into_tests_and_benchmarks() -> None:
    """They speak of the product, and so with its words; `SUPPORT_WORDS` are left out."""
    paths = [path for folder in SUPPORT for path in sorted(folder.rglob("*.py"))]
    assert len(paths) > 500
    back = {str(path.relative_to(ROOT)): {*filter(left_support, named_in(path))} for path in paths}

    assert not {path: names for path, names in back.items() if names}


@cache
def left_support(name: str) -> bool:
    """Whether a name of tests, benchmarks or tools holds a word that left them too."""
    return bool(former_words(name) - SUPPORT_WORDS)


def named_in(path: Path) -> frozenset[str]:
    """Return the names in a file that may hold former words; none without parsing where its text has no such word."""
    text = path.read_text(encoding="utf-8")
    if not any(left_support(word) for word in {path.stem, *re.findall(r"[^\W\d]\w*", text)}):
        return frozenset()
    return names_of(path.stem, ast.parse(text)).identifiers


def test_a_former_word_is_found_in_a_file(tmp_path: Path) -> None:
    """In its name or in a name of it, and not in what it says."""
    for name, text, expected in (
        ("test_seat", "", {"test_seat"}),
        ("test_slot", "class OneSeat:\n    pass", {"OneSeat"}),
        ("test_said", "'a seat'  # the seat", set()),
    ):
        path = tmp_path / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        assert {*filter(left_support, named_in(path))} == expected


def test_a_class_name_means_one_thing() -> None:
    """So it can be looked up, and said, without its module."""
    assert not {name: paths for name, paths in definitions().items() if len(paths) > 1}


def test_a_file_name_means_one_thing() -> None:
    """Where it occurs more than once, `SHARED_FILE_NAMES` says what it means in every place."""
    found = Counter(path.stem for path in modules(PACKAGES) if not path.stem.startswith("_"))

    assert {name for name, times in found.items() if times > 1} == SHARED_FILE_NAMES.keys()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([A-Z][a-zA-Z]+)`", PAGE))))
def test_the_page_names_classes_that_are_there(name: str) -> None:
    """As the code has them today."""
    assert name in definitions()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:\w+/)*\w+(?:\.py|/))`", PAGE))))
def test_the_page_names_files_that_are_there(name: str) -> None:
    """Each by its path below a package."""
    assert any((package / name).exists() for package in (*PACKAGES, ROOT))
