"""What looking costs a training, in words."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

DEAR = 20  # copies of each probe, above which a method's cost is told beforehand
NOTICEABLE = 0.2  # of an epoch, above which the time taken is told
LEAST = 1.0  # seconds, below which it never is


def dear_methods(copies: Mapping[str, int], probes: int) -> str | None:
    """Say which methods ask a model about many copies of the probes.

    Args:
        copies: Method name to how many copies of each probe it asks about.
        probes: How many probes there are.

    Returns:
        A line for the user, or None where no method asks about more than `DEAR` copies.

    Example:
        >>> dear_methods({"saliency": 0, "rise": 4000}, 16)
        'rise asks the model about 16 x 4000 images at each look; every= looks less often'
    """
    dear = {method: count for method, count in copies.items() if count > DEAR}
    if not dear:
        return None
    listed = ", ".join(f"{m} asks the model about {probes} x {n} images" for m, n in dear.items())
    return f"{listed} at each look; every= looks less often"


class Stopwatch:
    """Measure how much of an epoch, which begins now, goes into looking.

    Attributes:
        seconds: What went into it until now.

    Example:
        >>> watch = Stopwatch()
        >>> with watch.running():
        ...     time.sleep(0.01)
        >>> watch.told("epoch 1") is None  # Nobody waits for a hundredth of a second.
        True
    """

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.seconds = 0.0

    @property
    def rest(self) -> float:
        """The seconds until now that were not ours."""
        return time.perf_counter() - self._began - self.seconds

    @contextlib.contextmanager
    def running(self) -> Iterator[Callable[[], float]]:
        """Count the time within the context as ours; what it gives tells how long that was."""
        entered, before = time.perf_counter(), self.seconds
        try:
            yield lambda: self.seconds - before
        finally:
            self.seconds += time.perf_counter() - entered

    def told(self, when: str) -> str | None:
        """Say how much of the epoch this was until now.

        Args:
            when: The epoch in words.

        Returns:
            A line for the user, or None where it was no more than `NOTICEABLE` or under `LEAST`.
        """
        share = self.seconds / (time.perf_counter() - self._began)
        if share <= NOTICEABLE or self.seconds < LEAST:
            return None
        return (
            f"looking took {self.seconds:.1f} s, {100 * share:.0f} % of {when}; every= looks less "
            "often, and fewer probes, methods or donors are quicker"
        )
