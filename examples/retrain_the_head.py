"""Elephants on grass, penguins on snow: a network learns the ground, and its head is retrained.

python examples/retrain_the_head.py

No image that contradicts the shortcut is needed, and nothing but the last layer changes.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_saliency as ks
from keras_saliency.cli.demo import small_cnn
from keras_saliency.data.synthetic import CLASS_NAMES, Scenes, scenes

TESTED = 300


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000, help="how many images are drawn")
    parser.add_argument("--correlation", type=float, default=0.95, help="of ground and class")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    keras.utils.set_random_seed(args.seed)
    print(f"Drawing {args.count} elephants and penguins ...", flush=True)
    train = scenes(args.count, correlation=args.correlation, seed=args.seed)
    fresh = scenes(TESTED, correlation=1, seed=args.seed + 1)
    model = small_cnn(train.images.shape[1:3], len(CLASS_NAMES))
    model.compile(
        keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(train.images, train.labels, epochs=args.epochs, verbose=2)

    rows = {"as trained": accuracies(model, fresh)}
    shortcuts = ks.Shortcuts((train.images, train.labels, train.masks))
    result = ks.retrain_head(model, shortcuts)
    rows["head retrained"] = accuracies(model, fresh)

    print(f"\nRelied on: {', '.join(result.nuisances)}.")
    print("                 right where the ground   right where it is")
    print("                 goes with the animal     the other animal's")
    for name, (usual, other) in rows.items():
        print(f"{name:17}{usual:12.0f} %{other:23.0f} %")


def accuracies(model: keras.Model, fresh: Scenes) -> list[float]:
    """Return the accuracy on new animals in per cent, on their own ground and on the other."""
    return [
        100 * model.evaluate(images, fresh.labels, verbose=0)[1]
        for images in (fresh.images, fresh.counterfactuals)
    ]


if __name__ == "__main__":
    main()
