"""Labels of probes: classes or regression targets, and the names they go by."""

import itertools
import unicodedata
from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np

from keras_saliency.common.arrays import as_array, frozen
from keras_saliency.common.types import Array
from keras_saliency.common.validation import check_finite

_VALUES = 4  # as many of a row of values are put into words


def as_class_names(class_names: Iterable[str] | None) -> tuple[str, ...] | None:
    """Return the class names as a tuple of different strings."""
    if class_names is None:
        return None
    unordered = isinstance(class_names, str | bytes | dict | set | frozenset)
    if unordered or not isinstance(class_names, Iterable):
        raise TypeError(
            "`class_names` must be a list, in the order of the model's outputs. "
            f"Received: class_names={class_names!r}"
        )
    names = tuple(_text(name) for name in class_names)
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "`class_names` must be a name for each class, all of them different, or None. "
            f"Received: class_names={names}"
        )
    return names


def _text(name: Any) -> str:
    """Return a name that may be bytes, as TensorFlow's and h5py's strings are."""
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def as_labels(labels: Any, count: int, class_names: tuple[str, ...] | None) -> Array | None:
    """Return int64 classes where the labels can be read as such, else float32 targets."""
    if labels is None:
        return None
    if isinstance(labels, str | bytes | dict | set):
        raise TypeError(
            f"`labels` must be a list or an array, one label per image. Received: labels={labels!r}"
        )
    array = as_array(labels, "labels")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2) or len(array) != count:
        raise ValueError(
            f"`labels` must be ({count},), ({count}, 1) or ({count}, classes), one per image; "
            f"what is known pixel by pixel goes into `masks`. Received: labels.shape={array.shape}"
        )
    if array.dtype.kind in "OSUT":
        array = _labels_from_texts(array, class_names)
    if array.dtype.kind not in "iufb":
        raise TypeError(
            "`labels` must be numbers, or strings from `class_names`, for every probe. "
            f"Received: labels={array!r}"
        )
    array = array.astype(np.float64)
    check_finite(array, "labels")
    if array.ndim == 2:
        return frozen(_labels_from_rows(array, class_names))
    if class_names is not None:
        return frozen(_labels_of_named(array, class_names))
    # Below 0 there are no classes: whole numbers can be a regression's targets, too.
    whole = (array == np.rint(array)).all() and (array >= 0).all()
    return frozen(array.astype(np.int64 if whole else np.float32))


def _labels_of_named(array: Array, class_names: tuple[str, ...]) -> Array:
    """Return indices of named classes; of two smoothed or mixed ones, the larger counts.

    Other fractional numbers stay a regression's targets.
    """
    if (array != np.rint(array)).any():
        if len(class_names) == 2 and (array >= 0).all() and (array <= 1).all():
            return (array > 0.5).astype(np.int64)
        return array.astype(np.float32)
    if (array < 0).any() or (array >= len(class_names)).any():
        raise ValueError(
            f"`labels` must be class indices from 0 to {len(class_names) - 1}, as `class_names` "
            f"has it. Received: labels from {array.min():g} to {array.max():g}"
        )
    return array.astype(np.int64)


def _labels_from_texts(texts: Array, class_names: tuple[str, ...] | None) -> Array:
    """Return class indices of strings; a guessed order would silently explain the wrong class."""
    decoded = [text.decode() if isinstance(text, bytes) else text for text in texts.tolist()]
    if not all(isinstance(text, str) for text in decoded):
        return texts  # which are no labels
    if class_names is None:
        raise ValueError(
            "Labels that are strings need `class_names`, in the order of the model's outputs. "
            f"Received: labels such as {', '.join(map(repr, sorted(set(decoded))[:5]))}"
        )
    unknown = sorted(set(decoded) - set(class_names))
    if unknown:
        raise ValueError(
            f"`labels` must be among class_names={list(class_names)}. Received: {unknown}"
        )
    return np.array([class_names.index(text) for text in decoded])


def _labels_from_rows(rows: Array, class_names: tuple[str, ...] | None) -> Array:
    """Return the classes of one-hot rows (smoothed ones, too), and other rows as they are."""
    if class_names is not None and rows.shape[1] != len(class_names):
        raise ValueError(
            f"`labels` must have a column for each of the {len(class_names)} `class_names`. "
            f"Received: labels.shape={rows.shape}"
        )
    if (rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-3):
        return rows.argmax(axis=1).astype(np.int64)
    return rows.astype(np.float32)


def label_text(label: Any, class_names: tuple[str, ...] | None) -> str:
    """Describe one probe's label."""
    if label.ndim == 0 and label.dtype.kind == "i":
        return class_names[label] if class_names is not None else str(label)
    # Smoothed, several labels an image differ from values between 0 and 1 by their names alone.
    soft = class_names is not None and (label >= 0).all() and (label <= 1).all()
    if label.ndim == 1 and (soft or np.isin(label, (0, 1)).all()):
        present = np.flatnonzero(label > 0.5)
        return "+".join(class_names[i] if class_names else str(i) for i in present) or "none"
    values = label.reshape(-1)
    return " ".join(f"{value:g}" for value in values[:_VALUES]) + " …" * (len(values) > _VALUES)


def as_names(names: Sequence[str] | None, label_texts: list[str | None]) -> tuple[str, ...]:
    """Return safe and unique names, one per probe."""
    count = len(label_texts)
    wrong = isinstance(names, str) or not isinstance(names, Sized) or len(names) != count
    if names is not None and wrong:
        raise ValueError(f"`names` must be a list of {count} names. Received: names={names!r}")
    width = max(2, len(str(count - 1)))
    numbers = [f"{index:0{width}d}" for index in range(count)]
    if names is None:
        names = [
            f"{number}_{text or ''}" for number, text in zip(numbers, label_texts, strict=True)
        ]
    unique: list[str] = []
    for name, number in zip(names, numbers, strict=True):
        base = _safe_name(_text(name)) or number
        numbered = (f"{base}_{copy}" for copy in itertools.count(2))
        candidates = itertools.chain([base], numbered)
        unique.append(next(text for text in candidates if text not in unique))
    return tuple(unique)


def _safe_name(name: str) -> str:
    """Keep letters, marks and digits of any script and `. - +`; every other run becomes `_`."""
    kept = (
        c if unicodedata.category(c)[0] in "LMN" or c in ".-+" else " "
        for c in unicodedata.normalize("NFC", name)
    )
    return "_".join("".join(kept).split()).strip("_.")
