#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: the gradient of `keras.activations.celu` at exactly 0 is 2.
# celu is max(0, x) + a (exp(min(0, x) / a) - 1): smooth, with slope 1 on both sides of 0, and at it.
# TensorFlow gives each of max and min the whole gradient where both of its arguments are equal, and
# the two add up. JAX gives 1. Zeros are common: zero biases on black borders, masked
# or padded inputs, outputs of a ReLU before.
# Seen: "tensorflow: 2.0 at 0, 1.0 beside it; jax: 1.0 at 0, 1.0 beside it". Exits 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q keras==3.15.1 tensorflow-cpu==2.21.0 jax==0.10.2
cat >"$folder/celu.py" <<'PY'
import keras
import numpy as np

x = np.array([0.0, 1e-6, -1e-6], "float32")
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs := tf.constant(x))
        total = tf.reduce_sum(keras.activations.celu(inputs))
    gradient = tape.gradient(total, inputs)
else:
    import jax

    gradient = jax.grad(lambda v: keras.activations.celu(v).sum())(jax.numpy.asarray(x))
at, right, left = (round(float(value), 3) for value in gradient)
print(f"{keras.backend.backend()}: {at} at 0, {right} and {left} beside it")
PY
for backend in tensorflow jax; do
    KERAS_BACKEND=$backend PYTHONPATH= TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" \
        "$folder/celu.py" 2>/dev/null | tee -a "$folder/seen"
done
printf '%s\n' "tensorflow: 2.0 at 0, 1.0 and 1.0 beside it" "jax: 1.0 at 0, 1.0 and 1.0 beside it" \
    | diff - "$folder/seen"
