"""A training in words and pictures, for whoever was not there: read from its event files alone.

Nothing in this package imports a model, Keras or TensorFlow.
"""
