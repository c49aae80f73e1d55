"""Tasks that a verdict can be given on, one in a module of its name."""

from keras_saliency.common.types import Array
from keras_saliency.shortcuts.tasks.classification import Classification
from keras_saliency.shortcuts.tasks.multi_label import MultiLabel
from keras_saliency.shortcuts.tasks.regression import Regression
from keras_saliency.shortcuts.tasks.segmentation import Segmentation
from keras_saliency.shortcuts.tasks.task import Task

# The first that labels fit is theirs.
TASKS: tuple[type[Task], ...] = (Classification, MultiLabel, Regression, Segmentation)


def task_of(labels: Array | None, name: str | None = None) -> Task:
    """Find the task that labels belong to.

    Args:
        labels: Labels of all examples, as `as_labels` returns them; or `None`.
        name: The name of the task, where it is stated.

    Returns:
        The task.

    Raises:
        ValueError: If there are no labels, they do not fit the task, or there is nothing to
            compare.

    Example:
        >>> import numpy as np
        >>> task_of(np.array([[1, 0, 1], [0, 0, 1]]))
        MultiLabel(count=3)
    """
    tasks = [task for task in TASKS if name in (None, task.name)]
    found = (task.of(labels) for task in tasks if labels is not None)
    task = next((task for task in found if task is not None), None)
    if task is None:
        kind = "none" if labels is None else f"labels.shape={labels.shape}, {labels.dtype}"
        raise ValueError(
            "Every donor and receiver needs one class as its label, a row of 0 and 1 (several "
            "labels), a map of classes (segmentation), or one number (regression); of several "
            "numbers pass one, with a model of it alone. "
            f"Received: {kind}{f', task={name!r}' if name else ''}"
        )
    return task
