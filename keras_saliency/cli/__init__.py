"""The command line, `keras-saliency`."""
