"""Contrast maps: what speaks for the class that is predicted wrongly, and against the label."""

from dataclasses import dataclass

import numpy as np

from keras_saliency.attribution.explainer import Evaluation, Explainer
from keras_saliency.common.types import Array

# Methods whose maps are of one score, by gradients: of these, the first that is asked for is taken.
METHODS = (
    "grad_cam",
    "hires_cam",
    "layer_cam",
    "xgrad_cam",
    "grad_cam_plus_plus",
    "gradient_x_input",
    "saliency",
    "attention_grad",
)


@dataclass(frozen=True)
class Contrast:
    """Contrast maps of the probes that are classified wrongly.

    Attributes:
        method: The name of the method.
        index: Which probes, int `(k,)`.
        maps: Raw maps float32 `(k, h, w)` of the score of the predicted class minus the label's.
    """

    method: str
    index: Array
    maps: Array


def contrast_of_wrong(explainer: Explainer, evaluation: Evaluation) -> Contrast | None:
    """Compute what speaks for the predicted class rather than the label, of wrong predictions.

    Prabhushankar et al. 2020, "Contrastive explanations in neural networks", arXiv:2008.00178, ask
    a network likewise why it predicts P rather than Q. It takes a further pass, without a further
    trace.

    Args:
        explainer: What explains the probes.
        evaluation: Of all probes, by the model's current weights.

    Returns:
        The maps; or `None` where nothing is classified wrongly, no gradient method is asked for, or
        the explainer's target or the labels are not one class a probe.
    """
    labels, predicted = explainer.probes.labels, evaluation.predicted
    able = [name for name in METHODS if name in explainer.in_one_pass and name in evaluation.maps]
    if not able or labels is None or labels.ndim > 1 or not explainer.context.target.classes:
        return None
    index = np.flatnonzero((predicted >= 0) & (predicted != labels))
    if not len(index):
        return None
    pairs = predicted[index], labels[index]
    return Contrast(able[0], index, explainer.contrast(able[0], index, *pairs))
