"""`keras-saliency explain`: maps of pictures, from the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_saliency.cli.arguments import as_share, as_target

if TYPE_CHECKING:
    import numpy as np

    from keras_saliency.attribution.explainer import Evaluation, Explainer
    from keras_saliency.data.probes import Probes

_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_COLOR_MODES = {1: "grayscale", 3: "rgb", 4: "rgba", None: "rgb"}


def add_to(commands: Any) -> None:
    """Add the command to those of `keras-saliency`."""
    from keras_saliency import methods

    parser = commands.add_parser(
        "explain",
        help="draw what a model looks at in pictures",
        description="Draw what a model's score of some pictures rests on.",
    )
    option = parser.add_argument
    option("model", metavar="MODEL", help="a .keras or .h5 file, or a name such as VGG16")
    option("images", metavar="IMAGE", nargs="+", type=Path, help="pictures of any size")
    listed = ", ".join(methods.available())
    option("--method", default="grad_cam", metavar="NAME", help=f"one of {listed} (%(default)s)")
    option(
        "--target",
        type=as_target,
        default="predicted",
        metavar="WHAT",
        help="predicted, contrast (it rather than the runner-up), or a class index (%(default)s)",
    )
    option("--of", choices=("logits", "probability", "log_probability"), default="logits")
    option("--layer", metavar="NAME", help="a name or path, as in mobilenetv2/out_relu")
    option(
        "--out",
        metavar="PATH",
        help="a picture's file; for several a folder, or a pattern such as maps/{name}.jpg "
        "({name}.METHOD.png in this folder)",
    )
    option("--cmap", metavar="NAME", help="a matplotlib colour map")
    option(
        "--opacity",
        type=as_share,
        metavar="0..1",
        help="of the map; by default it follows the magnitude",
    )
    option("--panels", action="store_true", help="picture, map and overlay, with a colour bar")
    option(
        "--preprocess",
        metavar="NAME",
        help="unit (0 to 1), signed (-1 to 1), or a module of keras.applications such as vgg16; "
        "by default a file gets values from 0 to 255, and a named model its own",
    )
    option("--weights", choices=("imagenet", "none"), help="of a named model (imagenet)")
    parser.set_defaults(run=_explain)


def _explain(args: argparse.Namespace) -> None:
    """Explain all pictures; what can be wrong is checked before the model is loaded."""
    from keras_saliency import methods
    from keras_saliency.cli import models
    from keras_saliency.drawing import heatmap

    methods.get(args.method)
    heatmap.colour_bar((1, 1), cmap=args.cmap)
    preprocess = models.preprocess_named(args.preprocess)
    for image in args.images:
        if not image.is_file():
            raise ValueError(f"There is no picture {image}. Give the path of a picture file.")
    places = dict(zip(args.images, _destinations(args.images, args.out, args.method), strict=True))

    from keras_saliency.attribution.explainer import Explainer
    from keras_saliency.engine.targets import Target

    loaded = models.load(args.model, args.weights)
    target = Target(args.target, args.of)
    for group, size in _groups(loaded.model, args.images):
        probes = _probes(group, size, preprocess or loaded.preprocess)
        explainer = Explainer(loaded.model, probes, [args.method], target, args.layer, 32)
        look = explainer.evaluate()
        for error in look.errors.values():
            raise error
        told = _predictions(explainer, look, loaded.decode)
        for row, image in enumerate(group):
            what = _explained(args.method, explainer.of, look, row)
            map_ = look.maps[args.method][row]
            _draw(args, image, map_, f"{what}\n{told[row]}", places[image])
            at = f" at {explainer.target_layer.name}" if explainer.target_layer else ""
            print(f"{image}: {told[row]}; {what}{at}, {_peak(map_)} -> {places[image]}", flush=True)


def _groups(model: Any, images: list[Path]) -> list[tuple[list[Path], tuple[Any, ...]]]:
    """Pictures that are explained together, with the `(height, width, channels)` they get.

    Where a model takes any size (None), each picture keeps its own and goes by itself.
    """
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] not in _COLOR_MODES:
        raise ValueError(
            "The model must have one input of shape (batch, height, width, channels), with 1, 3 "
            f"or 4 channels. Received: input shape {shape}. Use keras_saliency.explain in Python."
        )
    size = shape[1:]
    return [(images, size)] if all(size[:2]) else [([image], size) for image in images]


def _probes(
    images: list[Path], size: tuple[Any, ...], preprocess: Callable[[Any], Any] | None
) -> Probes:
    """Read pictures at the size and with the channels that a model gets."""
    import numpy as np

    from keras_saliency.common.resampling import resize_bilinear
    from keras_saliency.data.image_files import read_image
    from keras_saliency.data.probes import Probes

    inputs, shown = [], []
    for image in images:
        picture = read_image(image, _COLOR_MODES[size[-1]])
        wanted = (size[0] or picture.shape[0], size[1] or picture.shape[1])
        inputs.append(resize_bilinear(picture, wanted).astype(np.float32))
        shown.append(np.zeros((*wanted, 3), np.uint8))  # drawn are the pictures themselves
    return Probes(np.stack(inputs), display=np.stack(shown), preprocess=preprocess)


def _predictions(
    explainer: Explainer, look: Evaluation, decode: Callable[..., Any] | None
) -> list[str]:
    """Say what the model predicts for each picture."""
    import numpy as np

    from keras_saliency.engine.predictions import read_predictions

    indices = tuple(map(str, range(explainer.head.classes)))
    said = read_predictions(explainer.head, look.outputs, None, indices)
    names = _decoded(decode, look.outputs)
    return [
        f"predicted {text}{name}" + ("" if np.isnan(share) else f" (probability {share:.3g})")
        for text, name, share in zip(said.texts, names, said.confidence, strict=True)
    ]


def _decoded(decode: Callable[..., Any] | None, outputs: np.ndarray) -> list[str]:
    """Name the predicted classes; empty names where the list of names can't be fetched."""
    if decode is not None:
        try:
            return [f" {best[1]}" for (best,) in decode(outputs, top=1)]
        except Exception:  # Keras raises just that when it can't download: the index will do
            pass
    return [""] * len(outputs)


def _explained(method: str, of: str, look: Evaluation, row: int) -> str:
    chosen = f"class {look.classes[row]}, " if look.classes[row] >= 0 else ""
    return f"{method} of {chosen}{of} {look.scores[row]:.3g}"


def _peak(map_: np.ndarray) -> str:
    from keras_saliency.drawing import heatmap

    signed = bool((map_ < 0).any())
    return heatmap.fault(map_, signed) or f"raw peak {heatmap.peak_of(map_, signed):.3g}"


def _draw(args: argparse.Namespace, image: Path, map_: np.ndarray, title: str, place: Path) -> None:
    """Write the overlay at the picture's own resolution, or the three panels."""
    from PIL import Image

    from keras_saliency.data.image_files import read_image
    from keras_saliency.drawing import heatmap

    picture, signed = read_image(image, "rgb"), bool((map_ < 0).any())
    try:
        if args.panels:
            drawing = heatmap.figure(
                picture[None],
                map_[None],
                [title],
                signed=signed,
                cmap=args.cmap,
                opacity=args.opacity,
            )
            drawing.savefig(place, dpi=150, bbox_inches="tight")
        else:
            overlay = heatmap.overlay(
                picture, map_, signed=signed, cmap=args.cmap, opacity=args.opacity
            )
            Image.fromarray(overlay).save(place, quality=95)
    except OSError as error:
        raise ValueError(f"{place} can't be written: {error}. Give another --out.") from error


def _destinations(images: list[Path], out: str | None, method: str) -> list[Path]:
    """Settle where each picture's drawing is written, and refuse what would lose something."""
    pattern = out or ""
    if "{name}" not in pattern and (
        out is None or Path(out).is_dir() or out.endswith(("/", os.sep)) or not Path(out).suffix
    ):
        pattern = os.path.join(pattern, f"{{name}}.{method}.png")
    for image in images:
        if not image.stem.strip("."):
            raise ValueError(f"The name of {image} would be a folder in --out: rename it.")
    places = [Path(pattern.replace("{name}", image.stem)) for image in images]
    if len(set(places)) < len(places):
        raise ValueError(
            "Every picture needs a file of its own: give --out a folder, or a pattern with {name}, "
            f"and pictures of different names. Received: --out {out} for {len(images)} pictures"
        )
    for place in places:
        if place.suffix.lower() not in _ENDINGS:
            raise ValueError(
                f"--out must end in {', '.join(_ENDINGS)}, or be a folder, whose name may end in "
                f"'/'. Received: {place}"
            )
        if any(place.exists() and place.samefile(image) for image in images):
            raise ValueError(f"{place} is one of the pictures to explain. Give another --out.")
        _make_room(place)
    return places


def _make_room(place: Path) -> None:
    """Create the folder, and see that a file can be written there."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(place.parent, os.W_OK) and not place.is_dir()
        reason = "" if writable else " (no permission, or a folder of that name)"
    except OSError as error:
        writable, reason = False, f" ({error})"
    if not writable:
        raise ValueError(f"{place} can't be written{reason}. Give another --out.")
