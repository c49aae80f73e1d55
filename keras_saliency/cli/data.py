"""The command `keras-saliency data FOLDER`: whether a trivial property tells the label."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "data",
        help="say whether a trivial property of training images tells their label",
        description="Say, before any training, whether a trivial property of images or of their "
        "files tells the label by itself: the colour of a corner or of the border, the sharpness, "
        "the compression, the size or the aspect ratio. It warns, and is no proof that a model "
        "uses the property.",
    )
    words = "with a sub-folder a class, as keras.utils.image_dataset_from_directory takes it"
    parser.add_argument("folder", metavar="FOLDER", type=Path, help=words)
    words = "print JSON, with the scores of all properties, in place of the line"
    parser.add_argument("--json", action="store_true", help=words)
    parser.set_defaults(run=_data)


def _data(args: argparse.Namespace) -> None:
    """Say it in one line, or as JSON."""
    from keras_saliency.shortcuts.label_leakage import label_leakage

    leakage = label_leakage(args.folder)
    if args.json:
        print(json.dumps({"text": leakage.text, **asdict(leakage)}, indent=2, allow_nan=False))
        return
    print(f"{args.folder}: {leakage.count} images; {leakage.text}")
