"""Elephants on grass, penguins on snow: does a network learn the animal, or the ground?

python examples/elephants_and_penguins.py               drawn animals, a training run where ground
                                                        and class are 95 % alike, and one where 50 %
python examples/elephants_and_penguins.py --data DIR    your own images: DIR/<class>/*.jpg, and
                                                        NAME.mask.png beside NAME.jpg if you have it
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from own_images import own_images, summary

from keras_saliency.cli.demo import CORRELATIONS, comparison, train, train_on_drawn


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--data", metavar="DIR", help="a folder of class folders")
    option("--size", type=int, nargs=2, default=(64, 64), metavar=("H", "W"), help="of --data")
    option("--correlation", type=float, nargs="+", default=CORRELATIONS, help="a training run each")
    option("--images", type=int, default=2000, help="how many are drawn")
    option("--epochs", type=int, default=5)
    option("--seed", type=int, default=0)
    option("--log-dir", default="logs")
    args = parser.parse_args()
    if args.data:
        learn_from_pictures(args)
    else:
        learn_from_drawings(args)


def learn_from_pictures(args: argparse.Namespace) -> None:
    data = own_images(args.data, tuple(args.size), args.seed)
    model, verdict = train(data, args.log_dir, epochs=args.epochs, seed=args.seed)
    print(summary(model, data.probes, args.log_dir, verdict))


def learn_from_drawings(args: argparse.Namespace) -> None:
    trainings = []
    for correlation in args.correlation:
        start = time.perf_counter()
        print(f"Drawing {args.images} animals, correlation {correlation:g} ...", flush=True)
        options = {"images": args.images, "epochs": args.epochs, "seed": args.seed}
        trainings.append(train_on_drawn(correlation, args.log_dir, **options))
        print(f"Done in {time.perf_counter() - start:.0f} s.\n")
    print(comparison(trainings, args.log_dir))


if __name__ == "__main__":
    main()
