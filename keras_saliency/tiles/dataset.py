"""Tiles of large pictures: where each lies, what it is, and which of them get attribution maps."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_saliency.common.arrays import as_array
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_count
from keras_saliency.data.image_files import read_images
from keras_saliency.data.labels import as_class_names, as_labels
from keras_saliency.data.probes import Probes
from keras_saliency.engine.output_head import Head
from keras_saliency.tiles.drawing import Thumbnail, resolve_places, resolve_tile
from keras_saliency.tiles.geometry import window

_MAPS = 64
_FEWEST = 9  # tiles of a slide that get maps, so that they make a picture
_READ = 512  # tiles that are in memory at a time
_COLUMNS = ("slide", "x", "y", "label")


class Tiles(Probes):
    """Probes that are tiles of large pictures, each with a slide and a place on it.

    The model is asked about all of them at every look, in batches, for its probabilities; those
    that `maps` says are the probes proper, which get attribution maps, cards and numbers of their
    own. Not all need to be in memory: they are read part by part.

    Attributes:
        slides: The names of the slides, in the order in which they come first.
        slide: int `(n,)`: on which of them each tile lies.
        x, y: float64 `(n,)`, the upper left corner of each tile.
        tile: The `(height, width)` of a tile in the units of x and y, for each slide.
        thumbnails: A `Thumbnail` of some of the slides, by name.
        known: bool `(n,)`: which tiles have a label.
        chosen: int, which of the tiles get maps.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        slides: Any,
        x: Any,
        y: Any,
        *,
        tile: Any = None,
        thumbnails: Mapping[str, Thumbnail] | None = None,
        maps: int | Sequence[int] = _MAPS,
        classes: Sequence[str | int] | None = None,
        class_names: Sequence[str] | None = None,
        preprocess: Callable[[Any], Any] | None = None,
    ) -> None:
        """Settle where tiles lie and what they are.

        Args:
            images: `(n, height, width, channels)`, as `Probes` takes them: an array, or whatever
                gives arrays for slices, such as a `np.memmap` or a dataset of h5py; or the paths
                of n picture files of one size, which are read anew at each look.
            labels: As `Probes` takes them, for classifiers: `(n,)`, strings from `class_names`, or
                rows; None for no labels. In a list, None, "" or NaN is a tile without a label.
            slides: `(n,)`, the name of each tile's slide; or one name for all.
            x: `(n,)`, the left edge of each tile, in any unit; tiles need form no grid.
            y: `(n,)`, the upper edge of each tile, in the same unit, downwards.
            tile: The `(height, width)` of a tile in the units of x and y, or one number for both;
                by default, of each slide, the median way from a tile to the nearest other one.
            thumbnails: A `Thumbnail` of some of the slides, by name.
            maps: How many tiles get attribution maps, which cost a forward and a backward pass
                each and more for methods of many passes: neighbours on each slide, where labels
                are mixed most. Or which, as indices.
            classes: Names or indices of the classes whose probability is mapped; by default the
                second of two, or all.
            class_names: As for `Probes`.
            preprocess: As for `Probes`; it is called with parts of the tiles.

        Raises:
            TypeError: If something is not an array, or a label is of no known kind.
            ValueError: If shapes, values or names don't fit together.

        Example:
            >>> x, y = (axis.reshape(-1) for axis in np.meshgrid(np.arange(6), np.arange(4)))
            >>> tiles = Tiles(np.zeros((24, 16, 16, 3)), x > 2, "slide 1", x, y, maps=8)
            >>> len(tiles), tiles.count, tiles.names[0]
            (8, 24, '00_slide_1_x1_y0')
        """
        self.x, self.y = resolve_places(x, y)
        self.count = len(self.x)
        self._source = _source(images, self.count)
        self.slides, self.slide = _settled_slides(slides, self.count)
        self.tile = [resolve_tile(tile, self.x[on], self.y[on]) for on in self._on_slides()]
        self.thumbnails = _settled_thumbnails(thumbnails, self.slides)
        names = as_class_names(class_names)
        self.known, self._settled = _settled_labels(labels, self.count, names)
        self._classes = classes
        self.chosen = self._choose(maps)
        places_ = zip(self.slide[self.chosen], self.chosen, strict=True)
        width = max(2, len(str(len(self.chosen) - 1)))
        super().__init__(
            np.concatenate([self._source[i : i + 1] for i in self.chosen]),
            None if self._settled is None else self._settled[self._rows(self.chosen)],
            names=[
                f"{k:0{width}d}_{self.slides[on]}_x{self.x[i]:g}_y{self.y[i]:g}"
                for k, (on, i) in enumerate(places_)
            ],
            class_names=names,
            preprocess=preprocess,
        )
        if self.kind != "image":
            raise ValueError(
                "Tiles must be images (n, height, width, channels). "
                f"Received: images of shape {(self.count, *self.images.shape[1:])}"
            )

    @classmethod
    def from_csv(cls, path: str | Path, *, images: Any = None, **options: Any) -> Tiles:
        r"""Read a table with a row for each tile and the columns slide, x, y, label and path.

        Args:
            path: A CSV file with a line of headings; other columns are left alone. `path` is the
                tile's picture file, as seen from the table's folder. Where `label` is empty a tile
                has none. Numbers are classes, and other labels need `class_names`.
            images: The tiles in the order of the rows, in the place of the column `path`.
            **options: As for `Tiles`.

        Returns:
            The tiles.

        Raises:
            OSError: If the table can't be read.
            ValueError: If a column is missing, a place is no number, or the tiles don't fit
                together.

        Example:
            >>> rows = "slide,x,y,label\ns1,0,0,1\ns1,64,0,0\n"
            >>> _ = Path("tiles.csv").write_text(rows)
            >>> Tiles.from_csv("tiles.csv", images=np.zeros((2, 8, 8, 3))).x.tolist()
            [0.0, 64.0]
        """
        table = _read_table(Path(path), (*_COLUMNS, *(() if images is not None else ("path",))))
        if images is None:
            images = [Path(path).parent / name for name in table["path"]]
        x, y = (_numbers(table[axis], axis, path) for axis in ("x", "y"))
        labels: list[Any] = [label.strip() for label in table["label"]]
        if all(label.isdecimal() for label in labels if label):
            labels = [int(label) if label else None for label in labels]
        return cls(
            images,
            labels if any(label != "" for label in table["label"]) else None,
            table["slide"],
            x,
            y,
            **options,
        )

    def parts(self) -> Iterator[Array]:
        """Read all tiles in order, a part at a time, as the model gets them: float32."""
        for start in range(0, self.count, _READ):
            part = self._source[start : start + _READ].astype(np.float32)
            part = part[..., None] if part.ndim == 3 else part
            yield part if self.preprocess is None else np.asarray(self.preprocess(part), np.float32)

    def truth(self, classes: int) -> Array:
        """Return which classes each tile has: float64 `(n, classes)`, NaN without a label."""
        found = np.full((self.count, classes), np.nan)
        if self._settled is not None:
            rows = self._settled
            found[self.known] = np.eye(classes)[rows] if rows.ndim == 1 else rows
        return found

    def mapped(self, head: Head) -> dict[int, str]:
        """Settle the classes whose probability is mapped, with their names.

        Raises:
            ValueError: A model without classes, or of others than the labels', or an unknown class.
        """
        count, names = head.classes, self.class_names
        labels = self._settled
        if head.kind == "values" or (
            labels is not None and labels.dtype.kind == "f" and labels.shape[1:] != (count,)
        ):
            raise ValueError(
                "Tiles need a model of classes, whose probabilities are mapped, and labels that "
                f"are classes. Received: a model of {count} "
                + ("values" if head.kind == "values" else "classes, and other labels")
            )
        if labels is not None and labels.ndim == 1 and labels.max(initial=0) >= count:
            raise ValueError(
                f"Labels must be from 0 to {count - 1}, for a model of {count} classes. "
                f"Received: label {labels.max()}"
            )
        texts = [str(name) for name in names] if names else [f"class {i}" for i in range(count)]
        wanted = self._classes or ([1] if count == 2 else range(count))
        found = {}
        for one in wanted:
            index = texts.index(one) if one in texts else one
            if not isinstance(index, int | np.integer) or not 0 <= index < count:
                raise ValueError(
                    f"classes must be among {texts}, or indices of them. Received: {one!r}"
                )
            found[int(index)] = texts[index]
        return found

    def on(self, slide: int) -> Array:
        """Return the indices of a slide's tiles."""
        return np.flatnonzero(self.slide == slide)

    def _on_slides(self) -> list[Array]:
        return [self.on(slide) for slide in range(len(self.slides))]

    def _rows(self, tiles: Array) -> Array:
        """Return where tiles that have a label stand among those that have one."""
        return (np.cumsum(self.known) - 1)[tiles]

    def _choose(self, maps: int | Sequence[int]) -> Array:
        """Choose the tiles that get maps: neighbours on each slide, and labelled ones if any is."""
        if not isinstance(maps, int | np.integer):
            chosen = np.asarray(maps)
            within = chosen.ndim == 1 and chosen.size and chosen.dtype.kind in "iu"
            if not within or chosen.min() < 0 or chosen.max() >= self.count:
                raise ValueError(
                    f"maps must be a number of tiles, or indices from 0 to {self.count - 1}. "
                    f"Received: maps={maps!r}"
                )
            if self._settled is not None and not self.known[chosen].all():
                lacking = chosen[~self.known[chosen]]
                raise ValueError(
                    "maps must name tiles that have a label, as others have. "
                    f"Received: {', '.join(map(str, lacking[:5]))} without one"
                )
            return chosen
        check_count(maps, "maps")
        allowed = self.known if self._settled is not None else np.ones(self.count, bool)
        members = [on[allowed[on]] for on in self._on_slides()]
        members = [on for on in members if on.size][: max(1, maps // _FEWEST)]
        found: list[tuple[int, Array]] = []
        left = int(maps)
        # From the smallest slide on, so that what it leaves goes to the others.
        for k, on in sorted(enumerate(members), key=lambda one: one[1].size):
            share = left // (len(members) - len(found))
            marks = np.zeros(on.size, int)
            if self._settled is not None:
                _, marks = np.unique(self._settled[self._rows(on)], axis=0, return_inverse=True)
            few = on[window(self.x[on], self.y[on], marks.reshape(-1), share)]
            found.append((k, few))
            left -= few.size
        return np.concatenate([few for _, few in sorted(found, key=lambda one: one[0])])


class _Files:
    """Picture files that are read like an array, by slices."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __getitem__(self, rows: slice) -> Array:
        found = read_images(self._paths[rows], "rgb")
        for path, picture in zip(self._paths[rows], found, strict=True):
            if picture.shape != found[0].shape:
                raise ValueError(
                    "The tiles' pictures must be of one size. Received: "
                    f"{self._paths[rows][0]} of {found[0].shape[:2]}, {path} of {picture.shape[:2]}"
                )
        return np.stack(found)


class _Arrays:
    """Anything that gives arrays for slices."""

    def __init__(self, images: Any) -> None:
        self._images = images

    def __getitem__(self, rows: slice) -> Array:
        return as_array(self._images[rows], "images")


def _source(images: Any, count: int) -> _Files | _Arrays:
    if isinstance(images, list | tuple) and images and isinstance(images[0], str | Path):
        images = [Path(path) for path in images]
        source: _Files | _Arrays = _Files(images)
    else:
        if isinstance(images, list | tuple) or not hasattr(images, "shape"):
            images = as_array(images, "images")
        source = _Arrays(images)
    if len(images) != count:
        raise ValueError(
            f"images must be of the {count} tiles that x and y have. Received: {len(images)} images"
        )
    return source


def _settled_slides(slides: Any, count: int) -> tuple[list[str], Array]:
    given = [slides] * count if isinstance(slides, str) else list(as_array(slides, "slides"))
    if len(given) != count:
        raise ValueError(
            f"slides must be a name for each of the {count} tiles, or one for all. "
            f"Received: {len(given)} names"
        )
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in given]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return list(numbers), np.array([numbers[name] for name in names])


def _settled_thumbnails(
    thumbnails: Mapping[str, Thumbnail] | None, slides: list[str]
) -> dict[str, Thumbnail]:
    found = {str(name): one for name, one in (thumbnails or {}).items()}
    for name, one in found.items():
        if not isinstance(one, Thumbnail):
            raise TypeError(
                "thumbnails must hold a tiles.Thumbnail(picture, size) by the name of its slide. "
                f"Received: {type(one).__name__} for {name!r}"
            )
        if name not in slides:
            raise ValueError(
                f"thumbnails must be of the slides {', '.join(map(repr, slides[:5]))}. "
                f"Received: {name!r}"
            )
    return found


def _settled_labels(
    labels: Any, count: int, names: tuple[str, ...] | None
) -> tuple[Array, Array | None]:
    """Settle which tiles have a label, and the labels of those that do."""
    if labels is None:
        return np.zeros(count, bool), None
    if isinstance(labels, list | tuple):
        known = np.array([not _is_missing(label) for label in labels])
        labels = [label for label, one in zip(labels, known, strict=True) if one]
    else:
        labels = as_array(labels, "labels")
        known = np.array([not _is_missing(label) for label in labels])
        labels = labels[known] if labels.ndim == 2 else list(labels[known])
    if len(known) != count:
        raise ValueError(
            f"labels must be of the {count} tiles, one each. Received: {len(known)} labels"
        )
    return known, as_labels(labels, len(labels), names) if len(labels) else None


def _is_missing(label: Any) -> bool:
    if label is None or (isinstance(label, str | bytes) and not label):
        return True
    return isinstance(label, float | np.floating) and bool(np.isnan(label))


def _read_table(path: Path, wanted: Sequence[str]) -> dict[str, list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            headings = [heading.strip() for heading in rows.fieldnames or ()]
            missing = [name for name in wanted if name not in headings]
            if missing:
                raise ValueError(
                    f"The table must have the columns {', '.join(wanted)}. Received: {path} with "
                    f"{', '.join(headings) or 'no headings'}, without {', '.join(missing)}"
                )
            rows.fieldnames = headings
            found = list(rows)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file in UTF-8: {error}. Export it anew.") from error
    if not found:
        raise ValueError(f"The table must have a row for each tile. Received: {path} without rows")
    return {name: [row[name] or "" for row in found] for name in wanted}


def _numbers(texts: Sequence[str], name: str, path: str | Path) -> Array:
    for row, text in enumerate(texts):
        try:
            float(text)
        except ValueError:
            raise ValueError(
                f"{name} must be a number in every row. Received: {text!r} in row {row + 2} of "
                f"{path}"
            ) from None
    return np.array(texts, float)
