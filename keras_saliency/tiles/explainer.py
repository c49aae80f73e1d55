"""What a model says of all tiles: asked beside the maps, and drawn slide by slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from keras_saliency.attribution.explainer import Evaluation, Explainer
from keras_saliency.common.types import Array
from keras_saliency.data.probes import Probes
from keras_saliency.engine.output_head import Head
from keras_saliency.engine.predictor import Forward
from keras_saliency.recording.snapshot import Snapshot
from keras_saliency.recording.tensorboard.event_writer import safe_tag
from keras_saliency.tiles.dataset import Tiles
from keras_saliency.tiles.drawing import tile_mosaic, tile_sheet, without_map

_SLIDES = 16  # as many are drawn; numbers are written for all


class TileExplainer(Explainer):
    """An `Explainer` of tiles, which at each look also asks for the probabilities of all tiles.

    Args:
        model: As of `Explainer`, as all that follow.
        probes: The tiles.

    Raises:
        ValueError: Tiles, labels or classes that do not fit the model.
    """

    def __init__(self, model: Any, probes: Tiles, *settings: Any) -> None:
        super().__init__(model, probes, *settings)
        self._tiles = probes
        probes.mapped(self.head)
        self._forward = Forward(self.context)

    def evaluate(self, **options: Any) -> Evaluation:
        """Explain the tiles that get maps, and ask for the probabilities of all, part by part."""
        parts = [self._forward.probabilities(part) for part in self._tiles.parts()]
        look = super().evaluate(**options)
        return replace(look, tiles=np.concatenate(parts).astype(np.float32))


def explainer_of(model: Any, probes: Probes, *settings: Any) -> Explainer:
    """Make the explainer that probes need; the arguments are those of `Explainer`."""
    kind = TileExplainer if isinstance(probes, Tiles) else Explainer
    return kind(model, probes, *settings)  # type: ignore[arg-type]


class TileMaps:
    """Draws the slides of tiles as a snapshot has them.

    Args:
        tiles: The tiles.
        classes: The classes whose probability is mapped, with their names.
    """

    def __init__(self, tiles: Tiles, classes: Mapping[int, str]) -> None:
        self._tiles = tiles
        self._classes = dict(classes)
        numbered = (f"{i:02d}_{safe_tag(name)}" for i, name in enumerate(tiles.slides))
        self._tags = list(numbered)

    @classmethod
    def of(cls, probes: Probes, head: Head) -> TileMaps | None:
        """Make what draws the slides, where the probes are tiles."""
        return cls(probes, probes.mapped(head)) if isinstance(probes, Tiles) else None

    def numbers(self, snapshot: Snapshot) -> dict[str, float]:
        """List by tag, for each slide with labels, how many tiles are right and the mean error."""
        found: dict[str, float] = {}
        for slide, tag in enumerate(self._tags):
            right, error = self._measured(snapshot, slide)
            if not np.isnan(right):
                found |= {f"tiles-accuracy/{tag}": right, f"tiles-error/{tag}": error}
        return found

    def draw(self, snapshot: Snapshot) -> dict[str, Array]:
        """Draw by tag the sheets of up to 16 slides, and the mosaics of those that have maps."""
        pictures: dict[str, Array] = {}
        for slide in range(min(len(self._tags), _SLIDES)):
            for chosen, name in self._classes.items():
                suffix = f"_{safe_tag(name)}" if len(self._classes) > 1 else ""
                sheet = self._sheet(snapshot, slide, chosen, name)
                pictures[f"tile-map/{self._tags[slide]}{suffix}"] = sheet
            for method, maps in snapshot.maps.items():
                on = np.flatnonzero(self._tiles.slide[self._tiles.chosen] == slide)
                if on.size:
                    tag = f"tile-mosaic/{self._tags[slide]}_{safe_tag(method)}"
                    pictures[tag] = self._mosaic(snapshot, slide, method, maps[on], on)
        return pictures

    def _sheet(self, snapshot: Snapshot, slide: int, chosen: int, name: str) -> Array:
        tiles, on = self._tiles, self._tiles.on(slide)
        chances = _tiles_of(snapshot)
        right, error = self._measured(snapshot, slide)
        counted = f"{int(tiles.known[on].sum()):,} of {len(on):,} tiles labelled"
        if tiles.known[on].all():
            counted = f"{len(on):,} tiles"
        judged = "" if np.isnan(right) else f" · {100 * right:.0f} % right · mean error {error:.2f}"
        return tile_sheet(
            tiles.x[on],
            tiles.y[on],
            tiles.truth(chances.shape[1])[on, chosen],
            chances[on, chosen],
            tile=tiles.tile[slide],
            thumbnail=tiles.thumbnails.get(tiles.slides[slide]),
            title=tiles.slides[slide],
            subtitle=_when(snapshot),
            caption=counted + judged,
            name=name,
        )

    def _mosaic(self, snapshot: Snapshot, slide: int, method: str, maps: Array, on: Array) -> Array:
        tiles, rows = self._tiles, self._tiles.chosen[on]
        signed = snapshot.is_signed(method)
        dead = without_map(maps, signed).sum()
        return tile_mosaic(
            tiles.x[rows],
            tiles.y[rows],
            tiles.display[on],
            maps,
            tile=tiles.tile[slide],
            thumbnail=tiles.thumbnails.get(tiles.slides[slide]),
            title=f"{tiles.slides[slide]} · {method}",
            subtitle=_when(snapshot),
            caption=f"{len(on)} of {len(tiles.on(slide)):,} tiles, one scale"
            + (f" · {dead} dead" if dead else ""),
            signed=signed,
        )

    def _measured(self, snapshot: Snapshot, slide: int) -> tuple[float, float]:
        """Share of labelled tiles that are right, and the mean error of the mapped classes."""
        on = self._tiles.on(slide)
        on = on[self._tiles.known[on]]
        if not on.size:
            return float("nan"), float("nan")
        chances = _tiles_of(snapshot)[on]
        truth = self._tiles.truth(chances.shape[1])[on]
        right = np.take_along_axis(truth, chances.argmax(axis=1)[:, None], axis=1) > 0.5
        mapped = list(self._classes)
        return float(right.mean()), float(np.abs(chances - truth)[:, mapped].mean())


def _tiles_of(snapshot: Snapshot) -> Array:
    if snapshot.tiles is None:
        raise ValueError("the set holds no probabilities of tiles")
    return snapshot.tiles


def _when(snapshot: Snapshot) -> str:
    return f"{snapshot.when} · step {snapshot.step}"
