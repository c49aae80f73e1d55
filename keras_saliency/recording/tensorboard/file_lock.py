"""Whether another process still writes a file: it holds a lock, which ends when it does."""

import contextlib
import io
import os

try:
    import fcntl
except ImportError:  # on Windows nobody knows
    fcntl = None  # type: ignore[assignment]


def hold(file: io.FileIO) -> None:
    """Let other processes know that this one writes a file, until it is closed."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # on disks without locks
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: str | os.PathLike[str]) -> bool:
    """Tell whether another process holds a file.

    Args:
        path: The file.

    Returns:
        Whether it is locked by another process; False where the system has no such locks.

    Example:
        ```python
        is_held("logs/saliency/events.out.tfevents.1795268843.host.1.0000.v2")
        ```
    """
    if fcntl is None:
        return False
    try:
        with open(path, "rb+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False
