# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run would refuse at its start, and what would make it log gaps, found without a camera or an engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from vision_line.challenges.plan_file import load_plan, unknown_part_classes
from vision_line.config.camera_recipes import each_setting, named_classes, names_model, unknown_classes
from vision_line.config.feasible import need_in_words, rounded_up
from vision_line.config.load import LoadedConfig
from vision_line.config.models import Stream
from vision_line.config.toml import TomlTable, dotted, line_of, locate_keys
from vision_line.config.unknown_names import unknown_names
from vision_line.devices.model.failed_gates import gates_problem
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.preprocessing.shapes import plan_input_shapes
from vision_line.devices.selection import choose_device, decoder_opener, open_device
from vision_line.errors import ConfigError, DeviceError, ModelError
from vision_line.ingest.file_search import slow_file
from vision_line.ingest.probe import probe_file
from vision_line.ingest.wire.trust import ca_file_problem
from vision_line.output_files import output_problem
from vision_line.records.seal import load_signing_key
from vision_line.runtime.options import RunOptions, model_path
from vision_line.runtime.output_check import folder_problem
from vision_line.runtime.protected_files import file_outputs, kept_by_run, overwritten
from vision_line.runtime.run_models import RunModels, gate_reminders, open_recipe_model
from vision_line.telemetry.process import read_usage


class Preflight:
    """One configuration with the command line that it would run with; each problem is `file:line: key: what`."""

    def __init__(self, options: RunOptions, loaded: LoadedConfig) -> None:
        self._options = options
        self._loaded = loaded
        self._lines = locate_keys(loaded.path.read_text(encoding="utf-8"))
        self._model: Model | None = None
        self._recipe_models: dict[str, Model] = {}  # by recipe, of those that name one which can be read
        self._opened: list[str] = []  # what was opened to be sure, in words
        self._idle_gpus: list[str] = []
        self._streams = [(index, stream) for index, stream in enumerate(loaded.config.stream) if stream.enabled]

    def problems(self) -> list[str]:
        """Return all that a run would refuse at its start; what many cameras inherit is named once."""
        found = [
            *self._of_model(),
            *self._of_recipe_models(),
            *self._of_device(),
            *self._slow_files(),
            *self._of_outputs(),
            *self._of_challenges(),
        ]
        return list(dict.fromkeys(found))

    def classes_at(self, recipe: str, camera: str) -> tuple[str, ...] | None:
        """Return the classes of the model that inspects a camera under a recipe, "" for none.

        None where it cannot be read; ask for the problems before.
        """
        if self._model is None:
            return None
        if names_model(self._loaded.config, recipe, camera):
            return self._recipe_models[recipe].classes if recipe in self._recipe_models else None
        return self._model.classes

    def lost_cameras(self) -> dict[str, str]:
        """Return by name why a run would start and yet not inspect a camera: its file, or its `tls_ca_file`."""
        return dict([*self._unreadable_files(), *self._untrusting_cameras()])

    def warnings(self) -> list[str]:
        """Return what a run accepts and an operator will not want; ask for the problems before."""
        found = [*self._idle_gpus, *self._failed_gates(), *self._slow_cameras(), *self._unverified_cameras()]
        found += self._unknown_names()
        return list(dict.fromkeys(found))

    def notes(self) -> list[str]:
        """Return what the start of a run costs beyond the usual; ask for the problems before."""
        return list(self._opened)

    def place(self, stream: Stream, key: str) -> str:
        """Return `file:line: stream[name].key`, or where an enabled camera inherits the key from."""
        return self._at(next(index for index, one in self._streams if one.name == stream.name), stream, key)

    def _of_model(self) -> Iterator[str]:
        try:
            model = self._model = open_model(model_path(self._options, self._loaded))
        except ModelError as exc:
            yield f"{self._chosen('--model', self._options.model, 'path')}: {exc}"
        else:
            if problem := gates_problem(model, allowed=self._options.allow_failed_gates):
                yield f"{self._chosen('--model', self._options.model, 'path')}: {problem}"

    def _of_recipe_models(self) -> Iterator[str]:
        if (own := self._model) is None:
            return
        failed_are_allowed = self._options.allow_failed_gates
        for recipe in self._loaded.config.recipe:
            try:
                model = open_recipe_model(self._loaded, recipe, own, allow_failed_gates=failed_are_allowed)
            except ModelError as exc:
                yield f"{self._of_recipe(recipe)}: {exc}"
            else:
                self._recipe_models |= {} if model is None else {recipe: model}
        yield from self._unknown_classes(own)

    def _failed_gates(self) -> Iterator[str]:
        if self._model is not None and self._options.allow_failed_gates:
            yield from gate_reminders(self._models(self._model))

    def _models(self, own: Model) -> RunModels:
        return RunModels(own, self._recipe_models)

    def _of_recipe(self, recipe: str) -> str:
        path = ("recipe", recipe, "model")
        return f"{self._loaded.path}:{line_of(path, self._lines)}: {dotted(path, {})}"

    def _unknown_classes(self, model: Model) -> Iterator[str]:
        for index, stream in self._streams:
            for key, name in named_classes(stream):
                if name not in model.classes:
                    known = ", ".join(model.classes)
                    yield f"{self._at(index, stream, key)}.{name}: no class of the model, expected one of {known}"
        others = {recipe: named.classes for recipe, named in self._recipe_models.items()}
        for path, words in unknown_classes(self._loaded.config, model.classes, others):
            yield f"{self._loaded.path}:{line_of(path, self._lines)}: {dotted(path, {})}: {words}"

    def _unknown_names(self) -> Iterator[str]:
        if self._model is None:
            return
        config = self._loaded.config
        named: TomlTable = {"output": [{"name": output.name} for output in config.output]}
        for path, words in unknown_names(config, self._models(self._model).classes):
            yield f"{self._loaded.path}:{line_of(path, self._lines)}: {dotted(path, named)}: {words}"

    def _of_device(self) -> Iterator[str]:
        try:
            name = choose_device(self._options.device or self._loaded.config.model.device, self._idle_gpus.append)
        except DeviceError as exc:
            yield f"{self._chosen('--device', self._options.device, 'device')}: {exc}"
            return
        if self._model is None:
            return
        models = self._models(self._model)
        if name == "cpu":  # a GPU's first engine takes minutes to build
            yield from self._proven_here(models)
        elif len(models.by_key) > 1:
            self._opened.append(f"{_kept_open(models)}: each takes memory of its own on {name}")

    def _proven_here(self, models: RunModels) -> Iterator[str]:
        """Open each model once on the processor, as a run does at its start."""
        before_mb, began_s = read_usage().rss_mb, time.monotonic()
        devices = []
        for key, model in models.by_key.items():
            try:
                devices.append(open_device("cpu", model, plan_input_shapes(model, [], limit=1), lambda: None))
            except (DeviceError, ModelError) as exc:
                where = [self._of_recipe(recipe) for recipe in models.recipes_of(key)]
                for place in where or [self._chosen("--device", self._options.device, "device")]:
                    yield f"{place}: {exc}"
        if len(devices) > 1:
            self._opened.append(
                f"{_kept_open(models)}: at one input shape each they took"
                f" {time.monotonic() - began_s:.1f} s to open and about {read_usage().rss_mb - before_mb:.0f} MiB here"
            )
        for device in devices:
            device.close()

    def _slow_files(self) -> Iterator[str]:
        index_of = {stream.name: index for index, stream in self._streams}
        for stream in each_setting(self._loaded.config):
            if not stream.is_live and (problem := slow_file(stream)) is not None:
                yield f"{self._at(index_of[stream.name], stream, 'url')}: {problem}"

    def _unreadable_files(self) -> Iterator[tuple[str, str]]:
        for index, stream in self._streams:
            if not stream.is_live and (fault := probe_file(stream, decoder_opener("cpu"))).code is not None:
                yield stream.name, f"{self._at(index, stream, 'url')}: {fault.trouble}"

    def _untrusting_cameras(self) -> Iterator[tuple[str, str]]:
        for index, stream in self._streams:
            path = stream.tls_ca_file
            if stream.is_encrypted and path is not None and (problem := ca_file_problem(path)):
                yield stream.name, f"{self._at(index, stream, 'tls_ca_file')}: {path}: {problem}"

    def _unverified_cameras(self) -> Iterator[str]:
        for index, stream in self._streams:
            if stream.is_unverified:
                yield (
                    f"{self._at(index, stream, 'tls_verify')}: whoever answers is taken for this camera, and is told"
                    " its password: set tls_ca_file or tls_fingerprint instead"
                )

    def _of_outputs(self) -> Iterator[str]:
        config = self._loaded.config
        if problem := folder_problem(Path(config.record.directory)):
            yield f"{self._place('record', 'directory')}: {problem}"
        if config.record.signing_key is not None:
            try:
                load_signing_key(Path(config.record.signing_key))
            except ConfigError as exc:
                yield f"{self._place('record', 'signing_key')}: {exc}"
        if config.dashboard.svg is not None and (problem := output_problem(Path(config.dashboard.svg))):
            yield f"{self._place('dashboard', 'svg')}: {problem}"

        named = [(f"{self._place(*key.split('.'))}: {path}", path) for key, path in file_outputs(self._loaded).items()]
        yield from overwritten(named, kept_by_run(self._options, self._loaded))

    def _of_challenges(self) -> Iterator[str]:
        try:
            plan = load_plan(self._loaded)
        except ConfigError as exc:
            yield str(exc)
            return
        if plan is not None and self._model is not None:
            models = self._models(self._model)
            of_clip = partial(models.classes_of_clip, self._loaded.config)
            yield from unknown_part_classes(plan, models.classes, of_clip)

    def _slow_cameras(self) -> Iterator[str]:
        index_of = {stream.name: index for index, stream in self._streams}
        for stream in each_setting(self._loaded.config):
            index, safe_fps = index_of[stream.name], stream.safe_fps
            if stream.inspect_fps is not None and stream.inspect_fps < safe_fps:
                yield (
                    f"{self._at(index, stream, 'inspect_fps')}: found {stream.inspect_fps:g}: {need_in_words(stream)},"
                    f" but inspections fall on frames as they come: from {rounded_up(safe_fps)} on no part lacks one"
                )

    def _chosen(self, option: str, given: object, key: str) -> str:
        return option if given is not None else self._place("model", key)

    def _at(self, index: int, stream: Stream, key: str) -> str:
        """Return the place of a camera's key: its own, or where it inherits it from."""
        if ("stream", index, key) not in self._lines and ("defaults", key) in self._lines:
            return self._place("defaults", key)
        line = line_of(("stream", index, key), self._lines)
        return f"{self._loaded.path}:{line}: stream[{stream.name}].{key}"

    def _place(self, table: str, key: str) -> str:
        return f"{self._loaded.path}:{line_of((table, key), self._lines)}: {table}.{key}"


def _kept_open(models: RunModels) -> str:
    return f"{len(models.by_key)} models are kept open ({', '.join(model.name for model in models.by_key.values())})"
