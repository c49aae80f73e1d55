"""A disc moves to the left or to the right: does a network look at the mover, or at the scene?

python examples/motion.py    trains one small 3-D convolution twice: on videos whose scene tells
                             nothing, and on videos whose scene is warm where the disc moves to the
                             left and cool where it moves to the right. Both get all of their own
                             videos right. The verdict tells them apart, and so do looks-at-*.gif
                             beside moves.gif, what moves by itself
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import keras_saliency as ks
from keras_saliency.data.synthetic.videos import DIRECTIONS, Videos, moving_discs

SCENES = {"independent": 0.5, "the same way": 1.0}  # how often the scene goes with the direction
FORM = {"size": (24, 34), "frames": 6, "plain": True}
SHOWN = 2  # of the videos that are watched: the one that the animations show


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--videos", type=int, default=600, help="how many are drawn (%(default)s)")
    option("--epochs", type=int, default=10)
    option("--log-dir", default="logs")
    args = parser.parse_args()
    probes = watched()
    ks.motion.find(probes).save("moves.gif", SHOWN, fps=4)
    print(f"{'scene':14}{'right':>8}{'other scene':>13}   verdict")
    for name, correlation in SCENES.items():
        start = time.perf_counter()
        drawn = moving_discs(args.videos, correlation=correlation, **FORM)
        model, verdict = train(
            drawn, probes, Path(args.log_dir) / name.replace(" ", "-"), args.epochs
        )
        shares = [
            share_right(model, clips, drawn.labels)
            for clips in (drawn.videos, drawn.counterfactuals)
        ]
        text = f"{verdict.text} ({time.perf_counter() - start:.0f} s)"
        print(f"{name:14}{shares[0]:>8.0%}{shares[1]:>13.0%}   {text}", flush=True)
        explanation = ks.explain(model, probes, "grad_cam", target="label")
        explanation.save(f"looks-at-{name.replace(' ', '-')}.gif", SHOWN, fps=4)
    print(f"\ntensorboard --logdir {args.log_dir}    (Images: video, Verdict)")


def watched() -> ks.Probes:
    """A few videos of their own, whose masks are what moves."""
    few = moving_discs(8, seed=1, **FORM)
    return ks.Probes(few.videos, few.labels, masks="motion", class_names=DIRECTIONS)


def train(
    drawn: Videos, probes: ks.Probes, log_dir: Path, epochs: int
) -> tuple[keras.Model, ks.Verdict]:
    """Train, watched, and ask at the end what is relied on."""
    model = network(drawn.videos.shape[1:])
    every = max(1, epochs // 2)
    shortcuts = ks.Shortcuts(
        (drawn.videos[:180], drawn.labels[:180]),
        masks="motion",
        nuisances=["background", "cast", "position"],
        every=every,
    )
    watch = ks.SaliencyCallback(probes, log_dir, shortcuts=shortcuts, every=every)
    images = drawn.videos.astype("float32")
    model.fit(images, drawn.labels, epochs=epochs, batch_size=16, verbose=0, callbacks=[watch])
    return model, watch.verdict


def network(shape: tuple[int, ...]) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(shape),
            layers.Rescaling(1 / 64, offset=-2),
            layers.Conv3D(12, 3, padding="same", activation="relu"),  # as many frames: maps fit
            layers.Conv3D(16, 3, strides=(1, 2, 2), padding="same", activation="relu"),
            layers.GlobalAveragePooling3D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.004), "sparse_categorical_crossentropy")
    return model


def share_right(model: keras.Model, videos, labels) -> float:
    predicted = model.predict(videos.astype("float32"), verbose=0).argmax(axis=1)
    return float((predicted == labels).mean())


if __name__ == "__main__":
    main()
