"""Probes: fixed images, as the model gets them and as a person sees them, with their labels."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from keras_saliency.common.arrays import as_array, frozen, is_pillow_image
from keras_saliency.common.resampling import average_masks
from keras_saliency.common.types import Array
from keras_saliency.common.user_warnings import warn_user
from keras_saliency.common.validation import check_call, check_finite, check_images
from keras_saliency.data.dataset_reader import draw, is_dataset
from keras_saliency.data.display import convert_display, displayed, find_range, strips
from keras_saliency.data.inputs import Kind, image_batch, split_inputs, stack_inputs
from keras_saliency.data.labels import as_class_names, as_labels, as_names, label_text
from keras_saliency.data.masks import as_masks
from keras_saliency.data.segmentation import is_segmenter, segment

_FEW = 4  # of each class, where nothing else is asked for


class Probes:
    """The fixed images a callback watches.

    All arrays are copies and read-only: what happens to the caller's arrays later does not show.

    Attributes:
        images: float32 `(batch, height, width, channels)`, what the model gets; of signals
            `(batch, time, channels)`, of volumes `(batch, frames, height, width, channels)`.
        extras: What else the model gets, by name or position; read-only, a row for each probe.
        kind: `"image"`, `"signal"` or `"volume"`.
        display: uint8 `(batch, height, width, 3)`, what a person sees: a signal's curves, and of
            a volume at most eight frames, evenly chosen, side by side.
        clips: Of volumes all frames as a person sees them, uint8 `(batch, frames, height, width,
            3)`; else `None`.
        labels: int64 `(batch,)` for classes; float32 `(batch,)` for regression and float32
            `(batch, outputs)` for several labels or targets an image; or `None`.
        masks: float32 in [0, 1], 1 on the object, of the shape of `images` without its channels;
            or `None`.
        names: One unique name per probe, safe in a TensorBoard tag.
        class_names: The classes in the order of the model's outputs, or `None`.
        value_range: `(lowest, highest)` possible value of the images as they were given; their
            extremes where the range is none of the known ones.
        preprocess: The callable that makes the model's input of the images given, or `None`.
    """

    def __init__(
        self,
        images: Any,
        labels: Any = None,
        *,
        masks: Any = None,
        names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        display: Any = None,
        preprocess: Callable[[Any], Any] | None = None,
        kind: Kind | None = None,
        image: str | int | None = None,
    ) -> None:
        """Make probes of arrays, and validate them.

        Args:
            images: `(batch, height, width, channels)`, or `(batch, height, width)` for greyscale:
                uint8, or numbers in [0, 1], [-1, 1] or [0, 255]. The range is one for all images.
                Without `preprocess` the model gets them as they are, as float32. A list of Pillow
                images is read as 0 to 255, greyscale if all of them are, else RGB on white. Volumes
                and videos are `(batch, frames, height, width, channels)`. For a model of several
                inputs, a dict of them by name, or a tuple in the model's order.
            labels: `(batch,)` or `(batch, 1)` integers, 0/1, strings from `class_names`, or
                one-hot (also smoothed or mixed) rows `(batch, classes)`, of which the largest
                counts. Rows that do not sum to one stay a matrix; fractional and negative numbers
                stay regression targets, except that of two `class_names` 0.9 means the second.
            masks: Where the object is: `(batch, height, width)` or `(batch, height, width, 1)` of
                the images' size (and number of frames); bool, 0/1, [0, 1] or 0/255. `"motion"`
                takes what moves by itself in videos, the camera's own movement left out. A
                function, a Keras segmentation model or `"rembg"` computes them, as in `Shortcuts`.
            names: One name per probe; made safe and unique. Default: `"00_penguin"`.
            class_names: The classes in the order of the model's outputs.
            display: What a person sees, where it can't be derived from `images`: greyscale or
                RGB in one of the ranges above, of any size; of volumes as many frames.
            preprocess: Called with a float32 copy of `images` to make the model's input of the
                same height and width, e.g. `keras.applications.vgg16.preprocess_input`.
            kind: `"signal"` for `(batch, time, channels)`, or `(batch, time)`, whose shape alone
                could be that of greyscale images; `"volume"` for `(batch, frames, height, width)`.
            image: Of several inputs, the name or position of the images, which are explained; by
                default the one of most axes.

        Raises:
            TypeError: If something is not an array, or a label is of no known kind.
            ValueError: If shapes, values or names don't fit together.

        Example:
            >>> images = np.random.default_rng(0).random((2, 32, 48, 3))
            >>> probes = Probes(images, ["penguin", "elephant"],
            ...                 class_names=["elephant", "penguin"])
            >>> probes.labels.tolist(), probes.names
            ([1, 0], ('00_penguin', '01_elephant'))
        """
        check_images(images)
        if preprocess is not None and not callable(preprocess):
            raise TypeError(
                "`preprocess` must be a function and not its name: one such as "
                f"`keras.applications.vgg16.preprocess_input`. Received: preprocess={preprocess!r}"
            )
        if preprocess is not None:
            check_call(preprocess, ("images",), "`preprocess`")
        alone, extras, inputs = split_inputs(images, image)
        self.extras = MappingProxyType(extras)
        given, self.kind, bare = image_batch(alone, "images", kind)
        dtype = "float32" if preprocess else str(given.dtype)
        self.model_inputs = replace(inputs, bare=bare, dtype=dtype)
        check_finite(given, "images")
        self.value_range, known = find_range(given)
        raw = given.astype(np.float32)
        if display is None:
            shown = displayed(raw, self.kind, self.value_range, known)
        else:
            shown = convert_display(display, self.kind, raw)
        self.clips = shown if self.kind == "volume" else None
        self.display = frozen(shown if self.clips is None else strips(shown))
        self.preprocess = preprocess
        self.images = frozen(raw if preprocess is None else _model_input(raw, preprocess))
        self.class_names = as_class_names(class_names)
        self.labels = as_labels(labels, len(raw), self.class_names)
        self.masks = self._read_masks(masks, raw.shape[:-1])
        self.names = as_names(names, self.label_texts())

    @classmethod
    def from_directory(
        cls,
        directory: str | Path,
        *,
        image_size: Any = None,
        per_class: int | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        color_mode: str = "rgb",
    ) -> "Probes":
        """Read a folder of class folders, or of unlabelled images.

        Classes and their order are those of `keras.utils.image_dataset_from_directory`. Images
        are resized as it does by default (bilinear, not antialiased, the aspect ratio not kept),
        so that the model sees what it was trained on. Unlike there, the orientation in the EXIF
        data is applied, transparency is shown on white, and hidden files are left out. With
        `NAME.mask.png` beside every `NAME.jpg` these are the masks.

        Args:
            directory: Holds a folder per class, or images (jpg, jpeg, png, bmp, gif, webp) of at
                most 89 million pixels each, or what `PIL.Image.MAX_IMAGE_PIXELS` is set to.
            image_size: `(height, width)`, or a model from whose input it is taken. `None`: all
                images have one size.
            per_class: How many images of each class are taken (of all together where there are
                no classes), evenly spread over their names, and read; all if `None`.
            preprocess: As for `Probes`; it gets values from 0 to 255.
            color_mode: `"rgb"`, `"rgba"` or `"grayscale"`.

        Returns:
            The probes, whose images hold values from 0 to 255.

        Raises:
            TypeError: If `directory` is no path.
            ValueError: If there are no images, or one can't be read, or sizes differ, or some have
                masks and others have none, or an option is out of its range.

        Warns:
            UserWarning: If there are images beside the class folders, which are left out.

        Example:
            >>> import keras, tempfile
            >>> folder = tempfile.mkdtemp()
            >>> keras.utils.save_img(f"{folder}/a.png", np.zeros((4, 6, 3)), scale=False)
            >>> Probes.from_directory(folder, image_size=(8, 12)).images.shape
            (1, 8, 12, 3)
        """
        from keras_saliency.data.directory import read_folder

        given = read_folder(directory, image_size, per_class, color_mode)
        return cls(**given, preprocess=preprocess)

    @classmethod
    def from_dataset(
        cls,
        dataset: Iterable[Any],
        per_class: int = _FEW,
        seed: int = 0,
        *,
        class_names: Sequence[str] | None = None,
        preprocess: Callable[[Any], Any] | None = None,
        kind: Kind | None = None,
        image: str | int | None = None,
    ) -> "Probes":
        """Choose a few examples of each class from a dataset.

        About 2000 examples are read; where class comes after class, up to 10 000, for half a
        minute. A `tf.data.Dataset` is read through a copy, so that the order of its later epochs
        stays what it would have been.

        Args:
            dataset: A `tf.data.Dataset`, a `keras.utils.PyDataset` or an iterable that yields
                `(images, labels, ...)` or images alone, in batches or one by one; of a model of
                several inputs, a dict or tuple of them instead of the images.
            per_class: How many examples of each class, chosen at random; of all together where
                the labels are no classes.
            seed: Decides the choice.
            class_names: As for `Probes`; by default the dataset's own `class_names`, if any.
            preprocess: As for `Probes`, for a dataset of images that the model does not get as
                they are.
            kind: As for `Probes`.
            image: As for `Probes`.

        Returns:
            The probes, ordered by class.

        Raises:
            TypeError: If the dataset does not yield arrays of images (and one of labels).
            ValueError: If the dataset is empty, or its examples make no probes.

        Warns:
            UserWarning: If reading shifts what the dataset yields later, or a class is not met,
                or only one class, or class comes after class.

        Example:
            >>> batches = [(np.zeros((6, 8, 8, 3)), [0, 1, 2, 0, 1, 2])]
            >>> Probes.from_dataset(batches, per_class=1).labels.tolist()
            [0, 1, 2]
        """
        if class_names is None:
            class_names = getattr(dataset, "class_names", None)
        count = None if class_names is None else len(class_names)
        examples, labels = draw(dataset, per_class, seed, count, kind)
        probes = cls(
            stack_inputs(examples),
            labels,
            class_names=class_names,
            preprocess=preprocess,
            kind=kind,
            image=image,
        )
        absent = sorted(set(probes.class_names or ()).difference(probes.label_texts()))
        if absent and probes.labels is not None and probes.labels.ndim == 1:
            warn_user(
                f"No example of {', '.join(absent)} was among those read from the dataset: "
                "shuffle it, or pass arrays."
            )
        return probes

    @classmethod
    def of(cls, value: Any, model: Any = None) -> "Probes":
        """Make probes of an array, a dataset, a folder, or what else says clearly what it is.

        Args:
            value: `Probes` (returned as they are), an array of images, a dict of inputs, a tuple
                `(images, labels)`, a dataset, or the path of a folder. Of a dataset or a folder
                four images of each class are taken.
            model: Gives the size and the number of channels of the images in a folder.

        Returns:
            The probes.

        Raises:
            TypeError: If the value is none of these.
            ValueError: If what it holds makes no probes.

        Example:
            >>> len(Probes.of((np.zeros((2, 8, 8, 3)), [0, 1])))
            2
        """
        if isinstance(value, Probes):
            return value
        if isinstance(value, str | Path):
            shape = getattr(model, "input_shape", None) or (None,)
            color_mode = "grayscale" if shape[-1] == 1 else "rgba" if shape[-1] == 4 else "rgb"
            return cls.from_directory(
                value, image_size=model, per_class=_FEW, color_mode=color_mode
            )
        if isinstance(value, tuple):
            if len(value) != 2:
                raise TypeError(
                    "A tuple of probes must be `(images, labels)`; for more use "
                    f"`Probes(images, labels, masks=...)`. Received: {len(value)} entries"
                )
            return cls(*value)
        if isinstance(value, list) and value and isinstance(value[0], tuple):
            return cls.from_dataset(value)
        if isinstance(value, list | dict) or hasattr(value, "__array__") or is_pillow_image(value):
            return cls(value)
        if not is_dataset(value):
            raise TypeError(
                "Probes are made of an array of images, `(images, labels)`, a dataset, a folder or "
                f"`Probes`. Received: {type(value).__name__}"
            )
        return cls.from_dataset(value)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"extras": dict(self.extras)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a copy, or what was pickled, as read-only as it was."""
        vars(self).update(state | {"extras": MappingProxyType(state["extras"])})
        for value in (*vars(self).values(), *self.extras.values()):
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def _read_masks(self, masks: Any, shape: tuple[int, ...]) -> Array | None:
        """Read masks of the images, or compute them by what was given."""
        if is_segmenter(masks):
            if self.kind == "signal":
                raise ValueError("Masks of signals can't be computed; pass an array.")
            shown = self.display if self.clips is None else self.clips
            masks, _ = segment(masks, shown)
            if masks.shape != shape:
                frames = masks.reshape(-1, *masks.shape[-2:])
                masks = average_masks(frames, (shape[-2], shape[-1])).reshape(shape)
        elif isinstance(masks, str):
            masks = _moving(masks, self.clips, shape[2:])
        return None if masks is None else frozen(as_masks(masks, shape))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def frames(self) -> int:
        """Number of frames of each volume, some of which `display` shows; 1 for other kinds."""
        return self.images.shape[1] if self.kind == "volume" else 1

    def __repr__(self) -> str:
        size = "x".join(map(str, self.images.shape[1:]))
        parts = [
            f"{len(self)} {self.kind}s of {size}",
            "values {:g} to {:g}".format(*self.value_range),
        ]
        if self.extras:
            parts.append(f"beside {', '.join(map(repr, self.extras))}")
        if self.class_names is not None:
            parts.append(f"{len(self.class_names)} classes")
        parts.append("unlabelled" if self.labels is None else "labelled")
        parts.append("without masks" if self.masks is None else "with masks")
        return f"Probes({', '.join(parts)})"

    def label_texts(self) -> list[str | None]:
        """Describe each probe by its label.

        Returns:
            One text per probe: the class name, the label itself where there are no class names,
            names joined by "+" for several labels, or `None` without labels.

        Example:
            >>> Probes(np.zeros((2, 8, 8)), [1, 0], class_names=["cat", "dog"]).label_texts()
            ['dog', 'cat']
        """
        if self.labels is None:
            return [None] * len(self)
        return [label_text(label, self.class_names) for label in self.labels]


def _model_input(raw: Array, preprocess: Callable[[Any], Any]) -> Array:
    """Preprocess the images; `preprocess` may write into `raw`, as Keras's own do."""
    made = as_array(preprocess(raw), "preprocess(images)")
    if made.ndim != raw.ndim or made.shape[:-1] != raw.shape[:-1]:
        raise ValueError(
            "`preprocess` must keep the number and the size of the images; resize before. "
            f"Received: images.shape={raw.shape}, preprocess(images).shape={made.shape}"
        )
    made = made.astype(np.float32)
    check_finite(made, "preprocess(images)")
    return made


def _moving(masks: str, clips: Array | None, size: tuple[int, ...]) -> Array:
    """Make masks of what moves in videos, at the size of the images."""
    if masks != "motion" or clips is None:
        raise ValueError(
            "`masks` must be an array, as keras_saliency.data.masks.make_masks(images) makes one; "
            "a function, a Keras segmentation model or 'rembg'; or 'motion' for videos "
            "(batch, frames, height, width, channels). "
            f"Received: masks={masks!r} for {'images' if clips is None else 'videos'}"
        )
    from keras_saliency.data.video.motion_masks import masks_of

    return np.stack([average_masks(mask, (size[0], size[1])) for mask in masks_of(clips)])
