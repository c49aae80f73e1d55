"""The built-in methods, of few copies where they take many."""

import functools

import keras_saliency as ks

FEW = {
    **dict.fromkeys(("smooth_grad", "square_grad", "var_grad", "expected_gradients"), "samples"),
    **dict.fromkeys(("integrated_gradients", "blur_integrated_gradients"), "steps"),
    "rise": "samples",
}


def method(name):
    """Return a built-in method, of few copies where it takes many."""
    found = ks.methods.get(name)
    if name not in FEW:
        return found
    return functools.update_wrapper(functools.partial(found, **{FEW[name]: 6}), found)
