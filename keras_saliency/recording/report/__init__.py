"""A training run as a page, read from its event files alone.

Nothing in this package imports a model, Keras or TensorFlow.
"""
