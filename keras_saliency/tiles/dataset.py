"""Tiles of large images: where each lies, what it is, and which of them get attribution maps."""

import csv
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
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
from keras_saliency.tiles.drawing import Thumbnail, check_each, resolve_places, resolve_tile
from keras_saliency.tiles.geometry import window

_MAPS = 64
_FEWEST = 9  # tiles of a slide that get maps, so that they make an image
_READ = 512  # tiles that are in memory at a time
_COLUMNS = ("slide", "x", "y", "label")


class Tiles(Probes):
    """Probes that are tiles of large images, each with a slide and a place on it.

    At every evaluation the model is evaluated on all tiles, in batches, for its probabilities. The
    tiles that `maps` chooses are the probes proper, which get attribution maps, cards and numbers
    of their own. Not all tiles need to be in memory: they are read part by part.

    Attributes:
        count: The number of all tiles.
        slides: The names of the slides, in the order of their first tiles.
        slide: int `(n,)`, the index of the slide on which each tile lies.
        x: float64 `(n,)`, the left edge of each tile.
        y: float64 `(n,)`, the upper edge of each tile, downwards.
        tile: The `(height, width)` of a tile in the units of x and y, for each slide.
        thumbnails: A `Thumbnail` of some of the slides, by name.
        known: bool `(n,)`, which tiles have a label.
        chosen: int, the indices of the tiles that get maps.
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
        """Read where the tiles lie and what they are, and choose those that get maps.

        Args:
            images: `(n, height, width, channels)`, as `Probes` takes them: an array, or whatever
                gives arrays for slices, such as a `np.memmap` or a dataset of h5py; or the paths
                of n image files of one size, which are read anew at each evaluation.
            labels: As `Probes` takes them, for classifiers: `(n,)`, strings from `class_names`, or
                rows; None for no labels. In a list, None, "" or NaN is a tile without a label.
            slides: `(n,)`, the name of each tile's slide; or one name for all.
            x: `(n,)`, the left edge of each tile, in any unit; tiles need form no grid.
            y: `(n,)`, the upper edge of each tile, in the same unit, downwards.
            tile: The `(height, width)` of a tile in the units of x and y, or one number for both;
                by default, for each slide, the median distance from a tile to the nearest other.
            thumbnails: A `Thumbnail` of some of the slides, by name.
            maps: How many tiles get attribution maps, which cost a forward and a backward pass
                each, and more with methods of many passes. Neighbours on each slide are chosen,
                where labels are mixed most. Or the indices of the tiles.
            classes: Names or indices of the classes whose probability is mapped; by default the
                second of two, or all.
            class_names: As for `Probes`.
            preprocess: As for `Probes`; it is called with parts of the tiles.

        Raises:
            TypeError: If an argument is not an array, or a label is of no known kind.
            ValueError: If shapes, values or names do not fit together.

        Example:
            >>> x, y = (axis.reshape(-1) for axis in np.meshgrid(np.arange(6), np.arange(4)))
            >>> tiles = Tiles(np.zeros((24, 16, 16, 3)), x > 2, "slide 1", x, y, maps=8)
            >>> len(tiles), tiles.count, tiles.names[0]
            (8, 24, '00_slide_1_x1_y0')
        """
        self.x, self.y = resolve_places(x, y)
        self.count = len(self.x)
        self._read = _reader(images, self.count)
        self.slides, self.slide = _resolve_slides(slides, self.count)
        self.tile = [resolve_tile(tile, self.x[on], self.y[on]) for on in self._on_slides()]
        self.thumbnails = _check_thumbnails(thumbnails, self.slides)
        names = as_class_names(class_names)
        self.known, self._known_labels = _resolve_labels(labels, self.count, names)
        self._classes = classes
        choose = self._choose if isinstance(maps, int | np.integer) else self._check_chosen
        self.chosen = choose(maps)
        width = max(2, len(str(len(self.chosen) - 1)))
        super().__init__(
            np.concatenate([self._read(slice(i, i + 1)) for i in self.chosen]),
            None if self._known_labels is None else self._known_labels[self._rows(self.chosen)],
            names=[
                f"{k:0{width}d}_{self.slides[self.slide[i]]}_x{self.x[i]:g}_y{self.y[i]:g}"
                for k, i in enumerate(self.chosen)
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
    def from_csv(cls, path: str | Path, *, images: Any = None, **options: Any) -> "Tiles":
        r"""Read a table with a row for each tile and the columns slide, x, y, label and path.

        Args:
            path: A CSV file with a line of headings; other columns are left alone. `path` is the
                tile's image file, relative to the table's folder. A tile whose `label` is empty has
                no label. Numbers are classes, and other labels need `class_names`.
            images: The tiles in the order of the rows, in place of the column `path`.
            **options: The other arguments of `Tiles`.

        Returns:
            The tiles.

        Raises:
            OSError: If the table cannot be read.
            ValueError: If a column is missing, a place is not a number, or the tiles do not fit
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
        known = labels if any(table["label"]) else None
        return cls(images, known, table["slide"], x, y, **options)

    def parts(self) -> Iterator[Array]:
        """Read all tiles in order, a part at a time, as the model gets them.

        Yields:
            float32 `(up to 512, height, width, channels)`.
        """
        for start in range(0, self.count, _READ):
            part = self._read(slice(start, start + _READ)).astype(np.float32)
            part = part[..., None] if part.ndim == 3 else part
            yield part if self.preprocess is None else np.asarray(self.preprocess(part), np.float32)

    def truth(self, classes: int) -> Array:
        """Return which classes each tile has.

        Args:
            classes: The number of classes of the model.

        Returns:
            float64 `(n, classes)`, 1 or a label's share, 0 elsewhere; NaN without a label.
        """
        shares = np.full((self.count, classes), np.nan)
        labels = self._known_labels
        if labels is not None:
            shares[self.known] = np.eye(classes)[labels] if labels.ndim == 1 else labels
        return shares

    def mapped(self, head: Head) -> dict[int, str]:
        """Return the classes whose probability is mapped, with their names.

        Args:
            head: The model's output.

        Returns:
            By the index of each class its name.

        Raises:
            ValueError: If the model has no classes, or others than the labels', or a class is
                unknown.
        """
        count, labels = head.classes, self._known_labels
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
        names = [str(name) for name in self.class_names or ()]
        names = names or [f"class {i}" for i in range(count)]
        mapped = {}
        for wanted in self._classes or ([1] if count == 2 else range(count)):
            index = names.index(wanted) if wanted in names else wanted
            if not isinstance(index, int | np.integer) or not 0 <= index < count:
                raise ValueError(
                    f"classes must be among {names}, or indices of them. Received: {wanted!r}"
                )
            mapped[int(index)] = names[index]
        return mapped

    def on(self, slide: int) -> Array:
        """Return the tiles of a slide.

        Args:
            slide: The slide's index in `slides`.

        Returns:
            int, the indices of its tiles.
        """
        return np.flatnonzero(self.slide == slide)

    def _on_slides(self) -> list[Array]:
        return [self.on(slide) for slide in range(len(self.slides))]

    def _rows(self, tiles: Array) -> Array:
        """Return the rows of labelled tiles among those that have a label."""
        return (np.cumsum(self.known) - 1)[tiles]

    def _check_chosen(self, maps: Any) -> Array:
        """Validate the indices of the tiles that get maps."""
        chosen = np.asarray(maps)
        within = chosen.ndim == 1 and chosen.size and chosen.dtype.kind in "iu"
        if not within or chosen.min() < 0 or chosen.max() >= self.count:
            raise ValueError(
                f"maps must be a number of tiles, or indices from 0 to {self.count - 1}. "
                f"Received: maps={maps!r}"
            )
        if self._known_labels is not None and not self.known[chosen].all():
            lacking = chosen[~self.known[chosen]]
            raise ValueError(
                "maps must name tiles that have a label, as others have. "
                f"Received: {', '.join(map(str, lacking[:5]))} without one"
            )
        return chosen

    def _choose(self, maps: Any) -> Array:
        """Choose the tiles that get maps: neighbours on each slide, labelled ones if any are."""
        check_count(maps, "maps")
        labels = self._known_labels
        allowed = np.full(self.count, labels is None) | self.known
        members = [on[allowed[on]] for on in self._on_slides()]
        members = [on for on in members if on.size][: max(1, maps // _FEWEST)]
        chosen: dict[int, Array] = {}
        left = int(maps)
        # From the smallest slide on, so that what it leaves goes to the others.
        for k in sorted(range(len(members)), key=lambda k: members[k].size):
            on, kinds = members[k], np.zeros(members[k].size, int)
            if labels is not None:
                _, kinds = np.unique(labels[self._rows(on)], axis=0, return_inverse=True)
            share = left // (len(members) - len(chosen))
            chosen[k] = on[window(self.x[on], self.y[on], kinds.reshape(-1), share)]
            left -= chosen[k].size
        return np.concatenate([chosen[k] for k in range(len(members))])


def _reader(images: Any, count: int) -> Callable[[slice], Array]:
    """Return what reads a slice of the images, out of their files or of anything that slices."""
    if isinstance(images, list | tuple) and images and isinstance(images[0], str | Path):
        check_each(len(images), "images", count)
        return functools.partial(_read_files, [Path(path) for path in images])
    if isinstance(images, list | tuple) or not hasattr(images, "shape"):
        images = as_array(images, "images")
    check_each(len(images), "images", count)
    return lambda rows: as_array(images[rows], "images")


def _read_files(paths: Sequence[Path], rows: slice) -> Array:
    images = read_images(paths[rows], "rgb")
    for path, image in zip(paths[rows], images, strict=True):
        if image.shape != images[0].shape:
            raise ValueError(
                "The tiles' images must be of one size. Received: "
                f"{paths[rows][0]} of {images[0].shape[:2]}, {path} of {image.shape[:2]}"
            )
    return np.stack(images)


def _resolve_slides(slides: Any, count: int) -> tuple[list[str], Array]:
    given = [slides] * count if isinstance(slides, str) else list(as_array(slides, "slides"))
    check_each(len(given), "slides", count, ", or a single name for all")
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in given]
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return list(numbers), np.array([numbers[name] for name in names])


def _check_thumbnails(
    thumbnails: Mapping[str, Thumbnail] | None, slides: list[str]
) -> dict[str, Thumbnail]:
    checked = {str(name): thumbnail for name, thumbnail in (thumbnails or {}).items()}
    for name, thumbnail in checked.items():
        if not isinstance(thumbnail, Thumbnail):
            raise TypeError(
                "thumbnails must hold a tiles.Thumbnail(picture, size) by the name of its slide. "
                f"Received: {type(thumbnail).__name__} for {name!r}"
            )
        if name not in slides:
            raise ValueError(
                f"thumbnails must be of the slides {', '.join(map(repr, slides[:5]))}. "
                f"Received: {name!r}"
            )
    return checked


def _resolve_labels(
    labels: Any, count: int, names: tuple[str, ...] | None
) -> tuple[Array, Array | None]:
    """Return which tiles have a label, and the labels of those that do."""
    if labels is None:
        return np.zeros(count, bool), None
    if not isinstance(labels, list | tuple):
        labels = as_array(labels, "labels")
    known = np.array([not _is_missing(label) for label in labels])
    check_each(len(known), "labels", count)
    are_rows = isinstance(labels, np.ndarray) and labels.ndim == 2
    labels = labels[known] if are_rows else list(compress(labels, known))
    return known, as_labels(labels, len(labels), names) if len(labels) else None


def _is_missing(label: Any) -> bool:
    if label is None or (isinstance(label, str | bytes) and not label):
        return True
    return isinstance(label, float | np.floating) and bool(np.isnan(label))


def _read_table(path: Path, wanted: Sequence[str]) -> dict[str, list[str]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            headings = [heading.strip() for heading in reader.fieldnames or ()]
            missing = [name for name in wanted if name not in headings]
            if missing:
                raise ValueError(
                    f"The table must have the columns {', '.join(wanted)}. Received: {path} with "
                    f"{', '.join(headings) or 'no headings'}, without {', '.join(missing)}"
                )
            reader.fieldnames = headings
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file in UTF-8: {error}. Export it anew.") from error
    if not rows:
        raise ValueError(f"The table must have a row for each tile. Received: {path} without rows")
    return {name: [row[name] or "" for row in rows] for name in wanted}


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
