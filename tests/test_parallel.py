"""The crew of threads: exceptions, progress, Ctrl-C, fork, and how many threads there are.

`_cpu.run_chunks(chunks, failing_chunk, milliseconds, threads, progress)` is the test hook: each chunk sleeps and one
may throw.
"""

import os
import sys
import threading
import time

import numpy as np
import pytest
from conftest import SANITIZED
from dqcore import _cpu

MOST_THREADS = 512  # parallel.cpp, kMostThreads

THREADS = [1, 2, 3, 8]


def ask(chunks=8, *, failing=-1, milliseconds=0, threads=2, progress=None):
    return _cpu.run_chunks(chunks, failing, milliseconds, threads, progress)


# ---- exceptions ----------------------------------------------------------------------------------


@pytest.mark.threads
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(("chunks", "failing"), [(1, 0), (2, 1), (16, 0), (16, 7), (16, 15)])
def test_an_exception_in_a_worker_reaches_the_caller_once(chunks, failing, threads):
    with pytest.raises(RuntimeError, match="chunk failed as asked"):
        ask(chunks, failing=failing, threads=threads)
    ask(chunks, threads=threads)  # and the next call finds nothing left of it


@pytest.mark.threads
def test_an_exception_stops_the_other_workers():
    chunks, milliseconds, threads = 400, 10, 2
    start = time.perf_counter()
    with pytest.raises(RuntimeError):
        ask(chunks, failing=0, milliseconds=milliseconds, threads=threads)
    everything = chunks * milliseconds / 1000 / threads  # asleep, so known whatever the machine
    assert time.perf_counter() - start < everything / 2


# ---- progress ------------------------------------------------------------------------------------


@pytest.mark.threads
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("chunks", [1, 2, 40])
def test_progress_grows_and_ends_at_the_total_on_the_callers_thread(chunks, threads):
    seen, where = [], set()

    def progress(stage, done, total):
        seen.append((stage, done, total))
        where.add(threading.get_ident())

    ask(chunks, milliseconds=5, threads=threads, progress=progress)
    assert {stage for stage, _, _ in seen} == {"chunks"}
    assert {total for _, _, total in seen} == {chunks}
    done = [d for _, d, _ in seen]
    assert done == sorted(done)
    assert done[-1] == chunks
    assert where == {threading.get_ident()}


@pytest.mark.threads
def test_progress_is_reported_on_the_way():
    seen = []
    ask(40, milliseconds=10, threads=2, progress=lambda *a: seen.append(a[1]))
    assert any(0 < done < 40 for done in seen)


def test_nothing_to_do_is_done_at_once():
    ask(0)


@pytest.mark.threads
@pytest.mark.parametrize("chunks", [1, 100])
def test_an_exception_in_progress_ends_the_call_and_is_the_one_raised(chunks):
    class OwnError(Exception):
        pass

    calls = []

    def progress(*_):
        calls.append(1)
        raise OwnError("from progress")

    with pytest.raises(OwnError, match="from progress"):
        ask(chunks, milliseconds=10, threads=2, progress=progress)
    assert len(calls) == 1
    ask(chunks, threads=2)


# ---- Ctrl-C --------------------------------------------------------------------------------------

# Sends SIGINT to itself at a random moment of a call and measures how late the exception comes.
INTERRUPT = """
import os, random, signal, sys, threading, time
import numpy as np
import dqcore
from dqcore import _cpu

# A shell starts what it puts in the background with SIGINT ignored, and Python leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)

def late(call, wait):
    sent = []
    def send():
        time.sleep(wait)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        call()
    except KeyboardInterrupt:
        seconds = time.perf_counter() - sent[0]
        if seconds > 1.0:  # the promise is 0.1 s; the machine may be busy
            raise SystemExit(f"{seconds} s from the signal to the exception")
        return seconds
    finally:
        sender.join()
    raise SystemExit("the call was over before the signal: make it longer")
"""

CHUNKS = """
random.seed(0)
times = []
for threads in (1, 2, 8):
    for _ in range(5):
        call = lambda: _cpu.run_chunks(400, -1, 10, threads, None)
        times.append(late(call, random.uniform(0.01, 0.08)))
        _cpu.run_chunks(4, -1, 0, threads, None)
assert threading.active_count() == 1
print(*times)
"""


@pytest.mark.threads
def test_an_interrupt_ends_the_call_soon_and_the_next_call_works(fresh_python):
    assert len(fresh_python(INTERRUPT + CHUNKS).split()) == 15


# Each takes some tenths of a second at least; of the large arrays most have no memory behind them.
LONG = """
rng = np.random.default_rng(0)
n = 20_000_000
labels = np.broadcast_to(np.int32(1), n)
probs = np.broadcast_to(np.array([0.7, 0.2, 0.1], np.float32), (n, 3))
features = rng.normal(size=(60_000, 48)).astype(np.float32)
graph = dqcore.knn_graph(features[:3000], 200)
graph = dqcore.KnnGraph(
    np.tile(graph.indices, (30, 1)), np.tile(graph.distances, (30, 1)), "euclidean", 90_000
)
columns = {name: labels for name in "abcdef"}
calls = {
    "knn_graph": lambda: dqcore.knn_graph(features, 10, threads=2),
    "knn_disagreement": lambda: dqcore.knn_disagreement(
        labels[:90_000], graph, weights="gaussian", threads=1
    ),
    "confident_joint": lambda: dqcore.confident_joint(labels, probs, threads=1),
    "label_quality": lambda: dqcore.label_quality(
        labels, probs, method="confidence_weighted_entropy", threads=1
    ),
    "label_issues": lambda: dqcore.label_issues(
        labels, probs, rank_by="confidence_weighted_entropy", threads=2
    ),
    "slice_errors": lambda: dqcore.slice_errors(labels, columns, max_level=3, threads=1),
}
call = calls[sys.argv[1]]
random.seed(1)
print(*(late(call, random.uniform(0.005, 0.06)) for _ in range(3)))
small = dqcore.confident_joint([0, 1], [[0.9, 0.1], [0.2, 0.8]])
assert small.counts.tolist() == [[1, 0], [0, 1]]
"""


@pytest.mark.skipif(SANITIZED, reason="a sanitizer would need the memory that is not there")
@pytest.mark.parametrize(
    "function",
    [
        "knn_graph",
        "knn_disagreement",
        "confident_joint",
        "label_quality",
        "label_issues",
        "slice_errors",
    ],
)
def test_an_interrupt_ends_each_long_function_soon(fresh_python, function):
    assert len(fresh_python(INTERRUPT + LONG, function).split()) == 3


# ---- the GIL, and many callers -------------------------------------------------------------------


@pytest.mark.threads
def test_other_python_threads_go_on_during_a_call():
    stop, ticks = threading.Event(), []

    def tick():
        while not stop.wait(0.002):
            ticks.append(time.perf_counter())

    other = threading.Thread(target=tick)
    other.start()
    start = time.perf_counter()
    ask(20, milliseconds=20, threads=2)
    end = time.perf_counter()
    stop.set()
    other.join()
    assert sum(start < t < end for t in ticks) > 5


@pytest.mark.threads
def test_many_callers_at_once():
    wrong = []

    def caller(i):
        for _ in range(10):
            try:
                ask(16, failing=3 if i % 2 else -1, threads=1 + i % 4, progress=lambda *_: None)
            except RuntimeError:
                if i % 2 == 0:
                    wrong.append(i)
            else:
                if i % 2 == 1:
                    wrong.append(i)

    callers = [threading.Thread(target=caller, args=(i,)) for i in range(8)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert not wrong


# ---- fork ----------------------------------------------------------------------------------------

FORK = """
import os, sys, threading
from dqcore import _cpu

def use():
    _cpu.run_chunks(8, -1, 1, 4, None)

def child_uses_it():
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            use()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
"""


def test_fork_after_use_works_in_child_and_parent(fresh_python):
    fresh_python(FORK + "use()\nfor _ in range(20):\n    child_uses_it()\nuse()\n")


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's allocator may be locked at the fork")
def test_fork_during_a_call_of_another_thread(fresh_python):
    fresh_python(
        FORK
        + """
stop = threading.Event()
def busy():
    while not stop.is_set():
        use()
other = threading.Thread(target=busy)
other.start()
for _ in range(20):
    child_uses_it()
stop.set()
other.join()
"""
    )


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_every_way_to_start_a_process(fresh_python, method):
    fresh_python(
        """
import multiprocessing, sys
from dqcore import _cpu

def use(i):
    _cpu.run_chunks(8, -1, 1, 4, None)
    return i

if __name__ == "__main__":
    use(0)
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert pool.map(use, range(8)) == list(range(8))
    use(0)
""",
        method,
    )


def test_the_interpreter_leaves_while_a_daemon_thread_is_in_a_call(fresh_python):
    fresh_python(
        """
import threading, time
from dqcore import _cpu
threading.Thread(target=_cpu.run_chunks, args=(10000, -1, 10, 2, None), daemon=True).start()
time.sleep(0.1)
print("leaving")
"""
    )


# ---- how many threads ----------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("3", 3), ("1000000", MOST_THREADS)])
def test_the_environment_says_how_many_threads(monkeypatch, text, count):
    monkeypatch.setenv("DQCORE_THREADS", text)
    assert _cpu.threads(0) == count
    assert _cpu.threads(2) == 2  # an explicit number stands over it


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "two", "2 threads", "0x2"])
def test_a_number_of_threads_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("DQCORE_THREADS", text)
    with pytest.raises(ValueError, match="DQCORE_THREADS must be a whole number") as error:
        ask(4, threads=0)
    assert repr(text) in str(error.value)
    ask(4, threads=2)  # not asked then


def test_threads_are_at_most_what_the_process_may_use(monkeypatch):
    monkeypatch.delenv("DQCORE_THREADS", raising=False)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert 1 <= _cpu.threads(0) <= usable


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_affinity_of_one_processor_means_one_thread(fresh_python, monkeypatch):
    monkeypatch.delenv("DQCORE_THREADS", raising=False)
    script = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from dqcore import _cpu
print(_cpu.threads(0), _cpu.threads(4))
"""
    assert fresh_python(script).split() == ["1", "4"]


def test_a_million_threads_are_not_started():
    assert _cpu.threads(10**6) == MOST_THREADS
    ask(20, threads=10**6)


@pytest.mark.skipif(
    SANITIZED or sys.platform != "linux",
    reason="a sanitizer needs more address space than the limit allows",
)
def test_fewer_threads_where_no_more_can_be_had(fresh_python):
    """Each thread's stack needs some 8 MB of address space: 64 of them do not fit, a few do."""
    script = """
import resource
from dqcore import _cpu
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (48 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
seen = []
_cpu.run_chunks(200, -1, 1, 64, lambda stage, done, total: seen.append(done))
print(seen[-1])
"""
    assert fresh_python(script).split() == ["200"]


@pytest.mark.parametrize("function", ["log", "exp"])
def test_hooks_take_any_shape(function):
    assert getattr(_cpu, function)(np.ones((2, 3))).shape == (2, 3)
