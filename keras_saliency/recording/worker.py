"""A thread of its own for jobs that must neither hold nor stop the thread that hands them over."""

import atexit
import contextlib
import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

Job = Callable[[], None]
Task = tuple[Job, str]  # with what it does, in words: "write the verdict"

_WAITING = 2  # large jobs that wait or run: what a kill can cost
_PATIENCE_S = 2.0  # how long the caller waits for room among them, in all,
_SHARE = 0.05  # or this share of the time since the beginning, once that is more
_CLOSING_S = 120.0
_FIRST, _IN_TURN = 0, 1  # priorities


class Worker:
    """Run jobs on a daemon thread; whatever goes wrong is reported once and never raised.

    Small jobs go before all parts of large ones that wait, and both in the order in which they
    come. The thread starts with the first job and is started again if something has ended it.

    Args:
        output: What the jobs write, in words, as faults of the disk name it.
        on_fault: Called with one clause, such as "could not draw the overview (...)", once for each
            kind of fault.
        at_exit: Called when the interpreter exits, if the thread has been started: a daemon thread
            is cut off then, and would lose what still waits.
        is_idle: Whether jobs are dropped, as in a process that does not write. So they are in a
            process that is forked later, whose parent writes.

    Attributes:
        thread: The thread, or None before the first job.
        is_behind: Whether the newest large job was refused, for want of room.
    """

    def __init__(
        self,
        output: str,
        on_fault: Callable[[str], None],
        at_exit: Callable[[], None],
        is_idle: bool = False,
    ) -> None:
        self.thread: threading.Thread | None = None
        self._output, self._on_fault, self._at_exit = output, on_fault, at_exit
        self._is_idle = is_idle
        self._reported: set[str] = set()
        self._moment = "the beginning"  # of what runs now
        self._room = threading.Semaphore(_WAITING)
        self.is_behind = False
        self._began, self._waited = time.monotonic(), 0.0
        self._queue: queue.PriorityQueue[tuple[int, int, Job | None]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._process = os.getpid()
        self._is_closed = False

    def submit(self, job: Job, task: str) -> None:
        """Hand over a small job.

        Args:
            job: Called in the thread.
            task: What it does, in words: "write the verdict".
        """
        with self.guard(task):
            if self._is_writing():
                self._ensure_thread()
                self._put(partial(self._run, job, task), _FIRST)

    def submit_large(self, first: Task, tasks: Sequence[Task], moment: str) -> bool:
        """Hand over a large job, of which two at most may wait or run at a time.

        Args:
            first: Its small part, which goes before all large ones that wait.
            tasks: The others, in order.
            moment: The moment of the training run that it belongs to, in words: "epoch 3".

        Returns:
            False where there was no room, and nothing is done. The caller has then waited for it:
            for 2 s in all, or for 5 % of the time since the beginning, where that is more; but not
            after a job that was refused.
        """
        with self.guard(first[1]):
            if not self._is_writing():
                return True
            self._ensure_thread()
            room = self._room
            self.is_behind = not self._acquire(room)
            if self.is_behind:
                return False
            self._put(partial(self._run, *first, moment), _FIRST)
            for task in tasks:
                self._put(partial(self._run, *task, moment))
            self._put(room.release)
        return True

    def submit_in_turn(self, job: Job, task: str) -> None:
        """Hand over a job behind all that waits, unless large jobs are being refused."""
        with self.guard(task):
            if self._is_writing() and not self.is_behind:
                self._ensure_thread()
                self._put(partial(self._run, job, task))

    def flush(self, timeout: float) -> bool:
        """Wait until all jobs handed over so far are done.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether all of them are done.
        """
        if self.thread is None or self._is_closed or self._is_forked():
            return True
        done = threading.Event()
        self._ensure_thread()
        self._put(done.set)
        return done.wait(timeout)

    def close(self, *last: Task) -> bool:
        """Finish all jobs and end the thread.

        Args:
            *last: Jobs to run at the end, with their tasks, if there ever was a job.

        Returns:
            Whether what the jobs write may be closed: not in time, in a forked child, or a second
            time it may not.
        """
        # The thread does not live on in a forked child, which must not wait for it.
        if self._is_closed or self._is_forked():
            return False
        if self.thread is not None:
            atexit.unregister(self._at_exit)
            with self.guard("finish the run"):
                self._ensure_thread()
            for job, task in last:
                self._put(partial(self._run, job, task))
            self._put(None)
            self.thread.join(_CLOSING_S)
        self._is_closed = True
        if self.thread is not None and self.thread.is_alive():
            self.report("closing", "some of the pictures were not written in time")
            return False
        return True

    @contextlib.contextmanager
    def guard(self, task: str) -> Iterator[None]:
        """Turn any exception into one line for the user, so that training goes on."""
        try:
            yield
        except OSError as error:  # which all that is written meets alike
            self.report(
                f"disk {type(error).__name__} {error.errno}",
                f"{self._output} is incomplete since {self._moment} ({error})",
            )
        except Exception as error:
            kind = type(error).__name__
            self.report(f"{task} {kind}", f"could not {task} ({kind}: {error})")

    def report(self, kind: str, message: str) -> None:
        """Report a fault, unless one of its kind has been reported."""
        if kind in self._reported:
            return
        self._reported.add(kind)
        try:
            self._on_fault(message)
        except Exception:  # such as a warning that the user's filters turn into an error
            logging.getLogger(__name__).exception(message)

    def _is_forked(self) -> bool:
        return os.getpid() != self._process

    def _is_writing(self) -> bool:
        # A forked child shares the parent's file, and locks as they were at that moment.
        if self._is_forked() and not self._is_idle:
            self.report("forked", "a process that was forked while training writes nothing")
        return not self._is_idle and not self._is_forked()

    def _ensure_thread(self) -> None:
        if self._is_closed:
            raise RuntimeError("the recorder is closed")
        if self.thread is None:
            atexit.register(self._at_exit)
        elif self.thread.is_alive():
            return
        else:
            self.report(
                "worker",
                f"something has ended the thread that draws, at {self._moment} or at what came "
                "next, of which a part may be missing; another one goes on with what follows",
            )
            self._room = threading.Semaphore(_WAITING)  # what was lost gives none back
        self.thread = threading.Thread(target=self._work, name="keras-saliency", daemon=True)
        self.thread.start()

    def _put(self, job: Job | None, priority: int = _IN_TURN) -> None:
        self._queue.put((priority, next(self._numbers), job))

    def _acquire(self, room: threading.Semaphore) -> bool:
        """Wait for room, for as long as may still be waited."""
        began = time.monotonic()
        allowed = max(_PATIENCE_S, _SHARE * (began - self._began)) - self._waited
        has_room = room.acquire(timeout=0 if self.is_behind else max(0, allowed))
        self._waited += time.monotonic() - began
        return has_room

    def _work(self) -> None:
        while (job := self._queue.get()[2]) is not None:
            job()

    def _run(self, job: Job, task: str, moment: str | None = None) -> None:
        self._moment = moment or self._moment
        with self.guard(task):
            job()
