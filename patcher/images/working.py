"""One image after another patched: its programs planned and proven, its layers written, its configuration made."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from nanonap import __version__
from nanonap.base.errors import NanonapError
from patcher.file.changes import Change
from patcher.golang.seccomp import Filters
from patcher.images import documents, label
from patcher.images.appending import append
from patcher.images.choosing import Layers, Program, chosen, run_config
from patcher.images.documents import Document, optional
from patcher.images.errors import BadImage, LayerFixed
from patcher.images.reading import Image, Layer
from patcher.images.rewriting import Job, Rewritten, rewrite
from patcher.images.sink import Sink
from patcher.images.tree import File, Folder, Scanned, names_of
from patcher.images.writing import Made, full
from patcher.manifest import Manifest
from patcher.patching import UNDO_RECORD

_CHUNKED = ("io.github.containers.zstd-chunked.manifest-checksum", "containerd.io/snapshot/stargz/toc.digest")


@dataclass(frozen=True)
class PlannedProgram:
    """A program's patch, and what it lays over the program."""

    manifest: Manifest
    filters: Filters
    changes: tuple[Change, ...]


class _Failed(Exception):
    """One program cannot be patched."""

    def __init__(self, program: Program, error: NanonapError) -> None:
        super().__init__(str(error))
        self.program, self.error = program, error


@dataclass
class Work:
    """What was done so far: images patched, left, and what is to be said."""

    sink: Sink
    plan: Callable[[BinaryIO, str], PlannedProgram]
    append_layer: bool
    layers: Layers = field(init=False)
    planned: dict[File, PlannedProgram] = field(default_factory=dict)
    written: dict[tuple[str, frozenset[File]], Rewritten] = field(default_factory=dict)
    done: list[tuple[Image, Made, list[Program]]] = field(default_factory=list)
    left: list[tuple[Image, NanonapError]] = field(default_factory=list)
    refused: list[NanonapError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Headers are needed for a layer on top alone."""
        self.layers = Layers(headers=self.append_layer)

    def take(self, image: Image, paths: Sequence[str], *, every: bool) -> None:
        """Patch an image, or note why it is left. With ``every``, a program that cannot be patched is left alone."""
        before = set(self.written)
        try:
            files = self.layers.files(image)
            found = chosen(files, image, paths, every=every)
            while True:
                try:
                    self.done.append((image, self._made(image, files, found), found))
                    return
                except _Failed as failed:
                    rest = [each for each in found if each is not failed.program]
                    if not every or not rest:
                        raise failed.error from failed
                    self.warnings.append(f"not patched: {failed.error}")
                    found = rest
        except NanonapError as error:
            self.left.append((image, error))
            self.refused.append(error)
            for each in set(self.written) - before:
                self.sink.drop(self.written.pop(each).digest)

    def check_any(self) -> None:
        """Raises what stood in the way where no image was patched, of those that were meant first."""
        if not self.done:
            raise [*self.refused, *(error for _, error in self.left), BadImage("there is no image in it")][0]

    def _made(self, image: Image, files: Folder, found: list[Program]) -> Made:
        jobs = [(each, self._job(image, each)) for each in found]
        if self.append_layer:
            top = append(image, files, jobs, self.layers, self.sink)
            self._warn_of_names(image, files, found)
            return Made(self._config(image, found, {}, top), {}, top)
        changed: dict[int, Rewritten] = {}
        inside: dict[int, dict[File, Job]] = {}
        for program, job in jobs:
            index, _, scanned = self.layers.holding(image, program.file)
            _check_free(image, index, program, scanned)
            inside.setdefault(index, {})[program.file] = job
        for index, here in inside.items():
            changed[index] = self._rewritten(image.layers[index], here)
        return Made(self._config(image, found, changed, None), changed)

    def _rewritten(self, layer: Layer, jobs: dict[File, Job]) -> Rewritten:
        scanned = self.layers.scanned(layer)
        assert layer.blob is not None and scanned is not None  # noqa: S101 - a program lies in it
        key = (layer.blob.name, frozenset(jobs))
        if key not in self.written:
            self.written[key] = rewrite(layer.blob, scanned, jobs, self.sink)
        return self.written[key]

    def _job(self, image: Image, program: Program) -> Job:
        def job(content: BinaryIO) -> tuple[Change, ...]:
            if program.file not in self.planned:
                try:
                    self.planned[program.file] = self.plan(content, f"{program.path} in {image.name}")
                except NanonapError as error:
                    raise _Failed(program, error) from error
            return self.planned[program.file].changes

        return job

    def _config(
        self, image: Image, found: list[Program], changed: dict[int, Rewritten], top: Rewritten | None
    ) -> bytes:
        """The configuration with the new layers' diff_ids and our label."""
        config = copy.deepcopy(image.config)
        ids = config["rootfs"]["diff_ids"]
        for index, new in changed.items():
            ids[index] = new.diff_id
        if top is not None:
            ids.append(top.diff_id)
            if history := optional(config, "history", list, image.name):
                history.append(_history(config))
        config["config"] = run_config(config, image.name)
        config["config"]["Labels"] = labels = optional(config["config"], "Labels", dict, image.name)
        labels[label.LABEL] = label.Label(
            tool=__version__,
            image=image.digest,
            appended=top is not None,
            programs=[_program(each, self.planned[each.file].manifest) for each in found],
            layers=[self._before(image.layers[index], index, new) for index, new in sorted(changed.items())],
            diff_ids=ids,
            config=label.packed(image.config_raw),
            manifest=None if image.manifest_raw is None else label.packed(image.manifest_raw),
        ).text()
        if image.manifest_raw is not None:
            labels[label.BASE_DIGEST] = image.digest
            if image.tags and ":" in image.tags[0]:
                labels[label.BASE_NAME] = full(image.tags[0])
        return documents.written(config, image.config_raw)

    def _before(self, layer: Layer, index: int, new: Rewritten) -> label.LayerBefore:
        scanned = self.layers.scanned(layer)
        assert scanned is not None  # noqa: S101 - it was rewritten
        return label.LayerBefore(index, scanned.digest, scanned.diff_id, scanned.kind, new.recipe)

    def _warn_of_names(self, image: Image, files: Folder, found: list[Program]) -> None:
        for each in found:
            others = names_of(files, each.file) - 1
            if others:
                self.warnings.append(
                    f"{each.path} in {image.name} has {others} other names (hard links), which keep the program as it "
                    "was: name them, too, or patch in place"
                )


def _check_free(image: Image, index: int, program: Program, scanned: Scanned) -> None:
    """Raises LayerFixed where a layer may not change in place."""
    annotations = optional(image.layers[index].descriptor or {}, "annotations", dict, image.name)
    if scanned.stargz or not annotations.keys().isdisjoint(_CHUNKED):
        raise LayerFixed(
            f"{program.path} in {image.name}: its layer has a table of contents of its own (eStargz or zstd:chunked), "
            "which would no longer be right: put the program into a layer on top",
            parameters=("append_layer",),
        )
    if program.file.sparse:
        raise LayerFixed(
            f"{program.path} in {image.name}: lies there as a sparse file, in pieces: build the image with a plain copy"
        )


def _program(program: Program, manifest: Manifest) -> label.Program:
    carried = any(each.purpose == UNDO_RECORD for each in manifest.edits)
    wait = manifest.wait
    return label.Program(
        path=program.path,
        strategy=manifest.strategy,
        slack_ns=manifest.slack_ns,
        quantum_ns=wait.quantum_ns,
        dense_ns=wait.dense_ns,
        spin_ns=wait.spin_ns,
        before=manifest.input.sha256,
        after=manifest.output.sha256,
        undo=None if carried else [(each.offset, each.old) for each in manifest.edits],
    )


def _history(config: Document) -> Document:
    """What a layer on top adds to the history; the time is the image's, so that the same gives the same."""
    created = {"created": config["created"]} if "created" in config else {}
    return {**created, "created_by": f"nanonap {__version__} patch, in a layer on top"}
