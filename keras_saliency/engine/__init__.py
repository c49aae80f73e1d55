"""How a Keras model is asked for scores, activations and gradients."""
