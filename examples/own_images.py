"""What the examples share for images of your own: a folder of class folders as training data."""

import keras
import numpy as np

from keras_saliency import Probes, Verdict
from keras_saliency.cli.demo import PROBES, TrainingData, background_enrichment, how_to_see


def own_images(folder: str, size: tuple[int, int], seed: int = 0) -> TrainingData:
    """Read a folder of class folders, with `NAME.mask.png` beside the images or without masks.

    Some of the images, `PROBES` or at most a quarter of each class, become the probes.
    """
    everything = Probes.from_directory(folder, image_size=size)
    labels, names = everything.labels, everything.class_names
    if labels is None or names is None or len(names) < 2:
        raise ValueError(
            "The folder must hold a sub-folder of images for each of two or more classes. "
            f"Received: {folder!r} with {0 if names is None else len(names)} classes"
        )
    chosen = choose_probes(labels, seed)
    masks = None if everything.masks is None else everything.masks[chosen]
    probes = Probes(everything.display[chosen], labels[chosen], masks=masks, class_names=names)
    rest = np.setdiff1d(np.arange(len(labels)), chosen)
    return TrainingData(everything.display[rest], labels[rest], probes)


def choose_probes(labels: np.ndarray, seed: int) -> np.ndarray:
    """Draw as many images of each class."""
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    chosen = []
    for label in classes:
        members = np.flatnonzero(labels == label)
        count = min(-(-PROBES // len(classes)), len(members) // 4)
        if count == 0:
            raise ValueError(
                "Each class needs four images or more, one of which is a probe. "
                f"Received: {len(members)} of class {label}"
            )
        chosen.append(rng.choice(members, count, replace=False))
    return np.sort(np.concatenate(chosen))


def summary(
    model: keras.Model, probes: Probes, log_dir: str, verdict: Verdict | None = None
) -> str:
    """Tell where a trained model looks, what it relies on, and how to see more."""
    judged = f"Verdict: {verdict.text}.\n\n" if verdict else ""
    return f"{where_it_looks(model, probes)}\n{judged}{how_to_see(log_dir)}"


def where_it_looks(model: keras.Model, probes: Probes) -> str:
    """Tell how much of Grad-CAM's mass lies on the background, if the probes have masks."""
    if probes.masks is None:
        return ""
    ratios = background_enrichment(model, probes)
    if not len(ratios):
        return "\nGrad-CAM is zero in all probes: no evidence for their class.\n"
    return (
        f"\nGrad-CAM of {len(ratios)} probes puts {ratios.mean():.2f} times as much of its heat on "
        "the background\nas the background has of the area (1.00 would be a map that knows "
        "nothing).\n"
    )
