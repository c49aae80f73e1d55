"""The Keras callback."""
