"""The command `keras-saliency explain`: maps of images, as files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_saliency import methods
from keras_saliency.cli.arguments import add_colours, as_target

if TYPE_CHECKING:
    import numpy as np

    from keras_saliency.attribution.explainer import Evaluation, Explainer
    from keras_saliency.data.probes import Probes

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_COLOR_MODES = {1: "grayscale", 3: "rgb", 4: "rgba", None: "rgb"}


def add_to(commands: Any) -> None:
    """Add the command to those of `keras-saliency`."""
    parser = commands.add_parser(
        "explain",
        help="draw what a model looks at in images",
        description="Draw what a model's scores of some images rest on.",
    )
    option = parser.add_argument
    option("model", metavar="MODEL", help="a .keras or .h5 file, or a name such as VGG16")
    option("images", metavar="IMAGE", nargs="+", type=Path, help="files of any size")
    listed = ", ".join(methods.available())
    option("--method", default="grad_cam", metavar="NAME", help=f"one of {listed} (%(default)s)")
    words = "predicted, contrast (it rather than the runner-up), or a class index (%(default)s)"
    option("--target", type=as_target, default="predicted", metavar="WHAT", help=words)
    option("--of", choices=("logits", "probability", "log_probability"), default="logits")
    words = "a name or path, as in mobilenetv2/out_relu; given more than once, their maps are fused"
    option("--layer", metavar="NAME", action="append", help=words)
    option(
        "--out",
        metavar="PATH",
        help="an image file; for several a folder, or a pattern such as maps/{name}.jpg "
        "({name}.METHOD.png in this folder)",
    )
    add_colours(parser)
    option("--panels", action="store_true", help="image, map and overlay, with a colour bar")
    option(
        "--preprocess",
        metavar="NAME",
        help="unit (0 to 1), signed (-1 to 1), or a module of keras.applications such as vgg16; "
        "by default a file gets values from 0 to 255, and a named model its own",
    )
    option("--weights", choices=("imagenet", "none"), help="of a named model (imagenet)")
    parser.set_defaults(run=_explain)


def _explain(args: argparse.Namespace) -> None:
    """Explain all images; other arguments are checked before the model is loaded."""
    from keras_saliency.cli.startup import import_keras

    import_keras()

    from keras_saliency.cli import models
    from keras_saliency.drawing import heatmap

    methods.get(args.method)
    heatmap.colour_bar((1, 1), cmap=args.cmap)
    preprocess = models.preprocess_named(args.preprocess)
    for image in args.images:
        if not image.is_file():
            raise ValueError(f"There is no picture {image}. Give the path of a picture file.")
    files = _destinations(args.images, args.out, args.method)

    from keras_saliency.attribution.explainer import Explainer
    from keras_saliency.engine.preprocessing import Preprocessing
    from keras_saliency.engine.targets import Target

    loaded = models.load(args.model, args.weights)
    preprocessing = Preprocessing(loaded.model)
    target = Target(args.target, args.of)
    for group, size in _groups(loaded.model, args.images, resizes=preprocessing.exists):
        probes = _probes(group, size, preprocess or loaded.preprocess)
        explainer = Explainer(loaded.model, probes, [args.method], target, args.layer, 32)
        if explainer.what_is_missed is not None:
            print(f"note: {explainer.what_is_missed}", flush=True)
        evaluation = _evaluate(explainer, args.method)
        for error in evaluation.errors.values():
            raise error
        predictions = _predictions(explainer, evaluation, loaded.decode)
        maps = preprocessing.placed(evaluation.maps[args.method], probes.images)
        for row, image in enumerate(group):
            what = _explained(args.method, explainer.of, evaluation, row)
            map_ = maps[row]
            signed = bool((map_ < 0).any())
            _draw(args, image, map_, signed, f"{what}\n{predictions[row]}", files[image])
            at = f" at {explainer.layer_names}" if explainer.layer_names else ""
            peak = heatmap.fault(map_, signed) or f"raw peak {heatmap.peak_of(map_, signed):.3g}"
            words = f"{image}: {predictions[row]}; {what}{at}, {peak} -> {files[image]}"
            print(words, flush=True)


def _evaluate(explainer: Explainer, method: str) -> Evaluation:
    """Compute the maps, and tell on a terminal how far it is."""
    from keras_saliency.common.progress import terminal_line

    with terminal_line(f"{method}, passes") as report:
        return explainer.evaluate(progress=lambda _: report)


def _groups(
    model: Any, images: list[Path], *, resizes: bool
) -> list[tuple[list[Path], tuple[Any, ...]]]:
    """Group images that are explained together, with their `(height, width, channels)`.

    Where a model takes any size (None), or resizes images itself, each image keeps its own and is a
    group of its own.
    """
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] not in _COLOR_MODES:
        raise ValueError(
            "The model must have one input of shape (batch, height, width, channels), with 1, 3 "
            f"or 4 channels. Received: input shape {shape}. Use keras_saliency.explain in Python."
        )
    size = (None, None, shape[-1]) if resizes else shape[1:]
    return [(images, size)] if all(size[:2]) else [([image], size) for image in images]


def _probes(
    images: list[Path], size: tuple[Any, ...], preprocess: Callable[[Any], Any] | None
) -> Probes:
    """Read images at the size and with the channels of a model's input."""
    import numpy as np

    from keras_saliency.common.resampling import resize_bilinear
    from keras_saliency.data.image_files import read_image
    from keras_saliency.data.probes import Probes

    inputs, shown = [], []
    for image in images:
        picture = read_image(image, _COLOR_MODES[size[-1]])
        wanted = (size[0] or picture.shape[0], size[1] or picture.shape[1])
        inputs.append(resize_bilinear(picture, wanted).astype(np.float32))
        shown.append(np.zeros((*wanted, 3), np.uint8))  # the files themselves are drawn upon
    return Probes(np.stack(inputs), display=np.stack(shown), preprocess=preprocess)


def _predictions(
    explainer: Explainer, evaluation: Evaluation, decode: Callable[..., Any] | None
) -> list[str]:
    """Put into words what the model predicts for each image."""
    import numpy as np

    from keras_saliency.engine.predictions import read_predictions

    indices = tuple(map(str, range(explainer.head.classes)))
    outputs, classes = evaluation.outputs, evaluation.predicted
    predicted = read_predictions(explainer.head, outputs, classes, None, indices)
    names = _decoded(decode, outputs)
    return [
        f"predicted {text}{name}" + ("" if np.isnan(share) else f" (probability {share:.3g})")
        for text, name, share in zip(predicted.texts, names, predicted.confidence, strict=True)
    ]


def _decoded(decode: Callable[..., Any] | None, outputs: np.ndarray) -> list[str]:
    """Name the predicted classes; empty names where the list of names can't be fetched."""
    with suppress(Exception):  # Keras raises just that when it can't download: the index will do
        if decode is not None:
            return [f" {best[1]}" for (best,) in decode(outputs, top=1)]
    return [""] * len(outputs)


def _explained(method: str, of: str, evaluation: Evaluation, row: int) -> str:
    label = evaluation.classes[row]
    chosen = f"class {label}, " if label >= 0 else ""
    return f"{method} of {chosen}{of} {evaluation.scores[row]:.3g}"


def _draw(
    args: argparse.Namespace, image: Path, map_: np.ndarray, signed: bool, title: str, out: Path
) -> None:
    """Write the overlay at the image's own resolution, or the three panels."""
    from PIL import Image

    from keras_saliency.data.image_files import read_image
    from keras_saliency.drawing import heatmap

    picture = read_image(image, "rgb")
    options = {"signed": signed, "cmap": args.cmap, "opacity": args.opacity}
    try:
        if args.panels:
            figure = heatmap.figure(picture[None], map_[None], [title], **options)
            figure.savefig(out, dpi=150, bbox_inches="tight")
        else:
            overlay = heatmap.overlay(picture, map_, **options)
            Image.fromarray(overlay).save(out, quality=95)
    except OSError as error:
        raise ValueError(f"{out} can't be written: {error}. Give another --out.") from error


def _destinations(images: list[Path], out: str | None, method: str) -> dict[Path, Path]:
    """Choose the file of each image's map, and refuse what would overwrite something."""
    pattern = out or ""
    if "{name}" not in pattern and (
        out is None or Path(out).is_dir() or out.endswith(("/", os.sep)) or not Path(out).suffix
    ):
        pattern = os.path.join(pattern, f"{{name}}.{method}.png")
    for image in images:
        if not image.stem.strip("."):
            raise ValueError(f"The name of {image} would be a folder in --out: rename it.")
    files = {image: Path(pattern.replace("{name}", image.stem)) for image in images}
    if len(set(files.values())) < len(images):
        raise ValueError(
            "Every picture needs a file of its own: give --out a folder, or a pattern with {name}, "
            f"and pictures of different names. Received: --out {out} for {len(images)} pictures"
        )
    for file in files.values():
        if file.suffix.lower() not in _ENDINGS:
            raise ValueError(
                f"--out must end in {', '.join(_ENDINGS)}, or be a folder, whose name may end in "
                f"'/'. Received: {file}"
            )
        if any(file.exists() and file.samefile(image) for image in images):
            raise ValueError(f"{file} is one of the pictures to explain. Give another --out.")
        _make_folder(file)
    return files


def _make_folder(file: Path) -> None:
    """Create the folder of a file, and check that the file can be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(file.parent, os.W_OK) or file.is_dir():
            raise PermissionError("no permission, or a folder of that name")
    except OSError as error:
        raise ValueError(f"{file} can't be written ({error}). Give another --out.") from error
