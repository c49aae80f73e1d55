"""Training in several processes: which of them writes.

Every process looks, since one that does not would leave the others waiting: on JAX all of them run
each computation together, and so they do on TensorFlow where a variable is gathered when it is
read. What each sees is the same, since the weights are; one is enough to write it down.
"""

from __future__ import annotations

from typing import Any


class Unheard:
    """The recorder of a process that does not write: whatever it is handed, it lets go of."""

    def record(self, *_: Any) -> None:
        """Let go of a snapshot."""

    def record_verdict(self, *_: Any) -> None:
        """Let go of a verdict."""

    def record_pictures(self, *_: Any) -> None:
        """Let go of pictures."""

    def record_text(self, *_: Any) -> None:
        """Let go of pages."""

    def record_charts(self, **_: bool) -> None:
        """Let go of the layout of the charts."""

    def close(self) -> None:
        """Do nothing: nothing is open."""
