"""Drawn elephants and penguins on grass and snow, with true masks and exact counterfactuals.

The drawings are a training set with a built-in shortcut: elephants stand on grass and penguins on
snow, mostly. How much of an image is the animal is known to the pixel, and so is what the same
animal looks like on the other background.
"""

from keras_saliency.data.synthetic.animals import CLASS_NAMES, draw_animal
from keras_saliency.data.synthetic.backgrounds import BACKGROUND_NAMES, Background, draw_background
from keras_saliency.data.synthetic.canvas import Layer
from keras_saliency.data.synthetic.scenes import Light, Scenes, compose, draw_light, scenes

__all__ = [
    "BACKGROUND_NAMES",
    "CLASS_NAMES",
    "Background",
    "Layer",
    "Light",
    "Scenes",
    "compose",
    "draw_animal",
    "draw_background",
    "draw_light",
    "scenes",
]
