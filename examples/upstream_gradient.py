"""The gradient of any output element, with an upstream gradient of your choice.

A grayscale image goes through a convolution of ones. The gradient of the output at [1, 1] is the
window of the image that this element saw; a whole upstream gradient gives its transposed
convolution.

    python examples/upstream_gradient.py
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_saliency as ks


def main() -> None:
    convolution = keras.layers.Conv2D(
        1, 3, use_bias=False, kernel_initializer="ones", dtype="float32"
    )
    model = keras.Sequential([keras.Input((4, 5, 1)), convolution])
    model.compile(loss="mse")  # its outputs are values, not classes
    image = np.arange(20, dtype="float32").reshape(1, 4, 5, 1) / 19

    one_element = np.zeros((2, 3, 1), "float32")
    one_element[1, 1] = 1.0
    print("gradient of the output element [1, 1]:")
    print(ks.explain(model, image, "saliency", target=one_element).maps[0].astype(int))

    upstream = np.array([[1, 0, -2], [0, 3, 0]], "float32")[..., None]
    print("\nwith the upstream gradient [[1, 0, -2], [0, 3, 0]]:")
    print(ks.explain(model, image, input_gradient, target=upstream).maps[0].astype(int))


def input_gradient(model, images):
    """Keep the sign, which saliency leaves out; there is one channel."""
    return model.input_gradients(images)[..., 0]


if __name__ == "__main__":
    main()
