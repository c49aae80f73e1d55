"""The command `keras-saliency demo`: networks that learn a shortcut, or not, and their verdicts."""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_saliency.cli.arguments import as_share, whole_number
from keras_saliency.cli.tensorboard import TAB

if TYPE_CHECKING:
    import keras
    import numpy as np

    from keras_saliency.data.probes import Probes
    from keras_saliency.shortcuts.verdict import Verdict

CORRELATIONS = (0.95, 0.5)
PROBES = 16
_TEST_IMAGES = 200
_TEST_SEED = 1_000_003  # added to the user's: images that no network has trained on
_FOLLOWS = 0.2  # of the images that are classified correctly on the usual background alone
_COLUMN = 32  # letters of a network's column in the table, beside those of the headings
_HEADING = 26


def add_to(commands: Any) -> None:
    """Add the command to those of `keras-saliency`."""
    text = "train small networks on drawn elephants and penguins, and compare their verdicts"
    parser = commands.add_parser("demo", help=text, description=text.capitalize() + ".")
    option = parser.add_argument
    option("--log-dir", default="logs", metavar="DIR", help="where TensorBoard looks (%(default)s)")
    option(
        "--correlation",
        type=as_share,
        nargs="+",
        default=CORRELATIONS,
        metavar="SHARE",
        help="of images whose ground, grass or snow, goes with the animal: a training run each "
        "(0.95 0.5)",
    )
    count, seed = whole_number(1), whole_number(0)
    option("--images", type=count, default=2000, metavar="N", help="to train on (%(default)s)")
    option("--epochs", type=count, default=5, metavar="N", help="(%(default)s)")
    option("--seed", type=seed, default=0, metavar="N", help="decides everything (%(default)s)")
    parser.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> None:
    """Train the demo's networks and compare their verdicts."""
    from keras_saliency.cli.startup import import_keras

    import_keras()
    networks = []
    options = {"images": args.images, "epochs": args.epochs, "seed": args.seed}
    for correlation in args.correlation:
        drawn = f"{args.images} elephants and penguins, correlation {correlation:g}"
        print(f"Drawing {drawn} ...", flush=True)
        networks.append(train_on_drawn(correlation, args.log_dir, **options))
    print(comparison(networks, args.log_dir))


class TrainingData(NamedTuple):
    """Images to train on, and probes.

    Attributes:
        images: uint8 `(n, height, width, 3)`.
        labels: int `(n,)`, classes.
        probes: The probes, which are none of `images`.
    """

    images: np.ndarray
    labels: np.ndarray
    probes: Probes


def drawn_images(
    correlation: float, count: int = 2000, seed: int = 0, size: tuple[int, int] = (64, 64)
) -> TrainingData:
    """Draw elephants and penguins on grass and snow.

    Args:
        correlation: Share of images whose background goes with the class; 0.5 is independence.
        count: Number of images to train on.
        seed: Seed of the images.
        size: `(height, width)` of the images.

    Returns:
        The images; the probes are `PROBES` more of them, with true masks.

    Example:
        >>> len(drawn_images(0.95, count=4).probes)
        16
    """
    from keras_saliency.data.probes import Probes
    from keras_saliency.data.synthetic.animals import CLASS_NAMES
    from keras_saliency.data.synthetic.scenes import scenes

    drawn = scenes(count + PROBES, correlation=correlation, size=size, seed=seed)
    images, labels, masks = drawn.images[count:], drawn.labels[count:], drawn.masks[count:]
    probes = Probes(images, labels, masks=masks, class_names=CLASS_NAMES)
    return TrainingData(drawn.images[:count], drawn.labels[:count], probes)


def small_cnn(size: tuple[int, int], classes: int) -> keras.Model:
    """Build a small convolutional network for RGB images with values from 0 to 255.

    Args:
        size: `(height, width)` of the images.
        classes: Number of classes.

    Returns:
        The model, not compiled, which ends in a softmax.
    """
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((*size, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def train(
    data: TrainingData,
    log_dir: str | Path,
    *,
    epochs: int = 5,
    seed: int = 0,
    verbose: int | str = "auto",
) -> tuple[keras.Model, Verdict]:
    """Train a small CNN with `SaliencyCallback`.

    Args:
        data: Images to train on, and probes.
        log_dir: The folder that TensorBoard reads.
        epochs: Number of epochs.
        seed: Seed of the initial weights and of the order of the images.
        verbose: As in `model.fit`.

    Returns:
        The trained model, and the verdict of the last epoch.
    """
    import keras

    from keras_saliency.callback.callback import SaliencyCallback

    keras.utils.set_random_seed(seed)
    model = small_cnn(data.images.shape[1:3], len(data.probes.class_names or ()))
    optimizer = keras.optimizers.Adam(2e-3)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    arrays = data.images, data.labels
    watch = SaliencyCallback(data.probes, log_dir, shortcuts=arrays)
    model.fit(*arrays, batch_size=32, epochs=epochs, verbose=verbose, callbacks=[watch])
    return model, watch.verdict


class Trained(NamedTuple):
    """A network that was trained on drawn animals.

    Attributes:
        correlation: Share of the images whose background goes with the class.
        run: The run's name in TensorBoard.
        accuracy: On the training images, in the last epoch.
        usual: Accuracy on new images, each animal on the background that is usual for it.
        other: Accuracy on the same images, each animal on the other background.
        on_background: Share of Grad-CAM's mass on the background over the background's share of
            the area, averaged over the probes.
        verdict: Of the last epoch.
    """

    correlation: float
    run: str
    accuracy: float
    usual: float
    other: float
    on_background: float
    verdict: Verdict


def train_on_drawn(
    correlation: float, log_dir: str | Path, *, images: int = 2000, epochs: int = 5, seed: int = 0
) -> Trained:
    """Draw elephants and penguins, train on them, and find what the network relies on.

    Args:
        correlation: Share of the images whose background goes with the class.
        log_dir: The folder that TensorBoard reads; the training run gets a folder of its own in it.
        images: Number of images to train on.
        epochs: Number of epochs.
        seed: Seed of the images, the initial weights and the order of the images.

    Returns:
        The results of the training run.
    """
    data = drawn_images(correlation, images, seed)
    folder = f"correlation-{correlation:g}"
    model, verdict = train(data, Path(log_dir) / folder, epochs=epochs, seed=seed)
    ratios = background_enrichment(model, data.probes)
    on_background = float(ratios.mean()) if len(ratios) else float("nan")
    accuracy = model.history.history["accuracy"][-1]
    usual, other = accuracy_by_background(model, seed)
    return Trained(
        correlation, f"{folder}/saliency", accuracy, usual, other, on_background, verdict
    )


def accuracy_by_background(model: keras.Model, seed: int = 0) -> tuple[float, float]:
    """Compute the accuracy on new images of animals on their usual and on the other background.

    Args:
        model: The trained model.
        seed: The seed of the training images, which the new ones are none of.

    Returns:
        The accuracy on `_TEST_IMAGES` images of elephants on grass and penguins on snow, and on the
        same animals with the backgrounds exchanged, each from 0 to 1.
    """
    from keras_saliency.data.synthetic.scenes import scenes

    drawn = scenes(
        _TEST_IMAGES, correlation=1.0, size=model.input_shape[1:3], seed=seed + _TEST_SEED
    )
    usual, other = (
        float((model.predict(images, verbose=0).argmax(axis=1) == drawn.labels).mean())
        for images in (drawn.images, drawn.counterfactuals)
    )
    return usual, other


def background_enrichment(model: keras.Model, probes: Probes) -> np.ndarray:
    """Compute how dense Grad-CAM's mass is on the background.

    Args:
        model: The trained model.
        probes: The probes, with masks.

    Returns:
        Share of the mass over share of the area, of each map that is not dead; 1 is chance.
    """
    import numpy as np

    from keras_saliency.attribution.explainer import explain
    from keras_saliency.metrics.localization import enrichment

    if probes.masks is None:
        return np.zeros(0)
    ratios = enrichment(explain(model, probes, "grad_cam", target="label").maps, 1 - probes.masks)
    return np.asarray(ratios[np.isfinite(ratios)])


def comparison(networks: Sequence[Trained], log_dir: str | Path) -> str:
    """Compare the verdicts on networks, and tell how to see more.

    Args:
        networks: The trained networks.
        log_dir: The folder that TensorBoard reads.

    Returns:
        A small table and a few lines for a terminal.
    """
    rows = [
        ("background fits class", [f"in {_of_100(n.correlation)}" for n in networks]),
        ("accuracy in training", [_of_100(n.accuracy) for n in networks]),
        ("on usual backgrounds", [_of_100(n.usual) for n in networks]),
        ("on the other background", [_of_100(n.other) for n in networks]),
        ("Grad-CAM on background *", [f"{n.on_background:.2f}" for n in networks]),
        ("shortcut", ["ALARM" if n.verdict.alarm else "no alarm" for n in networks]),
        ("verdict", [n.verdict.text for n in networks]),
        ("in TensorBoard", [n.run for n in networks]),
    ]
    return (
        f"\n{''.join(_row(heading, cells) for heading, cells in rows)}\n"
        "* Attribution on grass or snow over its share of the area; 1.00 is chance.\n\n"
        f"{''.join(map(_in_plain_words, networks))}{how_to_see(log_dir)}"
    )


def _in_plain_words(network: Trained) -> str:
    """Say what a network has learnt by its accuracy on the usual and on the other background."""
    follows = network.usual - network.other > _FOLLOWS
    learnt = "it has learnt the background" if follows else "it has learnt the animal"
    words = (
        f"The network of correlation {network.correlation:g} classifies {_of_100(network.usual)} "
        "new images correctly where elephants stand on grass and penguins on snow, and "
        f"{_of_100(network.other)} where the same animals change places: {learnt}."
    )
    return f"{textwrap.fill(words, 96)}\n\n"


def _of_100(share: float) -> str:
    return f"{100 * share:.0f} of 100"


def _row(heading: str, cells: Sequence[str]) -> str:
    """Lay out a row of the table, its cells wrapped."""
    columns = [[heading], *(textwrap.wrap(cell, _COLUMN) for cell in cells)]
    widths = [_HEADING, *[_COLUMN + 2] * len(cells)]
    lines = itertools.zip_longest(*columns, fillvalue="")
    return "".join("".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def how_to_see(log_dir: str | Path) -> str:
    """Tell how to start TensorBoard, also where the environment is not activated.

    Args:
        log_dir: The folder that TensorBoard reads.

    Returns:
        A few lines for a terminal.
    """
    command = Path("tensorboard")
    if not shutil.which("tensorboard"):
        command, here = Path(sys.executable).with_name("tensorboard"), Path.cwd()
        command = command.relative_to(here) if command.is_relative_to(here) else command
    return (
        "See for yourself:\n\n"
        f"    {command} --logdir {log_dir}\n\n"
        f"then open http://localhost:6006/{TAB}: the verdict, and every probe at every epoch.\n"
        "In Safari, whose frames do not show the tab, see Images."
    )
