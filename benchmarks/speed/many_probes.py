"""What thousands of probes at 224 px take: the largest memory of the process, and the time.

A small CNN, saliency and Grad-CAM, three sets; each number of probes in a process of its own.
Beyond the images themselves, `images` of the model and `display` for the eye, the memory should
be that of a few sets of maps, whatever the number of batches.

    python benchmarks/speed/many_probes.py [--counts 256 1024 4096]
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time

SIDE, SETS, BATCH = 224, 3, 32


def peak() -> float:
    """GiB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(count: int) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np

    import keras_saliency as ks
    from keras_saliency.cli.demo import small_cnn

    keras.utils.set_random_seed(0)
    model = small_cnn((SIDE, SIDE), 2)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    images = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    labels = np.arange(count) % 2
    batch = images[:BATCH].astype("float32"), labels[:BATCH]
    model.fit(*batch, verbose=0)
    before = peak()
    probes = ks.Probes(images, labels)
    made = peak()
    with tempfile.TemporaryDirectory() as logs:
        watch = ks.SaliencyCallback(probes, logs)
        start = time.perf_counter()
        model.fit(*batch, verbose=0, epochs=SETS - 1, callbacks=[watch])
        took = time.perf_counter() - start
    pictures = (probes.images.nbytes + probes.display.nbytes) / 2**30
    maps = SIDE * SIDE * 4 * count / 2**30
    print(
        f"{count:5d} probes  pictures {pictures:.2f} GiB  probes {made - before:.2f} GiB  "
        f"looking {peak() - made:.2f} GiB  a set of maps {maps:.2f} GiB  "
        f"{1000 * took / count / SETS:.1f} ms a probe and set",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[256, 1024, 4096])
    context = multiprocessing.get_context("spawn")
    for count in parser.parse_args().counts:
        process = context.Process(target=measure, args=(count,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
