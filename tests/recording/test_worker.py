"""The thread that draws: how long those wait who hand jobs over, and in which order it works."""

import os
import threading
import time

import pytest

from keras_saliency.recording import worker
from keras_saliency.recording.worker import Worker


def busy(seconds, patience, share, monkeypatch):
    """Hand over a large job every 10 ms, each of which takes longer; return what was waited."""
    monkeypatch.setattr(worker, "_PATIENCE_S", patience)
    monkeypatch.setattr(worker, "_SHARE", share)
    faults, waits = [], []
    own = Worker("the run", faults.append, lambda: None)
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        entered = time.perf_counter()
        own.submit_large((lambda: None, "a"), [(lambda: time.sleep(0.05), "b")], "now")
        waits.append(time.perf_counter() - entered)
        time.sleep(0.01)
    own.close()
    assert faults == []
    return sum(waits), time.perf_counter() - began


@pytest.mark.parametrize(("patience", "share"), [(0.3, 0.0), (0.1, 0.2), (0.0, 0.1)])
def test_there_is_one_budget_of_waiting(patience, share, monkeypatch):
    waited, took = busy(2.0, patience, share, monkeypatch)
    allowed = max(patience, share * took)
    assert 0.5 * allowed < waited < allowed + 0.1


def test_the_budget_is_two_seconds_or_five_percent():
    assert (worker._PATIENCE_S, worker._SHARE) == (2.0, 0.05)


def test_small_jobs_go_first_and_each_kind_in_its_order():
    done, let = [], threading.Event()
    own = Worker("the run", done.append, lambda: None)

    def job(name):
        return lambda: done.append(name), name

    assert own.submit_large((lambda: let.wait(30), "wait"), [job("a1"), job("a2")], "a")
    assert own.submit_large(job("b0"), [job("b1"), job("b2")], "b")
    own.submit_in_turn(*job("c"))
    own.submit(*job("d"))
    own.submit(*job("e"))
    let.set()
    assert own.flush(30)
    own.submit(*job("f"))
    own.close(job("last"))
    assert done == ["b0", "d", "e", "a1", "a2", "b1", "b2", "c", "f", "last"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked there")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_leaves_writing_to_its_parent_and_says_so_once(tmp_path):
    faults, let = [], threading.Event()
    own = Worker("the run", faults.append, lambda: None)

    def write(name):
        return lambda: (tmp_path / f"{name} {os.getpid()}").touch(), name

    own.submit(lambda: let.wait(60), "wait")
    own.submit(*write("before"))
    if (child := os.fork()) == 0:
        let.set()
        own.submit(*write("small"))
        has_room = all(own.submit_large(write("first"), [write("rest")], "now") for _ in range(3))
        own.submit_in_turn(*write("in turn"))
        is_as_wanted = has_room and own.flush(10) and len(faults) == 1 and "forked" in faults[0]
        os._exit(0 if is_as_wanted and not own.close() else 1)
    assert os.waitpid(child, 0)[1] == 0
    let.set()
    own.submit(*write("after"))
    assert own.close()
    assert faults == []
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name} {os.getpid()}" for name in ("before", "after")
    }
