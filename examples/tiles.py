"""Slides cut into tiles: a network that was to find tumour finds the pathologist's pen instead.

python examples/tiles.py                    in training slides a pen was drawn along the tumour
python examples/tiles.py --pen 0            no pen in training slides

The slides are drawn. On the one that is watched the pen is far from the tumour. In TensorBoard,
Images: tile-map shows what is called tumour, and tile-mosaic what the network looks at.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import keras
import numpy as np
from keras import layers

import keras_saliency as ks

TILE = 32
GLASS, STROMA, NUCLEUS, PEN = (243, 240, 244), (232, 178, 208), (96, 58, 132), (30, 120, 70)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pen", type=float, default=1.0, help="share of slides with a pen on them")
    parser.add_argument("--slides", type=int, default=4, help="to train on")
    parser.add_argument("--size", type=int, nargs=2, default=(25, 34), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-dir", default="logs")
    args = parser.parse_args()

    start = time.perf_counter()
    rng = np.random.default_rng(args.seed)
    print(f"Drawing {args.slides + 1} slides ...", flush=True)
    drawn = [draw(rng, args.size, rng.random() < args.pen) for _ in range(args.slides)]
    images, labels = (np.concatenate([cut(*one)[part] for one in drawn]) for part in (0, 1))
    slide, tumour, tissue = draw(rng, args.size, misled=True)
    watched, truth, x, y = cut(slide, tumour, tissue)
    tiles = ks.tiles.Tiles(
        watched,
        truth,
        "slide to be read",
        x,
        y,
        tile=TILE,
        thumbnails={"slide to be read": ks.tiles.Thumbnail(slide, slide.shape[:2])},
        maps=np.flatnonzero(x < slide.shape[1] / 2),  # where the pen is
        class_names=["normal", "tumour"],
    )
    model = train(images, labels, tiles, args)

    chances = model.predict(watched, verbose=0)[:, 1]
    inked = (np.abs(watched.astype(int) - PEN).sum(-1) < 60).mean((1, 2)) > 0.05
    print(
        f"\nOf {len(watched)} tiles {100 * ((chances > 0.5) == truth).mean():.0f} % are read right."
    )
    for where, here in (("with pen", inked), ("without", ~inked)):
        few = here & (truth == 0)
        print(f"    normal tissue {where:<9} called tumour with p = {chances[few].mean():.2f}")
    print(f"Done in {time.perf_counter() - start:.0f} s. See for yourself, Images, tile-map:\n")
    print(f"    keras-saliency tensorboard --logdir {args.log_dir}")


def train(
    images: np.ndarray, labels: np.ndarray, tiles: ks.tiles.Tiles, args: argparse.Namespace
) -> keras.Model:
    keras.utils.set_random_seed(args.seed)
    model = keras.Sequential(
        [
            keras.Input((TILE, TILE, 3)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    watch = ks.SaliencyCallback(tiles, args.log_dir, target=1)  # what speaks for tumour, in all
    model.fit(images, labels, epochs=args.epochs, callbacks=[watch])
    return model


def draw(
    rng: np.random.Generator, size: tuple[int, int], pen: bool = False, misled: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a slide, uint8 (height, width, 3), where the tumour is, and where there is tissue.

    A pen is drawn over the tumour; over other tissue where it misleads.
    """
    height, width = TILE * size[0], TILE * size[1]
    tissue = blob(rng, (height, width), (0.5, 0.5), 0.43)
    tumour = blob(rng, (height, width), (0.5, 0.62), 0.17) & tissue
    slide = np.full((height, width, 3), GLASS, np.float32)
    slide[tissue] = STROMA
    slide += rng.normal(0, 7, (height, width, 1)) * tissue[..., None]
    for row, column in rng.integers(0, (height, width), (height * width // 90, 2)).tolist():
        if tissue[row, column] and rng.random() < (0.75 if tumour[row, column] else 0.45):
            shade = np.add(NUCLEUS, rng.normal(0, 14, 3)).tolist()
            cv2.circle(slide, (column, row), int(rng.integers(2, 4)), shade, -1, cv2.LINE_AA)
    slide = cv2.GaussianBlur(slide, (3, 3), 0)
    if pen or misled:
        elsewhere = blob(rng, (height, width), (0.5, 0.22), 0.14) & tissue & ~tumour
        marked = elsewhere if misled else tumour
        strokes = np.zeros((height, width), np.uint8)
        for start in range(-height, width, 3 * TILE // 2):
            cv2.line(strokes, (start, height), (start + height, 0), 1, 7)
        slide[marked & (strokes > 0)] = PEN
    return slide.clip(0, 255).astype(np.uint8), tumour, tissue


def blob(
    rng: np.random.Generator, size: tuple[int, int], middle: tuple[float, float], radius: float
) -> np.ndarray:
    """Draw an island with a rough coast, bool of a size."""
    rows, columns = np.indices(size)
    away = np.hypot(rows / size[0] - middle[0], columns / size[1] - middle[1])
    bumps = cv2.resize(rng.normal(0, 1, (7, 9)), size[::-1], interpolation=cv2.INTER_CUBIC)
    return away < radius * (1 + 0.2 * bumps)


def cut(
    slide: np.ndarray, tumour: np.ndarray, tissue: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cut a slide into tiles, the glass left out: images, labels, x and y."""
    corners = [
        (x, y)
        for y in range(0, slide.shape[0], TILE)
        for x in range(0, slide.shape[1], TILE)
        if tissue[y : y + TILE, x : x + TILE].mean() > 0.5
    ]
    images = np.stack([slide[y : y + TILE, x : x + TILE] for x, y in corners])
    labels = [tumour[y : y + TILE, x : x + TILE].mean() > 0.5 for x, y in corners]
    x, y = np.array(corners).T
    return images, np.array(labels, int), x, y


if __name__ == "__main__":
    main()
