"""OpenCV, or what to do where it can't be loaded."""

try:
    import cv2
except ImportError as error:
    if not str(error).startswith("lib"):
        raise
    raise ImportError(
        f"OpenCV misses a library of the system ({error}). Install it (on Debian and Ubuntu: "
        "apt-get install libgl1 libglib2.0-0), or put the build that needs none in its place: "
        "pip uninstall opencv-python; pip install opencv-python-headless"
    ) from error

__all__ = ["cv2"]
