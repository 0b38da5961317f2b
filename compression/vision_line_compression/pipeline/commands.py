# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recipe's commands once its inputs were checked: each does its stages and says where the results are."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from vision_line.errors import ConfigError
from vision_line_compression.bundle.bundle_writer import amend_bundle
from vision_line_compression.evaluate.gates import exit_code
from vision_line_compression.pipeline.cluster_run import SharedRun, check_shareable
from vision_line_compression.pipeline.graph import CompressionPipeline
from vision_line_compression.pipeline.inputs import check_budgets, check_keep_float, open_inputs
from vision_line_compression.pipeline.recipe import LoadedRecipe, load_recipe
from vision_line_compression.pipeline.stage import Stage, Workspace
from vision_line_compression.pipeline.stage_machine import this_machine
from vision_line_compression.pipeline.steps.latency import LATENCY
from vision_line_compression.pipeline.steps.pack import BUNDLE
from vision_line_compression.pipeline.steps.plan import PLAN, PLOT
from vision_line_compression.pipeline.steps.train import TRAINED
from vision_line_compression.progress import ProgressDisplay
from vision_line_compression.prune.latency import LatencyTable
from vision_line_compression.report.card import REPORT_FILE, ReportCard
from vision_line_compression.report.page import PAGE_FILE

RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class CompressionSession:
    """A recipe whose inputs were checked, and the commands on it. A stage whose predecessors are missing is refused."""

    pipeline: CompressionPipeline
    workspace: Workspace
    screen: ProgressDisplay
    loaded: LoadedRecipe

    @property
    def recipe_file(self) -> Path:
        """The recipe, as it was named."""
        return self.loaded.path

    def share(self, address: str) -> None:
        """Do all that bundle and report need on the Ray cluster at `address`, but for what is of this machine alone.

        Raises:
            As `SharedRun.carry_out`.
        """
        SharedRun(self.pipeline, self.workspace, self.loaded, self.screen).carry_out(address)

    def check_images(self) -> None:
        """Decode every image, once for all runs in a folder.

        Raises:
            ConfigError: naming those that cannot be.
        """
        if not self.workspace.is_done(self.pipeline.data_check):
            self._ensure((self.pipeline.data_check,))

    def measure_latency(self) -> LatencyTable | None:
        """Return what convolutions cost on this machine, measured once; None where no budget asks for it."""
        stage = self.pipeline.latency
        if stage is None:
            return None
        self._ensure((stage,))
        marker = self.workspace.marker(stage)
        if marker is not None and marker.machine != this_machine():
            self.screen.warn(
                f"latency: measured on {marker.machine or 'a machine that was not recorded'}: budgets of latency are of"
                f" that machine; to plan and train for this one, remove {self.workspace.folder(stage)}"
            )
        return LatencyTable.read(self.workspace.folder(stage) / LATENCY)

    def plan(self) -> None:
        """Do the plan; with intermediate steps this trains them first.

        Raises:
            ConfigError: the recipe prunes nothing.
        """
        chain = self.pipeline.chain
        if chain is None:
            raise ConfigError(f"{self.recipe_file}: prune: is missing, so there is nothing to plan")
        stage = chain.plans[-1]
        self._ensure((stage,))
        for name in (PLAN, PLOT):
            typer.echo(str(self.workspace.folder(stage) / name))

    def prune(self) -> None:
        """Prune and recover; where nothing is pruned, train on.

        Raises:
            ConfigError: the recipe does neither.
        """
        if self.loaded.recipe.recover is None:
            raise ConfigError(f"{self.recipe_file}: recover: is missing, so there is nothing to prune or train")
        if self.pipeline.chain is not None:
            self._require(self.pipeline.chain.plans[:1], "plan")
        self._ensure(self.pipeline.fine_tuned.checkpoint.after)
        typer.echo(str(self.pipeline.fine_tuned.checkpoint.path))

    def distill(self) -> None:
        """Train with the teacher; where the recipe wants it, without one too, and choose.

        Raises:
            ConfigError: the recipe trains nothing.
        """
        if not self.loaded.recipe.trains:
            raise ConfigError(f"{self.recipe_file}: distill: is missing, as is [recover], so there is nothing to train")
        self._require(self.pipeline.fine_tuned.checkpoint.after, "prune")
        self._ensure(self.pipeline.chosen.checkpoint.after)
        typer.echo(str(self.pipeline.chosen.checkpoint.path))

    def quantize(self) -> None:
        """Quantize and pack."""
        self._require(self.pipeline.chosen.checkpoint.after, "distill")
        self.pack()

    def pack(self) -> None:
        """Do all that the bundle needs, and put a copy of it where it is easily found."""
        typer.echo(f"bundle: {self._show_bundle()}")

    def report(self) -> int:
        """Do all that the report needs; return the exit code of its gates."""
        self._require((self.pipeline.quantized,), "quantize")
        self._ensure((self.pipeline.report,))
        folder = self.workspace.folder(self.pipeline.report)
        for name in (REPORT_FILE, PAGE_FILE):
            shutil.copyfile(folder / name, self.workspace.root / name)
            typer.echo(f"report: {self.workspace.root / name}")
        card = ReportCard.read(folder / REPORT_FILE)
        for gate in card.gates:
            found = "not measured" if gate.found is None else f"{gate.found:.4g}"
            typer.echo(f"{'passed' if gate.passed else 'FAILED'}  {gate.title}: {found}, limit {gate.limit:.4g}")
        if (self.workspace.folder(self.pipeline.bundle) / BUNDLE).is_dir():  # else deleted, and what is shown stays
            self._show_bundle()
        return exit_code(card.gates)

    def _show_bundle(self) -> Path:
        """Copy this recipe's bundle to where it is easily found, and return that folder.

        The stage's bundle says that its gates were not checked; the copy names those that its model did not pass as
        soon as this very recipe has its report. Beside it goes the float checkpoint that it was made of: whoever trains
        on, on reviewed images, begins with it.
        """
        self._ensure((self.pipeline.bundle,))
        made, shown = self.workspace.folder(self.pipeline.bundle) / BUNDLE, self.workspace.root / BUNDLE
        shutil.copytree(made, shown, dirs_exist_ok=True)
        if self.workspace.is_done(self.pipeline.report):
            card = ReportCard.read(self.workspace.folder(self.pipeline.report) / REPORT_FILE)
            amend_bundle(shown, {"failed_gates": tuple(gate.title for gate in card.gates if not gate.passed)})
        trained, kept = self.pipeline.finished.checkpoint.path, self.workspace.root / TRAINED
        # folders of trainings may have been deleted to save space; what was not trained may be what lies there already
        if trained.is_file() and trained.resolve() != kept.resolve():
            shutil.copyfile(trained, kept)
        return shown

    def _ensure(self, stages: tuple[Stage, ...]) -> None:
        for stage in stages:
            if self.workspace.is_done(stage):
                self.screen.unchanged(stage.name)
            else:
                self.workspace.ensure(stage, self.screen.stage)

    def _require(self, stages: tuple[Stage, ...], command: str) -> None:
        for stage in stages:
            self.workspace.require(stage, f"vision-line-compress {command} {self.recipe_file}")


def open_session(
    recipe_file: Path,
    checkpoint: Path | None,
    data_yaml: Path | None,
    work: Path | None,
    more_data: Sequence[Path] = (),
    *,
    trains_here: bool = True,
) -> CompressionSession:
    """Read a recipe and check all that it names before anything is done.

    Unless it `trains_here` a cluster has the training device.

    Raises:
        ConfigError: recipe, data set, teacher or budget.
        ModelError: the checkpoint.
    """
    loaded = load_recipe(recipe_file, checkpoint, data_yaml, more_data)
    if not trains_here:
        check_shareable(loaded)
    inputs, workspace = open_inputs(loaded, trains_here=trains_here), Workspace(work or RUNS / loaded.recipe.name)
    pipeline = CompressionPipeline(inputs, workspace)
    session = CompressionSession(pipeline, workspace, ProgressDisplay(), loaded)
    for line in inputs.description:
        session.screen.say(line)
    for warning in inputs.warnings:
        session.screen.warn(warning)
    if not workspace.is_done(pipeline.quantized):
        check_keep_float(inputs)
    if pipeline.chain is not None and not workspace.is_done(pipeline.chain.plans[-1]):
        check_budgets(inputs, session.measure_latency())
    if not workspace.is_done(pipeline.bundle):
        session.check_images()
    return session
