"""All that this package takes from Keras's private API; no other file touches it.

Each function was checked on Keras 3.13 and 3.15.
"""

from __future__ import annotations

import keras


def flatten_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """List a layer and all layers within it, outer ones first."""
    return list(layer._flatten_layers())
