"""The record format of TensorFlow's event files.

TensorBoard's own reader and writer compute the checksum byte by byte in Python: about 100 ms a
megabyte, during which every other thread, the training thread included, waits for the interpreter.
"""

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

import google_crc32c


def frame(data: bytes) -> bytes:
    """Wrap the bytes of one event as a record.

    Args:
        data: A serialised event.

    Returns:
        The length, its checksum, the data and their checksum.

    Example:
        ```python
        file.write(frame(event.SerializeToString()))
        ```
    """
    length = struct.pack("<Q", len(data))
    return b"".join(
        [length, struct.pack("<I", _masked(length)), data, struct.pack("<I", _masked(data))]
    )


class Record(NamedTuple):
    """The bytes of one event, and what must be their checksum."""

    data: bytes
    checksum: int

    @property
    def is_sound(self) -> bool:
        """Whether the bytes are those that were written; this takes its time."""
        return _masked(self.data) == self.checksum


def records(path: str | os.PathLike[str]) -> Iterator[Record]:
    """Read the records of a file, up to the last that is complete: it may still be written to.

    Args:
        path: An event file.

    Yields:
        Each record, whose checksum has not been compared.

    Raises:
        OSError: If the file can't be read.
        ValueError: If what follows is no record.

    Example:
        ```python
        events = [event_pb2.Event.FromString(record.data) for record in records(path)]
        ```
    """
    with open(path, "rb") as file:
        left = os.fstat(file.fileno()).st_size
        while len(head := file.read(12)) == 12:
            length, checksum = struct.unpack("<QI", head)
            if _masked(head[:8]) != checksum:
                raise ValueError("what follows is no record")
            left -= 16 + length
            if left < 0:  # before anyone reserves memory for it
                return
            data = file.read(length)
            yield Record(data, struct.unpack("<I", file.read(4))[0])


def _masked(data: bytes) -> int:
    """Return the checksum, masked as the format prescribes."""
    checksum = google_crc32c.value(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
