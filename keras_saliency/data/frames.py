"""Which frames of a volume are shown, and how they are laid out."""

import numpy as np

_FRAMES = 8  # of a volume, at most


def chosen_frames(count: int) -> np.ndarray:
    """Choose which of a volume's frames are shown, evenly, the first and the last among them."""
    return np.rint(np.linspace(0, count - 1, min(count, _FRAMES))).astype(int)


def mosaic_of(count: int) -> tuple[int, int]:
    """Return in how many rows and columns so many frames of a volume are laid out."""
    shown = min(count, _FRAMES)
    rows = 1 if shown <= _FRAMES // 2 else 2
    return rows, -(-shown // rows)
