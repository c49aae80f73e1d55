"""A pretrained MobileNetV2, first frozen, then fine-tuned: one run in TensorBoard for both.

python examples/transfer_learning.py                    drawn animals, weights from ImageNet
python examples/transfer_learning.py --data DIR         your own images: DIR/<class>/*.jpg
python examples/transfer_learning.py --weights none     without a network: trained from nothing
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers
from own_images import own_images, summary

import keras_saliency as ks
from keras_saliency.cli.demo import TrainingData, drawn_images

SIZE = (96, 96)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help="a folder of class folders")
    parser.add_argument("--weights", choices=("imagenet", "none"), default="imagenet")
    parser.add_argument("--images", type=int, default=800, help="how many are drawn")
    parser.add_argument("--epochs", type=int, default=3, help="before fine-tuning")
    parser.add_argument("--tuning", type=int, default=3, help="epochs of fine-tuning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-dir", default="logs")
    args = parser.parse_args()

    start = time.perf_counter()
    keras.utils.set_random_seed(args.seed)
    if args.data:
        data = own_images(args.data, SIZE, args.seed)
    else:
        print(f"Drawing {args.images} elephants and penguins ...", flush=True)
        data = drawn_images(0.95, args.images, args.seed, SIZE)
    model = train(data, args)
    print(summary(model, data.probes, args.log_dir))
    print(f"Done in {time.perf_counter() - start:.0f} s.")


def train(data: TrainingData, args: argparse.Namespace) -> keras.Model:
    weights = None if args.weights == "none" else args.weights
    backbone = keras.applications.MobileNetV2((*SIZE, 3), 0.35, include_top=False, weights=weights)
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            # What mobilenet_v2.preprocess_input does. As a layer it can't be forgotten; were it
            # done to the data, the probes would need Probes(..., preprocess=preprocess_input).
            layers.Rescaling(1 / 127.5, offset=-1),
            backbone,
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(data.probes.class_names), activation="softmax"),
        ]
    )
    # The callback finds the backbone's last feature map by itself. By hand, and for another one:
    # layer="mobilenetv2_0.35_96/block_13_expand_relu".
    watch = ks.SaliencyCallback(data.probes, args.log_dir)
    order = np.random.default_rng(args.seed).permutation(len(data.images))
    options = {
        "x": data.images[order],
        "y": data.labels[order],
        "validation_split": 0.2,
        "callbacks": [watch],
    }

    if weights is None:
        # There is nothing worth freezing: everything is trained. The statistics of batch
        # normalisation would need thousands of batches to converge with the momentum of 0.999.
        for norm in norms(backbone):
            norm.momentum = 0.9
    else:
        backbone.trainable = False
    compile_at(model, 1e-3)
    model.fit(**options, epochs=args.epochs)

    backbone.trainable = True
    for norm in norms(backbone):
        norm.trainable = False  # small batches would spoil what they know of the images
    compile_at(model, 1e-4)
    # Epochs are counted on, so that the run in TensorBoard is continued, not begun anew.
    model.fit(**options, initial_epoch=args.epochs, epochs=args.epochs + args.tuning)
    return model


def compile_at(model: keras.Model, learning_rate: float) -> None:
    model.compile(
        keras.optimizers.Adam(learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # XLA would compile for longer than so short a run lasts
    )


def norms(backbone: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in backbone.layers if isinstance(layer, layers.BatchNormalization)]


if __name__ == "__main__":
    main()
