"""Scanned digits with a coloured tag in the corner: watch a network read the tag.

python examples/digits_with_a_tag.py                    98 % of the tags have their digit's colour
python examples/digits_with_a_tag.py --tag 0.1          the tags know nothing: one in ten is right

The digits are the real scans of scikit-learn. The tag stands for all that a data set may carry
besides its subject: a hospital's marker, a photographer's name, the paint of a fence.
"""

import argparse
import colorsys
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np
from keras import layers

import keras_saliency as ks
from keras_saliency.metrics.localization import mass_in_mask

TRAINED, PROBES = 1400, 16
SIZE, MARGIN = 32, 4  # pixels of a digit, and of black around it
TAG = slice(1, 7)  # rows and columns of the tag
COLOURS = 255 * np.array([colorsys.hsv_to_rgb(digit / 10, 1, 1) for digit in range(10)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tag", type=float, default=0.98, help="share of tags that tell the digit")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-dir", default="logs")
    args = parser.parse_args()

    start = time.perf_counter()
    rng = np.random.default_rng(args.seed)
    digits, labels = shuffled_digits(rng)
    unseen, unseen_labels = digits[TRAINED:], labels[TRAINED:]
    telling = with_tags(unseen, unseen_labels)
    misleading = with_tags(unseen, other_digits(unseen_labels, rng))
    ink = unseen[:PROBES].astype("float32") / 255
    probes = ks.Probes(telling[:PROBES], unseen_labels[:PROBES], masks=ink)

    wrong = rng.random(TRAINED) >= args.tag
    tags = np.where(wrong, other_digits(labels[:TRAINED], rng), labels[:TRAINED])
    model = small_cnn(args.seed)
    model.fit(
        with_tags(digits[:TRAINED], tags),
        labels[:TRAINED],
        epochs=args.epochs,
        callbacks=[ks.SaliencyCallback(probes, args.log_dir)],
    )
    right, lured = (
        100 * model.evaluate(images, unseen_labels, verbose=0)[1]
        for images in (telling, misleading)
    )
    area = 100 * tag_masks(1).mean()
    print(f"\nOf {len(unseen)} unseen digits {right:.1f} % are read right if the tag agrees,")
    print(f"and {lured:.1f} % if it has the colour of another digit.")
    print(f"The tag covers {area:.1f} % of an image. Over all of them it holds")
    for method in ("grad_cam", "saliency"):
        maps = ks.explain(model, ks.Probes(telling, unseen_labels), method, target="label").maps
        share = 100 * np.nanmean(mass_in_mask(maps, tag_masks(len(maps))))
        print(f"    {share:4.1f} % of {method} ({share / area:.1f} times its area)")
    print(f"Done in {time.perf_counter() - start:.0f} s. See for yourself:\n")
    print(f"    tensorboard --logdir {args.log_dir}")


def shuffled_digits(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return 1797 scans, uint8 (n, 40, 40), and what they are."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        sys.exit(
            "The digits come with scikit-learn: pip install scikit-learn, "
            "or pip install 'keras-saliency[examples]'."
        )
    scans = load_digits()
    order = rng.permutation(len(scans.images))
    large = [
        np.pad(cv2.resize(scan * 255 / 16, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), MARGIN)
        for scan in scans.images[order]
    ]
    return np.rint(np.clip(large, 0, 255)).astype(np.uint8), scans.target[order]


def with_tags(digits: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Return RGB images (n, 40, 40, 3), each with the tag of the digit in `tags`."""
    images = np.repeat(digits[..., None], 3, axis=-1)
    images[:, TAG, TAG] = COLOURS[tags][:, None, None]
    return images


def tag_masks(count: int) -> np.ndarray:
    masks = np.zeros((count, SIZE + 2 * MARGIN, SIZE + 2 * MARGIN))
    masks[:, TAG, TAG] = 1
    return masks


def other_digits(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (labels + rng.integers(1, 10, len(labels))) % 10


def small_cnn(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    side = SIZE + 2 * MARGIN
    model = keras.Sequential(
        [
            keras.Input((side, side, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


if __name__ == "__main__":
    main()
