"""TensorBoard: the event files, and the plugin that shows them."""

PLUGIN_NAME = "keras_saliency"
