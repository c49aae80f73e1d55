"""Elephants on grass, penguins on snow: a network learns the ground, and then unlearns it.

python examples/mitigate_a_shortcut.py                  first the images as they are, then with
                                                        the backgrounds of other images
python examples/mitigate_a_shortcut.py --made-masks     with masks that nobody drew: a program makes
                                                        them, and where they are too wide the
                                                        ground stays and so does some reliance

The gap of the background, what the verdict rests on, rises and falls in one chart of TensorBoard.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import keras_saliency as ks
from keras_saliency.cli.demo import small_cnn
from keras_saliency.data.masks import make_masks
from keras_saliency.data.synthetic import CLASS_NAMES, Scenes, scenes

PROBES, TESTED = 16, 300


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000, help="how many images are drawn")
    parser.add_argument("--correlation", type=float, default=0.95, help="of ground and class")
    parser.add_argument("--epochs", type=int, default=4, help="as drawn; with swaps twice as many")
    parser.add_argument("--factor", type=float, default=0.8, help="share of images swapped")
    parser.add_argument("--made-masks", action="store_true", help="not the true ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-dir", default="logs")
    args = parser.parse_args()

    start = time.perf_counter()
    keras.utils.set_random_seed(args.seed)
    print(f"Drawing {args.count} elephants and penguins ...", flush=True)
    drawn = scenes(args.count + PROBES, correlation=args.correlation, seed=args.seed)
    images, labels = drawn.images[PROBES:], drawn.labels[PROBES:]
    probes = ks.Probes(drawn.images[:PROBES], drawn.labels[:PROBES], class_names=CLASS_NAMES)
    masks = make_masks(images) if args.made_masks else drawn.masks[PROBES:]
    plain, swapped = batches(images, masks, labels, args.factor, args.seed)

    model = small_cnn(images.shape[1:3], len(CLASS_NAMES))
    model.compile(
        keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    watch = ks.SaliencyCallback(probes, args.log_dir, shortcuts=(images, labels))
    fresh = scenes(TESTED, correlation=1, seed=args.seed + 1)
    ends = args.epochs, 3 * args.epochs
    rows = []
    for data, begin, end in ((plain, 0, ends[0]), (swapped, *ends)):
        # With `initial_epoch` the callback goes on in the same run of TensorBoard.
        model.fit(data, initial_epoch=begin, epochs=end, callbacks=[watch])
        gap, _ = watch.verdict.gaps["background"]
        rows.append((gap, *accuracies(model, fresh)))

    print("\n               gap of the   right where the ground   right where it is")
    print("               background   goes with the animal     the other animal's")
    for name, (gap, usual, other) in zip(("as drawn", "mitigated"), rows, strict=True):
        print(f"{name:15}{gap:6.2f}{usual:16.0f} %{other:23.0f} %")
    print(f"\nVerdict: {watch.verdict.text}.")
    print(f"Done in {time.perf_counter() - start:.0f} s. See Verdict/background fall:\n")
    print(f"    tensorboard --logdir {args.log_dir}")


def batches(
    images: np.ndarray, masks: np.ndarray, labels: np.ndarray, factor: float, seed: int
) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Return the batches as they are, and with other backgrounds."""
    swap = ks.BackgroundSwap(factor, seed=seed)

    def swap_backgrounds(images, masks, labels):
        images, masks = swap((images, masks))
        return images, labels

    whole = tf.data.Dataset.from_tensor_slices((images, masks, labels))
    shuffled = whole.shuffle(len(images), seed=seed).batch(32)
    plain = shuffled.map(lambda images, masks, labels: (images, labels))
    return plain, shuffled.map(swap_backgrounds).prefetch(2)


def accuracies(model: keras.Model, fresh: Scenes) -> list[float]:
    """Return the accuracy on new animals in per cent, on their own ground and on the other."""
    return [
        100 * model.evaluate(images, fresh.labels, verbose=0)[1]
        for images in (fresh.images, fresh.counterfactuals)
    ]


if __name__ == "__main__":
    main()
