"""TensorBoard: the event files, and the plugin that shows them."""
