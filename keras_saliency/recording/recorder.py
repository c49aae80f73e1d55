"""The worker thread: it draws what the callback saw, encodes it and writes it.

Training hands over a `Snapshot` and goes on. Whatever goes wrong here is told once and never
reaches training.
"""

import atexit
import contextlib
import logging
import os
import queue
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from keras_saliency.drawing import cards
from keras_saliency.drawing.video import played
from keras_saliency.recording.film_strip import FilmStrips
from keras_saliency.recording.overview import Overview
from keras_saliency.recording.scalars import Reader, Readings, scalars
from keras_saliency.recording.snapshot import Snapshot, choose_evenly, title_of, words
from keras_saliency.recording.tensorboard.event_writer import new_run, safe_tag
from keras_saliency.recording.tensorboard.plugin_data import Tab
from keras_saliency.recording.tensorboard.run_writer import RunWriter
from keras_saliency.recording.writers import Relay, Writer
from keras_saliency.shortcuts.verdict import Verdict

if TYPE_CHECKING:
    from keras_saliency.data.probes import Probes

_WAITING = 2  # snapshots with pictures that may wait, or are drawn: what a kill can cost
_PATIENCE_S = 2.0  # how long training waits for room among them, until there is room again
_CLOSING_S = 120.0
_DRAWN = 64  # probes at most
_AT_ONCE = 16  # of them that are written together, and held until then
_PLAYED = 8  # videos in one animation


class Slides(Protocol):
    """What draws the slides that tiles come from: `keras_saliency.tiles.explainer.TileMaps`."""

    def numbers(self, snapshot: Snapshot) -> dict[str, float]:
        """List numbers by tag."""

    def draw(self, snapshot: Snapshot) -> dict[str, np.ndarray]:
        """Draw sheets and mosaics by tag, uint8 `(height, width, 3)` each."""


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)


class Recorder:
    """Draw and write snapshots on a thread of its own.

    The thread starts with the first snapshot and is drained when the interpreter exits.

    Args:
        writer: Where pictures and numbers go; it is closed with the recorder.
        names: For each probe a unique name that is fit for a tag, such as "03_penguin".
        display: The probes as a person sees them, uint8 `(n, height, width, 3)`.
        labels: For each probe its label in words, or None.
        masks: float `(n, height, width)` in [0, 1], where the objects are, or None.
        of: What is explained: "logits", or another quantity that the tiles then name.
        drawn: How many probes are drawn at most, chosen evenly per label. Numbers are written
            for all.
        frames: How many frames the volumes have of which `display` shows some.
        clips: Of volumes all frames, uint8 `(n, frames, height, width, 3)`, or None.
        tab: What writes the Saliency tab, or None.
        tile_maps: What draws the slides, where the probes are tiles.
        on_fault: Called with one clause, such as "could not draw the maps of cam (...)", once for
            each kind of fault, in the worker thread. By default it warns.

    Example:
        ```python
        recorder = Recorder(RunWriter(new_run("logs")), ["00_cat"], photos, ["cat"])
        recorder.record(snapshot)
        recorder.close()
        ```
    """

    def __init__(
        self,
        writer: RunWriter | Relay,
        names: Sequence[str],
        display: np.ndarray,
        labels: Sequence[str | None],
        *,
        masks: np.ndarray | None = None,
        of: str = "logits",
        drawn: int = _DRAWN,
        frames: int = 1,
        clips: np.ndarray | None = None,
        tab: Tab | None = None,
        tile_maps: Slides | None = None,
        on_fault: Callable[[str], None] = _warn,
    ) -> None:
        self._writer, self._tab, self._tile_maps = writer, tab, tile_maps
        self._names, self._labels = list(names), list(labels)
        self._display = display
        self._of = of
        self._frames, self._clips = frames, clips
        self._newest: Snapshot | None = None
        self._drawn = choose_evenly(labels, drawn)
        self._reader = Reader(masks)
        self._overview = Overview(names, display, labels, of, frames)
        self._strips = FilmStrips(
            [words(names[i]) for i in self._drawn],
            [labels[i] for i in self._drawn],
            display[self._drawn],
            of,
            frames,
            None if writer.folder is None else writer.folder / "film-strips",
        )
        self._signed: set[str] = set()
        self._on_fault = on_fault
        self._told: set[str] = set()
        self._when = "the beginning"  # of what is written now
        self._room = threading.Semaphore(_WAITING)
        self._is_behind = False
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._closed = False

    @classmethod
    def of_probes(
        cls,
        probes: "Probes",
        log_dir: Path | Writer,
        run: str,
        *,
        resume_at: int | None,
        later: int,
        of: str,
        settings: Mapping[str, str],
        tile_maps: Slides | None,
        on_fault: Callable[[str], None],
    ) -> tuple["Recorder", bool]:
        """Make a recorder for probes, with all that TensorBoard shows of them.

        Args:
            probes: The probes.
            log_dir: Where TensorBoard looks for runs, or the user's writer.
            run: The name of the run, to which a number is added where it is taken.
            resume_at: The first step that is written now, where the newest run of this name is
                continued if there is one; None for a new run.
            later: How many callbacks that come after this one have runs of this name.
            of: What is explained.
            settings: What a reader of the Saliency tab should know besides.
            tile_maps: What draws the slides, where the probes are tiles.
            on_fault: As above.

        Returns:
            The recorder, and whether it goes on with an older run.
        """
        labels, continued = probes.label_texts(), False
        writer: RunWriter | Relay
        tab = None
        if isinstance(log_dir, Path):
            folder = new_run(log_dir, run, resume_at is not None, later)
            continued = any(folder.iterdir())
            writer = RunWriter(folder, resume_at if continued else None)
            shown = choose_evenly(labels, _DRAWN)
            tab = Tab(writer, probes, shown, of=of, settings=settings)
        else:
            writer = Relay(log_dir)
        recorder = cls(
            writer,
            probes.names,
            probes.display,
            labels,
            masks=probes.masks,
            of=of,
            frames=probes.frames,
            clips=probes.clips,
            tab=tab,
            tile_maps=tile_maps,
            on_fault=on_fault,
        )
        return recorder, continued

    def record(self, snapshot: Snapshot) -> None:
        """Hand over a snapshot, which must not be changed afterwards; this never raises.

        Args:
            snapshot: What was seen. Where two wait to be drawn, this waits for up to 2 s; then its
                pictures are left out and its numbers kept, as of those that follow, with no more
                waiting, until there is room again.
        """
        with self._guard("record a snapshot"):
            if self._closed:
                raise RuntimeError("the recorder is closed")
            self._see_to_the_worker()
            self._is_behind = not self._room.acquire(timeout=0 if self._is_behind else _PATIENCE_S)
            if not self._is_behind:
                room = self._room
                self._queue.put(lambda: self._write(snapshot, room))
                return
            self._tell(
                "slow",
                f"the pictures of {snapshot.moment} are left out, as drawing cannot keep up; look "
                "less often or at fewer probes",
            )
            # Computed here, since the maps must not wait as well. What is compared with the set
            # before is left out, as that one is in the worker's hands.
            numbers = self._scalars(snapshot, Readings(self._reader.focus(snapshot.maps)))
            self._queue.put(lambda: self._write_numbers(numbers, snapshot.step))

    def record_verdict(self, verdict: Verdict, when: str, step: int) -> None:
        """Hand over a verdict, its numbers, words and twins; this never raises.

        Args:
            verdict: What the model relies on.
            when: The moment in words.
            step: The same as a step.
        """
        self._hand_over(lambda: self._write_verdict(verdict, when, step), "the verdict")

    def record_pictures(self, pictures: dict[str, np.ndarray], step: int) -> None:
        """Hand over pictures that are drawn already, uint8 by tag; this never raises."""
        self._hand_over(lambda: self._writer.images(pictures, step), "pictures")

    def record_text(self, text: dict[str, str], step: int) -> None:
        """Hand over pages in Markdown, by tag; this never raises."""
        self._hand_over(lambda: self._writer.text(text, step), "a page")

    def record_charts(self, *, focus: bool, verdict: bool) -> None:
        """Hand over, once a run, which curves stand beside each other; this never raises."""
        self._hand_over(lambda: self._writer.charts(focus=focus, verdict=verdict), "the charts")

    def flush(self, timeout: float) -> bool:
        """Wait until all that was handed over is written.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether all of it is written.
        """
        if self._thread is None or self._closed:
            return True
        self._see_to_the_worker()
        hooked = threading.Event()
        self._queue.put(hooked.set)
        return hooked.wait(timeout)

    def close(self) -> None:
        """Write what waits, end the thread and close the writer; a second call does nothing."""
        # The thread does not live on in a forked child, which must not wait for it.
        if self._closed or os.getpid() != self._process:
            return
        self._closed = True
        if self._thread is not None:
            atexit.unregister(self.close)
            with self._guard("finish the run"):
                self._see_to_the_worker()
            self._queue.put(self._finish_strips)
            self._queue.put(self._animate_strips)
            self._queue.put(self._play_videos)
            self._queue.put(None)
            self._thread.join(_CLOSING_S)
            if self._thread.is_alive():
                self._tell("closing", "some of the pictures were not written in time")
                return
        with self._guard("close the event file"):
            self._writer.close()

    def _hand_over(self, job: Callable[[], None], what: str) -> None:
        def guarded() -> None:
            with self._guard(f"write {what}"):
                job()
                self._writer.flush()

        with self._guard(f"hand over {what}"):
            self._see_to_the_worker()
            self._queue.put(guarded)

    def _write_verdict(self, verdict: Verdict, when: str, step: int) -> None:
        scalars = {f"shortcut/{safe_tag(name)}": gap for name, (gap, _) in verdict.gaps.items()}
        self._writer.scalars({"shortcut/reliance": verdict.reliance} | scalars, step)
        self._writer.text({"shortcut/verdict": f"**{when}**: {verdict.text}"}, step)
        sheets = {
            name: cards.twin_sheet(
                sheet.images, sheet.probabilities, title=f"{name} of a donor · {when}"
            )
            for name, sheet in verdict.sheets.items()
        }
        self._writer.images(
            {f"shortcut-twins/{safe_tag(name)}": sheet for name, sheet in sheets.items()}, step
        )
        if self._tab is not None:
            self._tab.add_verdict(verdict, sheets, when, step)

    def _see_to_the_worker(self) -> None:
        """Start the thread with the first job, and again if something has ended it."""
        if self._thread is not None and self._thread.is_alive():
            return
        if self._thread is None:
            # A daemon is cut off when the interpreter exits, and would lose what still waits.
            atexit.register(self.close)
        else:
            self._tell(
                "worker",
                f"something has ended the thread that draws, at {self._when} or at what came next, "
                "of which all or a part is missing; another one goes on with what follows",
            )
            self._room = threading.Semaphore(_WAITING)  # what was lost gives none back
        self._thread = threading.Thread(target=self._work, name="keras-saliency", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            job()

    def _write(self, snapshot: Snapshot, room: threading.Semaphore) -> None:
        self._when = snapshot.moment
        try:
            self._write_all(snapshot)
        finally:
            room.release()

    def _write_all(self, snapshot: Snapshot) -> None:
        readings, self._newest = Readings(), snapshot
        with self._guard("write the numbers"):
            readings = self._reader.read(snapshot.maps)
            self._writer.scalars(self._scalars(snapshot, readings), snapshot.step)
        for method in snapshot.methods:
            with self._guard(f"draw the maps of {method}"):
                self._draw(method, snapshot)
        with self._guard("draw the overview"):
            sheet = self._overview.draw(snapshot, self._signed)
            self._writer.images({"overview": sheet}, snapshot.step)
        if self._tile_maps is not None:
            with self._guard("draw the tile maps"):
                self._writer.images(self._tile_maps.draw(snapshot), snapshot.step)
        if self._tab is not None:
            with self._guard("write the Saliency tab"):
                self._tab.add(snapshot, readings.focus, readings.similarity)
        with self._guard("write the event file"):
            self._writer.flush()
            self._strips.store()

    def _write_numbers(self, numbers: dict[str, float], step: int) -> None:
        with self._guard("write the numbers"):
            self._writer.scalars(numbers, step)
            self._writer.flush()

    def _draw(self, method: str, snapshot: Snapshot) -> None:
        maps = snapshot.maps.get(method)
        if maps is not None and (maps < 0).any():
            self._signed.add(method)
        signed = method in self._signed
        group = safe_tag(method)
        for start in range(0, len(self._drawn), _AT_ONCE):
            tiles = {}
            for i in self._drawn[start : start + _AT_ONCE]:
                map_ = None if maps is None else maps[i]
                tiles[f"{group}/{self._names[i]}"] = self._tile(method, map_, i, snapshot, signed)
            self._writer.images(tiles, snapshot.step)
        drawn = None if maps is None else maps[self._drawn]
        strip = self._strips.add(method, snapshot.step, snapshot.when, drawn, signed)
        if strip is not None:
            self._writer.images({f"film-strip/{group}": strip}, snapshot.step)

    def _finish_strips(self) -> None:
        with self._guard("finish the film strips"):
            for method, (step, strip) in self._strips.unwritten().items():
                self._writer.images({f"film-strip/{safe_tag(method)}": strip}, step)

    def _animate_strips(self) -> None:
        with self._guard("animate the film strips"):
            for method, (step, animation) in self._strips.animations().items():
                self._writer.animations({f"animation/{safe_tag(method)}": animation}, step)

    def _play_videos(self) -> None:
        """Let videos play with their newest maps."""
        newest = self._newest
        if self._clips is None or newest is None:
            return
        chosen = choose_evenly(self._labels, _PLAYED)
        titles = [title_of(self._names[i], self._labels[i]) for i in chosen]
        names = [f"{what} · {newest.answer(i)}" for what, i in zip(titles, chosen, strict=True)]
        for method, maps in newest.maps.items():
            with self._guard(f"play the videos of {method}"):
                title = f"{words(method)} · {newest.moment}"
                shown = self._clips[chosen], maps[chosen]
                made = played(names, *shown, title=title, signed=method in self._signed)
                self._writer.animations({f"video/{safe_tag(method)}": made}, newest.step)

    def _tile(
        self, method: str, map_: np.ndarray | None, i: int, snapshot: Snapshot, signed: bool
    ) -> np.ndarray:
        title = title_of(self._names[i], self._labels[i])
        when, _, note = snapshot.when.partition(" (")
        subtitle = f"{when} · step {snapshot.step}" + (f" ({note}" if note else "")
        if map_ is None:
            return cards.error_tile(
                self._display[i], snapshot.errors[method], title=title, subtitle=subtitle
            )
        # What is explained is said where it is not the logit.
        explained = "" if self._of == "logits" else f" · {self._of.replace('_', ' ')}"
        return cards.tile(
            self._display[i],
            map_,
            title=title,
            subtitle=subtitle,
            caption=f"says {snapshot.answer(i)}{explained}",
            correct=snapshot.correct[i],
            signed=signed,
            frames=self._frames,
        )

    def _scalars(self, snapshot: Snapshot, readings: Readings) -> dict[str, float]:
        found = scalars(snapshot, readings, self._names, self._drawn)
        return found if self._tile_maps is None else found | self._tile_maps.numbers(snapshot)

    @contextlib.contextmanager
    def _guard(self, task: str) -> Iterator[None]:
        """Turn any exception into one line for the user, so that training goes on."""
        try:
            yield
        except OSError as error:  # which all that is written meets alike
            self._tell(
                f"disk {type(error).__name__} {error.errno}",
                f"{self._writer.place} is incomplete since {self._when} ({error})",
            )
        except Exception as error:
            kind = type(error).__name__
            self._tell(f"{task} {kind}", f"could not {task} ({kind}: {error})")

    def _tell(self, kind: str, message: str) -> None:
        if kind in self._told:
            return
        self._told.add(kind)
        try:
            self._on_fault(message)
        except Exception:  # such as a warning that the user's filters turn into an error
            logging.getLogger(__name__).exception(message)
