"""Which share of a score passes by the target layers."""

from typing import Any

import numpy as np
from keras import ops

from keras_saliency.engine.pass_runner import PassRunner, Plan
from keras_saliency.engine.passes import AROUND


def share_around(passes: PassRunner, *inputs: Any) -> float:
    """Measure what passes by the target layers: gradient times image, summed over images.

    Args:
        passes: The passes of a model that has a target layer.
        *inputs: Images `(n, height, width, channels)`, what the target knows of each, and the
            model's other inputs.

    Returns:
        The share, from 0 to 1; 0 where the score has no gradient at the images.
    """
    if passes.context.is_cut:
        return 0.0
    try:
        around, whole = (
            ops.convert_to_numpy(passes.start(Plan(frozenset({name})), *inputs).results[name])
            for name in (AROUND, "input_gradients")
        )
    except ValueError:  # no gradient at the images
        return 0.0
    beside, through = (np.abs(part * inputs[0]).sum() for part in (around, whole - around))
    return float(beside / (beside + through)) if beside else 0.0
