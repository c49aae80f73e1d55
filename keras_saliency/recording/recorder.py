"""Draws, encodes and writes snapshots on a thread of its own while training goes on."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from keras_saliency.data.normalization import rgb
from keras_saliency.data.probes import Probes
from keras_saliency.drawing import cards
from keras_saliency.drawing.video import played
from keras_saliency.recording.base_writer import BaseWriter
from keras_saliency.recording.film_strip import FilmStrips
from keras_saliency.recording.guidance import LISTS
from keras_saliency.recording.overview import Overview
from keras_saliency.recording.run_summary import confusion, escaped
from keras_saliency.recording.scalars import MapMeasure, MapMetrics, scalars
from keras_saliency.recording.snapshot import Snapshot, at_step, choose_evenly, title_of, words
from keras_saliency.recording.tensorboard.event_writer import safe_tag
from keras_saliency.recording.tensorboard.plugin_data import PluginData
from keras_saliency.recording.tensorboard.plugin_schema import (
    COMPONENTS,
    COUNTERFACTUALS,
    EXAMPLES,
    VERDICT_GROUP,
)
from keras_saliency.recording.verdict_file import NAME, write_verdict
from keras_saliency.recording.worker import Task, Worker
from keras_saliency.shortcuts.components import ComponentGap
from keras_saliency.shortcuts.verdict import Example, Verdict

DRAWN = 64  # probes at most
_AT_ONCE = 16  # of them that are written together, and held until then
_PLAYED = 8  # videos in one animation
_CLASSES = 4  # whose components are on one sheet


class Slides(Protocol):
    """What draws the slides that tiles come from: `keras_saliency.tiles.explainer.TileMaps`."""

    def numbers(self, snapshot: Snapshot) -> dict[str, float]:
        """List numbers by tag."""

    def draw(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """Draw sheets and mosaics by tag, uint8 `(height, width, 3)` each."""


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)


class Recorder:
    """Draw and write snapshots on a thread of its own; no method raises.

    Args:
        writer: Where images and numbers go; it is closed with the recorder. To a bare `BaseWriter`,
            which writes nothing, nothing is drawn.
        probes: The probes, of which names, labels, display and masks are used.
        of: What is explained: "logits", or another quantity that the cards then name.
        drawn: How many probes are drawn at most, chosen evenly per label. Numbers are written
            for all.
        settings: What a reader of the Saliency tab should know; None for no tab.
        slides: What draws the slides, where the probes are tiles.
        previous: Where a run is continued, the maps of the model as it was resumed, by method.
        checks_maps: Whether maps are checked at some snapshots, for which cards have room.
        on_fault: Called with one clause, such as "could not draw the maps of cam (...)", once for
            each kind of fault, in the worker thread. By default it warns.

    Attributes:
        writer: As given.
        worker: The thread.

    Example:
        ```python
        recorder = Recorder(EventWriter(new_run("logs")), Probes(photos, labels))
        recorder.record(snapshot)
        recorder.close()
        ```
    """

    def __init__(
        self,
        writer: BaseWriter,
        probes: Probes,
        *,
        of: str = "logits",
        drawn: int = DRAWN,
        settings: Mapping[str, str] | None = None,
        slides: Slides | None = None,
        previous: Mapping[str, np.ndarray] | None = None,
        checks_maps: bool = False,
        on_fault: Callable[[str], None] = _warn,
    ) -> None:
        self.writer, self._slides, self._checks_maps = writer, slides, checks_maps
        self._names, self._labels = list(probes.names), probes.label_texts()
        self._class_names = probes.class_names
        self._display, self._frames, self._clips = probes.display, probes.frames, probes.clips
        # The explained quantity is named where it is not the logit.
        self._explained = "" if of == "logits" else f" · {of.replace('_', ' ')}"
        self._newest: Snapshot | None = None
        self._drawn = chosen = choose_evenly(self._labels, drawn)
        self._measure = MapMeasure(probes.masks, previous)
        self._overview = Overview(self._names, self._display, self._labels, of, self._frames)
        self._strips = FilmStrips(
            [words(self._names[i]) for i in chosen],
            [self._labels[i] for i in chosen],
            self._display[chosen],
            of,
            self._frames,
            None if writer.state_folder is None else writer.state_folder / "film-strips",
        )
        self._plugin_data: PluginData | None = None
        if writer.events is not None and settings is not None:
            self._plugin_data = PluginData(writer.events, probes, chosen, of=of, settings=settings)
        is_idle = type(writer) is BaseWriter
        self.worker = Worker(writer.description, on_fault, self.close, is_idle)

    def record(self, snapshot: Snapshot) -> None:
        """Hand over a snapshot.

        Args:
            snapshot: The snapshot, which must not be changed afterwards. Where two wait to be
                drawn, this waits, for 2 s of a training run in all, or for 5 % of it where that is
                more; then its images are left out and its numbers kept, as of those that follow,
                with no more waiting, until there is room again.
        """
        worker = self.worker
        numbers, *drawing = self._tasks(snapshot)
        if worker.submit_large(numbers, drawing, snapshot.when):
            return
        worker.report(
            "slow",
            f"the pictures of {snapshot.when} are left out, as drawing cannot keep up; use a "
            "larger every=, or fewer probes",
        )
        with worker.guard("record a snapshot"):
            # Computed here, since the maps must not wait as well. The similarity is left out, as
            # the previous maps are in the worker's hands.
            localization = self._measure.localization(snapshot.maps)
            scalars = self._numbers(snapshot, MapMetrics(localization))
            self._submit(lambda: self.writer.scalars(scalars, snapshot.step), "the numbers")

    def record_verdict(self, verdict: Verdict, when: str, step: int) -> None:
        """Hand over a verdict, its numbers, words and counterfactual images, and its file.

        Args:
            verdict: What the model relies on.
            when: The moment in words.
            step: The same as a step.
        """
        gaps = {name: float(gap) for name, (gap, _) in verdict.gaps.items()}
        gaps |= {found.place: float(found.gap[0]) for found in verdict.components}
        numbers, moment = {"reliance": float(verdict.reliance)} | gaps, at_step(when, step)

        def write() -> None:
            tagged = {f"{VERDICT_GROUP}{safe_tag(name)}": v for name, v in numbers.items()}
            self.writer.scalars(tagged, step)
            text = f"**{moment}**: {escaped(verdict.text)}"
            self.writer.text({f"{VERDICT_GROUP}in-words": text}, step)

        def replace_file() -> None:
            if self.writer.folder is not None:
                write_verdict(self.writer.folder, verdict, when, step, self._class_names)

        def draw() -> None:
            tags = {name: f"{COUNTERFACTUALS}{safe_tag(name)}" for name in verdict.sheets}
            sheets = {
                tags[name]: cards.counterfactual_sheet(
                    sheet.images,
                    sheet.captions,
                    sheet.columns,
                    note=sheet.note,
                    nuisance=words(name),
                    when=moment,
                )
                for name, sheet in verdict.sheets.items()
            }
            for found in verdict.components:
                if found.passes:
                    tags[found.place] = f"{COMPONENTS}{safe_tag(found.place)}"
                    sheets[tags[found.place]] = _component_sheet(found, self._class_names)
            for kind, examples in verdict.examples.items():
                if examples:
                    tags[kind] = f"{EXAMPLES}{kind}"
                    sheets[tags[kind]] = _example_sheet(kind, examples, moment)
            self.writer.images(sheets, step)
            if self._plugin_data is not None:
                self._plugin_data.add_verdict(verdict, tags, when, step)

        self._submit(write, "the verdict")
        self._submit(replace_file, NAME)
        self._submit(draw, "the pictures of the verdict", in_turn=True)

    def record_images(self, images: dict[str, np.ndarray], step: int) -> None:
        """Hand over images that are drawn already, uint8 by tag."""
        self._submit(lambda: self.writer.images(images, step), "pictures", in_turn=True)

    def record_text(self, text: dict[str, str], step: int) -> None:
        """Hand over pages in Markdown, by tag."""
        self._submit(lambda: self.writer.text(text, step), "a page")

    def record_charts(self, *, focus: bool, verdict: bool) -> None:
        """Hand over, once a run, which curves stand beside each other."""
        self._submit(lambda: self.writer.charts(focus=focus, verdict=verdict), "the charts")

    def flush(self, timeout: float) -> bool:
        """Wait until all that was handed over is written.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether all of it is written.
        """
        return self.worker.flush(timeout)

    def close(self) -> None:
        """Write what waits, end the thread and close the writer; a second call does nothing."""
        if self.worker.close((self._write_animations, "finish the run")):
            with self.worker.guard("close the event file"):
                self.writer.close()

    def _submit(self, write: Callable[[], None], what: str, *, in_turn: bool = False) -> None:
        def job() -> None:
            write()
            self.writer.flush()

        submit = self.worker.submit_in_turn if in_turn else self.worker.submit
        submit(job, f"write {what}")

    def _tasks(self, snapshot: Snapshot) -> list[Task]:
        """List what is to be done with a snapshot: its numbers first."""
        metrics, signed = MapMetrics(), snapshot

        def write_numbers() -> None:
            nonlocal metrics
            metrics = self._measure(snapshot.maps)
            self.writer.scalars(self._numbers(snapshot, metrics), snapshot.step)
            table = confusion(self._names, self._labels, snapshot)
            if table is not None:
                self.writer.text({"probes/confusion": table}, snapshot.step)

        def write_maps() -> None:
            views = {name: maps.view() for name, maps in snapshot.maps.items()}
            for view in views.values():
                view.setflags(write=False)
            self.writer.maps(views, snapshot.step)

        def begin() -> None:
            nonlocal signed
            signed = self._newest = snapshot.signed_after(self._newest)

        def draw_overview() -> None:
            self.writer.images({"overview": self._overview.draw(signed)}, snapshot.step)

        def draw_wrong() -> None:
            known = enumerate(signed.correct)
            wrong = [i for i, correct in known if correct is not None and not correct]
            if wrong:
                sheet = self._overview.draw(signed, wrong)
                self.writer.images({"classified-wrongly": sheet}, snapshot.step)
            if signed.contrast is not None:
                sheet = self._overview.draw(signed.contrasted(), signed.contrast.index.tolist())
                self.writer.images({"classified-wrongly-contrast": sheet}, snapshot.step)

        def draw_slides() -> None:
            if self._slides is not None:
                self.writer.images(self._slides.draw(signed), snapshot.step)

        def write_tab() -> None:
            if self._plugin_data is not None:
                self._plugin_data.add(signed, metrics.localization, metrics.similarity)

        def store() -> None:
            self.writer.flush()
            self._strips.store()

        return [
            (write_numbers, "write the numbers"),
            (write_maps, "write the maps"),
            (begin, "record a snapshot"),
            *(
                (lambda method=method: self._draw(method, signed), f"draw the maps of {method}")
                for method in snapshot.methods
            ),
            (draw_overview, "draw the overview"),
            (draw_wrong, "draw the probes that are classified wrongly"),
            (draw_slides, "draw the tile maps"),
            (write_tab, "write the Saliency tab"),
            (store, "write the event file"),
        ]

    def _draw(self, method: str, snapshot: Snapshot) -> None:
        maps, group = snapshot.maps.get(method), safe_tag(method)
        for start in range(0, len(self._drawn), _AT_ONCE):
            tiles = {
                f"{group}/{self._names[i]}": self._draw_card(method, i, snapshot)
                for i in self._drawn[start : start + _AT_ONCE]
            }
            self.writer.images(tiles, snapshot.step)
        drawn, signed = None if maps is None else maps[self._drawn], snapshot.is_signed(method)
        strip = self._strips.add(method, snapshot.step, snapshot.when, drawn, signed)
        if strip is not None:
            self.writer.images({f"film-strip/{group}": strip}, snapshot.step)

    def _draw_card(self, method: str, i: int, snapshot: Snapshot) -> np.ndarray:
        title = title_of(self._names[i], self._labels[i])
        subtitle = snapshot.when_with_step
        if method not in snapshot.maps:
            error = snapshot.errors[method]
            return cards.error_tile(
                self._display[i],
                error,
                title=title,
                subtitle=subtitle,
                has_check=self._checks_maps,
            )
        return cards.tile(
            self._display[i],
            snapshot.maps[method][i],
            title=title,
            subtitle=subtitle,
            caption=f"predicted {snapshot.answer(i)}{self._explained}",
            correct=snapshot.correct[i],
            signed=snapshot.is_signed(method),
            frames=self._frames,
            check=snapshot.check(method, i) if self._checks_maps else None,
            is_chance=snapshot.is_chance(method, i),
        )

    def _write_animations(self) -> None:
        """Finish the film strips, animate them, and let videos play with their newest maps."""
        with self.worker.guard("finish the film strips"):
            for method, (step, strip) in self._strips.unwritten().items():
                self.writer.images({f"film-strip/{safe_tag(method)}": strip}, step)
        with self.worker.guard("animate the film strips"):
            for method, (step, animation) in self._strips.animations().items():
                self.writer.animations({f"animation/{safe_tag(method)}": animation}, step)
        newest = self._newest
        if self._clips is None or newest is None:
            return
        chosen = choose_evenly(self._labels, _PLAYED)
        titles = [title_of(self._names[i], self._labels[i]) for i in chosen]
        names = [f"{what} · {newest.answer(i)}" for what, i in zip(titles, chosen, strict=True)]
        for method, maps in newest.maps.items():
            with self.worker.guard(f"play the videos of {method}"):
                title, signed = f"{words(method)} · {newest.when}", newest.is_signed(method)
                video = played(names, self._clips[chosen], maps[chosen], title=title, signed=signed)
                self.writer.animations({f"video/{safe_tag(method)}": video}, newest.step)

    def _numbers(self, snapshot: Snapshot, metrics: MapMetrics) -> dict[str, float]:
        numbers = scalars(snapshot, metrics, self._names, self._drawn)
        return numbers if self._slides is None else numbers | self._slides.numbers(snapshot)


def _component_sheet(found: ComponentGap, class_names: Sequence[str] | None) -> np.ndarray:
    """Draw where components are strongest, the images of each class in a row of its own."""
    shown = found.components[:_CLASSES]
    images = rgb(np.concatenate([one.images for one in shown]))
    masks = np.concatenate([one.maps for one in shown])
    rows = ", ".join(str(class_names[one.label] if class_names else one.label) for one in shown)
    return cards.mask_sheet(images, masks, title=f"{found.place} · {found.when} · {rows}")


def _example_sheet(kind: str, examples: Sequence[Example], moment: str) -> np.ndarray:
    """Draw training images with their names and the probability of their label."""
    lines = [f"{words(example.name)}\np = {example.probability:.2f}" for example in examples]
    images = np.stack([example.image for example in examples])
    return cards.example_sheet(images, lines, title=f"{LISTS[kind]} · {moment}")
