"""The demo over many seeds: what it finds of what was planted.

Run: PYTHONPATH=build/dev python bench/bench_demo.py [--seeds 20]
"""

import argparse
import time
from statistics import median

from dqcore.audit import demo


def main() -> None:
    """Print a line for each seed and the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(parser.parse_args().seeds)

    print("seed  planted  found  recall  precision  pair  annotator  scanner  (ranks)      ms")
    runs = []
    for seed in seeds:
        start = time.perf_counter()
        d = demo.run(seed)
        milliseconds = 1e3 * (time.perf_counter() - start)
        runs.append(d)
        print(
            f"{seed:4}  {d.planted.wrong.sum():7}  {d.n_found:5}  {d.recall:6.3f}  {d.precision:9.3f}"
            f"  {d.pair_rank:4}  {d.annotator_rank:9}  {d.scanner_rank:7}  {milliseconds:16.0f}"
        )
    recall, precision = median(d.recall for d in runs), median(d.precision for d in runs)
    firsts = [
        sum(getattr(d, f"{name}_rank") == 1 for d in runs)
        for name in ("pair", "annotator", "scanner")
    ]
    print(f"median recall {recall:.3f}, precision {precision:.3f}")
    print("first of {}: pair {}, annotator {}, scanner {}".format(len(runs), *firsts))
    assert recall >= 0.80
    assert precision >= 0.80
    assert min(firsts) >= 0.9 * len(runs)


if __name__ == "__main__":
    main()
