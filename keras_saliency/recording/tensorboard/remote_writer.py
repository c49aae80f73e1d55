"""A run of TensorBoard in remote storage: whole event files, written one after the other."""

from pathlib import Path

from keras_saliency.recording.remote import Mirror, RemoteFolder
from keras_saliency.recording.tensorboard.event_writer import EventWriter


class RemoteWriter(EventWriter):
    """Write a run to a local folder and from there to remote storage, about a file an evaluation.

    What is written between two transfers is one event file, which is whole before it is copied.
    TensorBoard reads such files in the order of their names.

    Args:
        local: The local folder of the run, which exists.
        remote: Where it is copied to.
        continued_at: As for `EventWriter`.

    Raises:
        OSError: If the event file cannot be made.
    """

    def __init__(self, local: Path, remote: RemoteFolder, continued_at: int | None = None) -> None:
        self._mirror = Mirror(local, remote, self.finish_file)
        super().__init__(local, continued_at)
        self.description = f"the run {remote}"

    def flush(self) -> None:
        """Let what was written so far be copied."""
        super().flush()
        self._mirror.wake()

    def close(self) -> None:
        """Copy what is left; a second call does nothing."""
        super().close()
        self._mirror.close()
