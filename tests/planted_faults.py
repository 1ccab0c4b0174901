"""Do the tests bite? Plants one fault after another in a copy of the tree and runs the test that must notice.

    python tests/planted_faults.py                 all of them
    python tests/planted_faults.py --only tie-rule  those whose name holds the word

Wants cmake, ninja, pybind11 and the test requirements. A fault that survives, or whose edit no longer applies, fails.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Fault(NamedTuple):
    """One edit, and the test (a pytest node, or several) that fails by it."""

    name: str
    file: str
    old: str
    new: str
    test: str


FAULTS = [
    # ---- the crew ----
    Fault(
        "parallel: the first exception is lost",
        "cpp/base/parallel.cpp",
        "    crew.rethrow();\n",
        "",
        "tests/test_parallel.py::test_an_exception_in_a_worker_reaches_the_caller_once",
    ),
    Fault(
        "parallel: an exception does not stop the others",
        "cpp/base/parallel.cpp",
        "        stop_ = true;\n",
        "",
        "tests/test_parallel.py::test_an_exception_stops_the_other_workers",
    ),
    Fault(
        "parallel: the last chunk is left out",
        "cpp/base/parallel.cpp",
        "(chunk = next_.fetch_add(1)) < chunks_;",
        "(chunk = next_.fetch_add(1)) < chunks_ - (chunks_ > 1);",
        "tests/test_parallel.py::test_an_exception_in_a_worker_reaches_the_caller_once",
    ),
    Fault(
        "parallel: progress ends short of the total",
        "cpp/base/parallel.cpp",
        "run.watcher->tick(stage, chunks, chunks);",
        "run.watcher->tick(stage, chunks - 1, chunks);",
        "tests/test_parallel.py::test_progress_grows_and_ends_at_the_total_on_the_callers_thread",
    ),
    Fault(
        "parallel: nobody asks for signals",
        "cpp/bind/run.h",
        "        if (PyErr_CheckSignals() != 0) throw py::error_already_set();\n",
        "",
        "tests/test_parallel.py::test_an_interrupt_ends_the_call_soon_and_the_next_call_works",
    ),
    Fault(
        "parallel: the GIL is kept during a call",
        "cpp/bind/run.h",
        "        const Without gil(*this);\n        work(run_);",
        "        const py::gil_scoped_acquire gil;\n        let_go();\n        take();\n        Run alone = run_;\n"
        "        alone.watcher = nullptr;\n        work(alone);",
        "tests/test_parallel.py::test_other_python_threads_go_on_during_a_call",
    ),
    Fault(
        "parallel: the environment is not asked",
        "cpp/base/parallel.cpp",
        'std::getenv("DQCORE_THREADS")',
        'std::getenv("DQCORE_THREAD")',
        "tests/test_parallel.py::test_the_environment_says_how_many_threads",
    ),
    # ---- exact arithmetic ----
    Fault(
        "exact: a tail of the canonical sum is padded with what lies behind it",
        "cpp/simd/knn.inl",
        "for (int64_t t = 0; c + t < d; ++t) {",
        "for (int64_t t = 0; t < kLanes; ++t) {",
        "tests/test_exact.py::test_the_canonical_sum_at_any_address",
    ),
    Fault(
        "exact: the last dim of a tail is left out",
        "cpp/simd/knn.inl",
        "for (int64_t t = 0; c + t < d; ++t) {",
        "for (int64_t t = 0; c + t < d - 1; ++t) {",
        "tests/test_exact.py::test_the_canonical_sum_at_every_tail_length",
    ),
    Fault(
        "exact: the fold starts one step late",
        "cpp/simd/knn.inl",
        "lanes[l] += lanes[l + width];",
        "lanes[l] += lanes[2 * width - 1 - l];",
        "tests/test_exact.py::test_the_canonical_sum_at_every_tail_length",
    ),
    Fault(
        "exact: the compiler may fuse multiply and add",
        "CMakeLists.txt",
        "-ffp-contract=off)",
        "-ffp-contract=fast)",
        "tests/test_exact.py::test_the_canonical_sum_at_every_tail_length",
    ),
    Fault(
        "exact: log turns at another place than its twin",
        "cpp/base/elementary.h",
        "if (m >= 0x1.6a09e667f3bcdp+0) {",
        "if (m > 0x1.6a09e667f3bcdp+0) {",
        "tests/test_exact.py::test_log_has_the_same_bits_in_both_languages",
    ),
    Fault(
        "exact: a coefficient of exp is short of digits",
        "cpp/base/elementary.h",
        "4.13813679705723846039e-08",
        "4.138136797057e-08",
        "tests/test_exact.py::test_exp_has_the_same_bits_in_both_languages",
    ),
    Fault(
        "exact: subnormal halves are zero",
        "cpp/base/row_block.h",
        "float value = static_cast<float>(rest) * 0x1p-24f;",
        "float value = 0.0f;",
        "tests/test_exact.py::test_every_half_becomes_the_float_that_it_is",
    ),
    # ---- the main job ----
    Fault(
        "audit: the old result goes before the new one is there",
        "python/dqcore/audit/save.py",
        "            _exchange(temporary, target)\n",
        "            shutil.rmtree(target)\n            temporary.rename(target)\n",
        "tests/test_audit.py::test_killed_at_each_step_it_leaves_a_whole_result",
    ),
    Fault(
        "audit: folders of others are replaced",
        "python/dqcore/audit/save.py",
        "    if any(target.iterdir()) and not is_ours(target):\n",
        "    if False:\n",
        "tests/test_audit.py::test_result_is_replaced_as_a_whole_and_nothing_else_is_touched",
    ),
    Fault(
        "audit: a file's size is not checked before memory is asked for",
        "python/dqcore/audit/load.py",
        "    if wanted > limit:\n",
        "    if False:\n",
        "tests/test_audit.py::test_size_is_checked_before_memory_is_asked_for",
    ),
    Fault(
        "audit: a name acts on the terminal",
        "python/dqcore/audit/text.py",
        "c if c.isprintable() else _escape(c)",
        "c",
        "tests/test_audit.py::test_hostile_names_survive_and_cannot_act",
    ),
    Fault(
        "audit: NaN in JSON",
        "python/dqcore/audit/report.py",
        "return value if np.isfinite(value) else None",
        "return value",
        "tests/test_audit.py::test_no_rows",
    ),
    Fault(
        "audit: a bound that is reached exits with 0",
        "python/dqcore/audit/cli.py",
        "return BOUND_REACHED if lines else OK",
        "return OK",
        "tests/test_cli.py::test_fail_on",
    ),
    Fault(
        "audit: a row's own label votes in the demo",
        "python/dqcore/audit/demo.py",
        "labels[graph.indices.ravel()]",
        "labels[rows]",
        "tests/test_demo.py::test_probabilities_come_from_the_labels_as_they_stand",
    ),
]


def output(command: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `command`; a run of more than five minutes counts as failed."""
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as late:
        return subprocess.CompletedProcess(command, 124, str(late.stdout), str(late.stderr))


class Copy:
    """A copy of the tree with one build folder, built again after each edit."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        where = output([sys.executable, "-m", "pybind11", "--cmakedir"], folder).stdout.strip()
        flags = ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O2"]
        python = [f"-Dpybind11_DIR={where}", f"-DPython_EXECUTABLE={sys.executable}"]
        self.must(["cmake", "-G", "Ninja", "-S", ".", "-B", "build/faults", *flags, *python])

    def must(self, command: list[str]) -> None:
        done = output(command, self.root)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed\n{done.stdout}{done.stderr}")

    def builds(self) -> str:
        """Return "" or why it does not build."""
        done = output(["cmake", "--build", "build/faults"], self.root)
        return "" if done.returncode == 0 else done.stdout[-2000:]

    def tests(self, nodes: list[str]) -> int:
        """Return pytest's exit code."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *nodes]
        done = output(command, self.root, PYTHONPATH="build/faults", PYTHONDONTWRITEBYTECODE="1")
        self.said = done.stdout[-3000:] + done.stderr[-1000:]
        return done.returncode

    def plant(self, fault: Fault) -> str:
        """Return "caught", or what went wrong."""
        path = self.root / fault.file
        text = path.read_text()
        if text.count(fault.old) != 1:
            return f"STALE: the text is there {text.count(fault.old)} times"
        path.write_text(text.replace(fault.old, fault.new))
        try:
            why = "" if fault.file.startswith("python/") else self.builds()
            if why:
                return f"DOES NOT BUILD\n{why}"
            code = self.tests(fault.test.split())
            if code in (1, 124) or code < 0:  # failed, hung, or died of it
                return "caught"
            return "SURVIVED" if code == 0 else f"pytest ended with {code}\n{self.said}"
        finally:
            path.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="faults whose name holds this")
    chosen = [f for f in FAULTS if parser.parse_args().only in f.name]
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        if why := copy.builds():
            sys.exit(why)
        nodes = sorted({node for fault in chosen for node in fault.test.split()})
        if copy.tests(nodes) != 0:
            sys.exit(f"the tests do not pass without a fault\n{copy.said}")
        missed = 0
        for fault in chosen:
            start = time.perf_counter()
            verdict = copy.plant(fault)
            missed += verdict != "caught"
            seconds = time.perf_counter() - start
            print(f"{verdict:9} {seconds:5.1f} s  {fault.name:62} {fault.test}", flush=True)
    print(f"{len(chosen)} faults planted, {len(chosen) - missed} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
