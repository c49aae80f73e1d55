"""Elephants on grass, penguins on snow: watch a network learn the ground instead of the animal.

python examples/elephants_and_penguins.py               drawn animals, ground and class 95 % alike
python examples/elephants_and_penguins.py --data DIR    your own pictures: DIR/<class>/*.jpg, and
                                                        NAME.mask.png beside NAME.jpg if you have it
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from keras_saliency.demo.training import drawn_pictures, own_pictures, summary, train


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", metavar="DIR", help="a folder of class folders")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 64), metavar=("H", "W"))
    parser.add_argument("--correlation", type=float, default=0.95, help="of drawn ground and class")
    parser.add_argument("--images", type=int, default=2000, help="how many are drawn")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-dir", default="logs")
    args = parser.parse_args()

    start = time.perf_counter()
    if args.data:
        pictures = own_pictures(args.data, tuple(args.size), args.seed)
    else:
        print(f"Drawing {args.images} elephants and penguins ...", flush=True)
        pictures = drawn_pictures(args.correlation, args.images, args.seed)
    model, verdict = train(pictures, args.log_dir, epochs=args.epochs, seed=args.seed)

    print(summary(model, pictures.probes, args.log_dir, verdict))
    print(f"Done in {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
