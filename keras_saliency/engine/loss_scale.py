"""Factors on the scores that keep gradients within the range of float16."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

_START, _STEP, _LEAST = 2.0**10, 2.0**5, 2.0**-40
_RAISE = 2.0**20  # once, where a gradient lies below the numbers that float16 has in full
_SMALL = 2.0**-14  # the smallest of those
_RUNS = 16  # after so many a lowered factor is tried higher again


class LossScale:
    """Finds a factor for each image with which its gradients neither overflow nor vanish.

    The images of a batch may be far apart: with a softmax that hides its logits the gradient of
    the log probability goes with 1 / p. A power of two is taken out again without a trace.
    """

    def __init__(self) -> None:
        self._start, self._runs = _START, 0

    def fitting(self, count: int, run: Callable[[np.ndarray], dict[str, Any]]) -> dict[str, Any]:
        """Run a pass, again where gradients did not fit.

        Args:
            count: How many images the pass has.
            run: `(scales (count,)) -> results`, whose gradients have the scales taken out.

        Returns:
            The results of the last run.
        """
        scales = np.full(count, self._start, "float32")
        may_rise = np.ones(count, bool)
        while True:
            results = run(scales)
            lower, higher = _misfits(results, scales)
            lower &= scales > _LEAST
            higher &= may_rise
            if not (lower | higher).any():
                break
            may_rise &= ~(lower | higher)
            scales = np.where(lower, scales / _STEP, np.where(higher, scales * _RAISE, scales))
        self._runs += 1
        rise = _STEP if self._runs % _RUNS == 0 else 1.0
        self._start = min(_START, rise * min(self._start, float(scales.max())))
        return results


def _misfits(results: dict[str, Any], scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell in which images gradients overflowed, and in which they may have vanished."""
    lower, higher = np.zeros((2, len(scales)), bool)
    finite = np.isfinite(ops.convert_to_numpy(results["scores"]))
    for name in results:
        if name.endswith("gradients"):
            magnitudes = ops.max(ops.abs(ops.reshape(results[name], (len(scales), -1))), axis=1)
            peaks = scales * ops.convert_to_numpy(magnitudes)
            lower |= finite & ~np.isfinite(peaks)
            higher |= peaks < _SMALL
    return lower, higher & ~lower
