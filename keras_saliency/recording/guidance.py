"""What a reader of a verdict or a map needs to know: words, how to read it, and what to do next.

TensorBoard imports this module, which needs nothing but the standard library.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

_PAGE = "https://keras-saliency.github.io/keras-saliency/what_to_do/"
_SWAP, _SWAP_PAGE = "Train with BackgroundSwap", f"{_PAGE}#swap-the-backgrounds"

DISAGREEMENT = (
    "Grad-CAM and saliency can disagree, also for a sound model, because they answer different "
    "questions. Grad-CAM says which coarse regions of the last convolution speak for the class; "
    "saliency says at which pixels a small change would change the score most, which are mostly "
    "edges. Where they disagree, let the verdict decide."
)
HOW_TO_READ = (
    "Bright = what the score rests on. The colours of a map run from zero to its own peak; where "
    "there is no colour there is no evidence. Compare the peaks before you compare colours.",
    "Focus is how many times more of a map lies on the object than by chance, which is 1. It is "
    "known where probes have masks.",
    "Similarity is how alike a map is to the map of the same probe before: 1 is the same.",
    "Maps show where the model looks, and are no proof of what it uses. The verdict says what the "
    "model relies on: the gap is the probability of the right class that is lost when a thing, "
    "such as the background, comes from an image of another class rather than of the same class; "
    "of a regression, by how far the prediction follows the other image's label.",
    DISAGREEMENT,
    "Step -1 is the model before training: what its maps show was not learnt. Epochs count from 1 "
    "and TensorBoard's steps from 0, as Keras's do: epoch 5 is step 4.",
    "TensorBoard keeps ten steps of each image in its Images tab: keras-saliency tensorboard "
    "--logdir ... shows up to 1,000.",
)

TERMS = {
    "focus": "How many times more of the map lies on the object than by chance: 1 is chance.",
    "peak": "The largest magnitude of the raw map. Each map is drawn up to its own peak, so "
    "compare peaks before colours.",
    "similarity": "How alike the map is to the one of the same probe before, from −1 to 1: 1 is "
    "the same.",
    "hiding": "The probability that the model loses where the strongest tenth of the map is filled "
    "in from around it; or the one that is left where all but this tenth is. A map that does no "
    "more than a random tenth is grey: the model does not need what it marks.",
    "gap": "The probability of the right class that is lost when this comes from an image of "
    "another class rather than of the same class. 0: the model does not care; 1: it follows "
    "nothing else.",
    "threshold": "A gap above this line at two evaluations in a row raises the alarm.",
    "background": "Everything but the object.",
    "object": "The object itself: its gap should be large, and raises no alarm.",
    "cast": "The colour cast: the balance of red, green and blue over the whole image.",
    "texture": "The fine texture: detail of a few pixels, such as noise or fur.",
    "frame": "The frame: what stands out in the outermost pixels, such as a border.",
    "mark": "A patch of 0.6 % of the image where its map peaks, such as a tag or a watermark.",
    "position": "The object's place in the image.",
    "scale": "The object's size.",
    "exposure": "The exposure: how bright the image is as a whole.",
    "light": "The fall of light: how the brightness changes across the image.",
    "compression": "The compression: the traces that JPEG leaves.",
    "resolution": "The resolution: how sharp the image is.",
}

# The lists of a verdict's examples.
LISTS = {
    "teaching": "Training images that teach the shortcut",
    "contradicting": "Training images that contradict the shortcut",
}

_VARY = {
    "frame": "crop the border away at random",
    "mark": "erase small patches at random",
    "cast": "shift the colours at random",
    "texture": "blur and sharpen at random",
    "position": "move the image at random",
    "scale": "zoom at random",
    "exposure": "change the brightness at random",
    "light": "change the brightness at random",
    "compression": "compress at random",
    "resolution": "blur at random",
}


def guidance() -> dict[str, Any]:
    """Return how to read maps and verdicts, as the page of the Saliency tab reads it."""
    return {
        "how_to_read": HOW_TO_READ,
        "disagreement": DISAGREEMENT,
        "terms": TERMS,
        "lists": LISTS,
    }


class Action(NamedTuple):
    """Something to do after an alarm.

    Attributes:
        words: What to do.
        link: The address of a page with its code.
    """

    words: str
    link: str


def actions(cause: str, gaps: Mapping[str, float], threshold: float | None) -> list[Action]:
    """List what to do where a model relies on something.

    Args:
        cause: The nuisance, such as `"background"`.
        gaps: The gap of each nuisance.
        threshold: The gap above which there may be an alarm, or `None`.

    Returns:
        The actions, the quickest first.
    """
    vary = f"{_VARY.get(cause, f'vary the {cause} at random')} while the model trains"
    if cause == "background":
        first = Action(f"{_SWAP}, so that the background no longer tells the class", _SWAP_PAGE)
    elif threshold is not None and gaps.get("background", 0.0) > threshold:
        first = Action(f"{_SWAP}, and {vary}", _SWAP_PAGE)
    else:
        first = Action(f"Take away what the {cause} tells: {vary}", f"{_PAGE}#vary-it")
    return [
        first,
        Action(
            "Collect images like those that contradict it, and like the counterfactual ones: each "
            f"class with the {cause} of another class",
            f"{_PAGE}#collect-images",
        ),
        Action(
            "Re-train the head with retrain_head: the last layer alone, on as many images that "
            "contradict it as agree with it",
            f"{_PAGE}#re-train-the-head",
        ),
    ]


def explain_cause(cause: str, gaps: Mapping[str, float], reliance: float | None) -> str | None:
    """Explain why a narrow cause is named where a broader nuisance has the largest gap.

    Args:
        cause: The nuisance that is named.
        gaps: The gap of each nuisance.
        reliance: The largest gap of those that may raise an alarm, or `None`.

    Returns:
        A few sentences, or `None` where the cause has the largest gap itself.
    """
    broader = next((name for name, gap in gaps.items() if gap == reliance), cause)
    if broader == cause or gaps.get(cause, reliance) == reliance:
        return None
    return (
        f"The {cause} is named although the {broader} has the larger gap: an image that gets the "
        f"{broader} of another one gets its {cause} as well, and where the {cause} is kept, at "
        "least half of that gap is gone."
    )
