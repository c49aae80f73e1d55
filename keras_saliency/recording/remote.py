"""Remote storage, such as s3:// and gs://: a folder there, and a local one that is copied to it.

Object stores can neither append nor lock, so whole files are written. fsspec does the transfers.
"""

import atexit
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://.")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_PROBE = ".keras-saliency"  # a small file that is written to find out whether one can
_GATHER_S = 0.5  # in which what is written together becomes one file
_AGAIN_S = 5.0  # after a failed transfer
_LAST_TRIES = 6  # at the end, with twice the wait each time
_FIRST_WAIT_S = 0.5


def is_address(value: Any) -> bool:
    """Tell whether this is the address of remote storage, such as `"s3://bucket/logs"`."""
    return isinstance(value, str) and _SCHEME.match(value) is not None


@dataclass(frozen=True)
class RemoteFolder:
    """A folder in remote storage.

    Args:
        address: Such as `"s3://bucket/logs"`; any scheme that fsspec knows.

    Raises:
        ValueError: If nobody knows the scheme.
        ImportError: If a library is missing; the message names it.

    Example:
        >>> str(RemoteFolder("memory://logs/") / "saliency")
        'memory://logs/saliency'
    """

    address: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", self.address.rstrip("/"))
        scheme = self.address.partition("://")[0]
        received = f"Received: log_dir={self.address!r}"
        extra = _EXTRAS.get(scheme, "remote")
        try:
            from fsspec import get_filesystem_class

            get_filesystem_class(scheme)
        except ImportError as error:
            raise ImportError(
                f"log_dir in remote storage needs a library: pip install 'keras-saliency[{extra}]' "
                f"({error}). {received}"
            ) from error
        except ValueError as error:
            raise ValueError(
                "log_dir must be a folder, or an address in remote storage that fsspec knows, such "
                f"as 's3://bucket/logs' or 'gs://bucket/logs'. {received}"
            ) from error

    def __str__(self) -> str:
        return self.address

    def __truediv__(self, name: str) -> "RemoteFolder":
        return RemoteFolder(f"{self.address}/{name}")

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.rpartition("/")[2]

    def check(self) -> None:
        """Write a small file and delete it, as is done before training.

        Raises:
            OSError: If it cannot be written, for want of credentials or for another reason.
        """
        try:
            self._put(b"keras-saliency", _PROBE)
            files, root = self._opened()
            files.rm_file(f"{root}/{_PROBE}")
        except Exception as error:
            raise OSError(
                "log_dir must be remote storage that can be written: check the address, the "
                "credentials and the network. "
                f"Received: log_dir={self.address!r} ({type(error).__name__}: {error})"
            ) from error

    def files(self) -> list[str]:
        """List all files below.

        Returns:
            Their paths relative to the address; none where there is nothing.

        Raises:
            OSError: If the storage does not answer.
        """
        files, root = self._opened()
        files.invalidate_cache()
        start = root.strip("/") + "/"
        return sorted(path.strip("/").removeprefix(start) for path in files.find(root))

    def upload(self, file: Path, name: str) -> None:
        """Write a whole file.

        Args:
            file: The local file.
            name: Its path relative to the address.
        """
        self._put(file.read_bytes(), name)

    def _put(self, data: bytes, name: str) -> None:
        files, root = self._opened()
        try:
            files.pipe_file(f"{root}/{name}", data)
        except FileNotFoundError:
            if self.address.partition("://")[0] in _EXTRAS:
                raise  # There folders are a part of names, and this would make a bucket.
            files.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
            files.pipe_file(f"{root}/{name}", data)

    def download(self, names: Iterable[str], into: Path) -> None:
        """Read files into a local folder.

        Args:
            names: Their paths relative to the address.
            into: The folder.
        """
        files, root = self._opened()
        for name in names:
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files.cat_file(f"{root}/{name}"))

    def _opened(self) -> tuple[Any, str]:
        """Connect; fsspec keeps connections."""
        from fsspec.core import url_to_fs

        return url_to_fs(self.address)


class Mirror:
    """Copies what changes in a local folder to remote storage, in a thread of its own.

    Training and drawing don't wait for it. A transfer that fails is tried again, together with
    what follows.

    Args:
        local: The folder, which is deleted at the end if all of it has been copied.
        remote: Where its files go.
        finish: Called before files are copied, so that all are whole.
    """

    def __init__(
        self, local: Path, remote: RemoteFolder, finish: Callable[[], None] = lambda: None
    ) -> None:
        self._local, self._remote, self._finish = local, remote, finish
        self._copied = {name: self._state(name) for name in self._names()}
        self._wanted, self._is_over = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._fault: Exception | None = None

    def wake(self) -> None:
        """Copy what has changed, soon.

        Raises:
            OSError: If a transfer has failed since the last call; it is tried again.
        """
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="keras-saliency", daemon=True)
            self._thread.start()
        fault, self._fault = self._fault, None
        if fault is not None:
            raise OSError(
                f"{self._remote} did not take a file, which is tried again ({fault})"
            ) from fault

    def close(self) -> None:
        """Copy the rest, and delete the local folder; a second call does nothing.

        Raises:
            OSError: If something can't be copied in half a minute; it stays in the local folder.
        """
        if self._is_over.is_set():
            return
        self._is_over.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()
        wait = _FIRST_WAIT_S
        for attempt in range(_LAST_TRIES):
            if self._copy():
                shutil.rmtree(self._local, ignore_errors=True)
                return
            if attempt < _LAST_TRIES - 1:
                time.sleep(wait)
                wait *= 2
        raise OSError(
            f"{self._remote} did not take all files; the training run is in {self._local}, from "
            f"where it can be copied ({self._fault})"
        )

    def _work(self) -> None:
        while not self._is_over.is_set():
            self._wanted.wait()
            self._is_over.wait(_GATHER_S)
            self._wanted.clear()
            if not self._copy():
                self._is_over.wait(_AGAIN_S)
                self._wanted.set()

    def _copy(self) -> bool:
        """Copy all that has changed; return whether it is all there."""
        try:
            self._finish()
        except OSError as error:
            self._fault = error
        is_done = True
        for name in self._names():
            state = self._state(name)
            if state is None or self._copied.get(name) == state:
                continue
            try:
                self._remote.upload(self._local / name, name)
                self._copied[name] = state
            except Exception as error:  # of any library of any storage
                self._fault, is_done = error, False
        return is_done

    def _names(self) -> list[str]:
        """The files, oldest events first, without those that are being written."""
        paths = (path for path in self._local.rglob("*") if path.is_file())
        names = sorted(path.relative_to(self._local).as_posix() for path in paths)
        return [name for name in names if not name.endswith(".part")]

    def _state(self, name: str) -> tuple[int, int] | None:
        """What changes when a file does; None where it is gone."""
        try:
            status = (self._local / name).stat()
        except FileNotFoundError:
            return None
        return status.st_size, status.st_mtime_ns


def unique_number() -> int:
    """Return a number that grows with time, second by second, and that no other process draws."""
    return int(f"{time.strftime('%Y%m%d%H%M%S', time.gmtime())}{secrets.randbelow(10**6):06d}")


def local_copy(address: str) -> Path:
    """Copy the event files below an address into a local folder, which is deleted at exit.

    Args:
        address: Such as `"s3://bucket/logs"`.

    Returns:
        The folder, called as the last part of the address.

    Raises:
        ValueError: If there are no event files, or nobody knows the scheme.
        ImportError: If a library is missing.
        OSError: If the storage can't be read.
    """
    remote = RemoteFolder(address)
    try:
        names = [name for name in remote.files() if "tfevents" in name]
        if not names:
            raise ValueError(f"There are no runs in {remote}. Give the log_dir of the callback.")
        above = Path(tempfile.mkdtemp(prefix="keras-saliency-"))
        atexit.register(shutil.rmtree, above, ignore_errors=True)
        remote.download(names, above / remote.name)
    except (ValueError, ImportError):
        raise
    except Exception as error:
        raise OSError(
            "The logs must be in remote storage that can be read: check the address, the "
            f"credentials and the network. Received: {address!r} ({type(error).__name__}: {error})"
        ) from error
    return above / remote.name
