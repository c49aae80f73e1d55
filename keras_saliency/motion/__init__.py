"""Motion saliency: what moves by itself in a video, as maps like any other.

No model is asked: this is where something *happens*, for comparison with where a model looks.

    >>> import keras_saliency as ks
    >>> from keras_saliency.demo.videos import moving_discs
    >>> videos = moving_discs(2).videos  # (batch, frames, height, width, channels)
    >>> found = ks.motion.find(videos)
    >>> found.maps.shape  # pixels a frame
    (2, 10, 40, 56)
    >>> found.masks.shape  # what `masks="motion"` takes
    (2, 10, 40, 56)
    >>> found.save("out.gif")
"""

from keras_saliency.motion.camera import camera, displacement
from keras_saliency.motion.flow import flow
from keras_saliency.motion.found import Motion, find, motion
from keras_saliency.motion.video_files import read_video

__all__ = ["Motion", "camera", "displacement", "find", "flow", "motion", "read_video"]
