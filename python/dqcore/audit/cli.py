"""The command line: `dqcore demo | audit | merge | verify | info`, also `python -m dqcore`.

stdout holds the result only; progress, warnings and errors go to stderr. Exit codes: 0 fine, 1 a --fail-on bound was
reached, 2 bad input or usage, 3 input/output, 4 backend missing, 70 an error of dqcore itself, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .._backend import BackendError
from .bounds import SHARES, agreed, bound, reached
from .progress import bar
from .text import printable

if TYPE_CHECKING:
    from .result import Audit

OK, BOUND_REACHED, BAD_INPUT, INPUT_OUTPUT, NO_BACKEND, INTERNAL, INTERRUPTED = (
    0,
    1,
    2,
    3,
    4,
    70,
    130,
)
BACKENDS = ("auto", "cpu", "cuda", "reference")


# ---- arguments -------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        "dqcore", description="Find what is wrong with a labelled data set.", allow_abbrev=False
    )
    commands = top.add_subparsers(
        dest="command", required=True, metavar="demo | audit | merge | verify | info"
    )

    demo = commands.add_parser("demo", help="plant errors in 1,797 real digits and find them")
    demo.add_argument("--seed", type=_whole(0), default=0, help="what is planted where (default 0)")
    demo.add_argument("--out", metavar="DIR", help="save the audit in this folder")
    _add_run(demo, ("text", "json"))

    audit = commands.add_parser("audit", help="audit a data set", epilog=LAYOUT)
    audit.add_argument("file", metavar="FILE", help="labels, pred_probs, features, columns")
    audit.add_argument(
        "--out", metavar="DIR", help="save the result in this folder, whole or not at all"
    )
    for name in ("labels", "pred-probs", "features", "class-names", "split"):
        audit.add_argument(
            f"--{name}",
            metavar="[FILE:]KEY",
            help=f"where {name.replace('-', '_')} are, if elsewhere",
        )
    audit.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="A,B,C",
        help="the columns whose values are the slices; * for all that nothing else names",
    )
    audit.add_argument(
        "--k", type=_whole(1), default=10, help="neighbours of each row (default 10)"
    )
    audit.add_argument(
        "--metric",
        choices=("euclidean", "cosine"),
        help="default: cosine above 3 columns, else euclidean",
    )
    audit.add_argument(
        "--memory-limit",
        metavar="BYTES",
        help="such as 512MB: what may be held besides what FILE holds; .npy files are read in blocks",
    )
    audit.add_argument(
        "--sla",
        type=agreed,
        default=0.95,
        metavar="SHARE",
        help="share of right labels agreed, for the whole and each slice (default 95%%)",
    )
    audit.add_argument(
        "--resume",
        metavar="DIR",
        help="keep what is finished in this folder, and go on from there if interrupted",
    )
    audit.add_argument("--top", type=_whole(0), default=10, help="lines of each list (default 10)")
    audit.add_argument(
        "--fail-on",
        type=bound,
        action="append",
        default=[],
        metavar="BOUND",
        help=f'exit with 1 where reached, e.g. "noise>5%%"; of {", ".join(SHARES)}; may be repeated',
    )
    _add_run(audit, ("text", "json", "csv"))

    merge = commands.add_parser("merge", help="merge states that were counted apart")
    merge.add_argument("out", metavar="OUT", help="the file to write, whole or not at all")
    merge.add_argument("states", metavar="STATE", nargs="+", help="files of to_bytes()")

    verify = commands.add_parser("verify", help="are saved audits and states whole?")
    verify.add_argument(
        "paths", metavar="PATH", nargs="+", help="folders of audits, files of states"
    )

    info = commands.add_parser("info", help="versions, instruction set, threads, backends")
    info.add_argument("--json", action="store_true", help="print JSON")
    return top


LAYOUT = (
    "FILE.npz holds labels, and any of pred_probs (n, n_classes), features (n, d), class_names, and columns: either "
    "codes (n, m) with column_names, category_names and category_offsets, or one array for each column, columns/NAME. "
    "FILE may also be a table, .csv, .tsv, .parquet or .arrow (needs pyarrow): --labels COLUMN (default: labels or label), "
    "--pred-probs and --features a column of lists or the beginning of the columns' names (default: pred_probs, "
    "features), --split COLUMN, --columns A,B,C. See docs/inputs.md."
)


def _add_run(command: argparse.ArgumentParser, formats: Sequence[str]) -> None:
    command.add_argument("--threads", type=_whole(0), default=0, help="0: all there are (default)")
    command.add_argument(
        "--backend", choices=BACKENDS, default="auto", help="where to run (default auto)"
    )
    command.add_argument(
        "--progress", action="store_true", help="tell progress on stderr, be it a terminal or not"
    )
    command.add_argument("--format", choices=formats, default="text", help="what to print")


def _whole(least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"want a whole number from {least} up, got {text!r}")
        return value

    return whole


# ---- commands --------------------------------------------------------------------------------------


def _demo(args: argparse.Namespace) -> int:
    from . import demo

    shown = bar(sys.stderr, always=args.progress)
    done = demo.run(args.seed, backend=args.backend, threads=args.threads, progress=shown)
    if args.out is not None:
        _save(done.found, args.out)
    if args.format == "json":
        import json

        _print(json.dumps(demo.plain(done), indent=1))
    else:
        _print(demo.text(done))
    return OK


def _audit(args: argparse.Namespace) -> int:
    from . import text
    from .audit import audit
    from .load import data_set
    from .table import write_csv

    given = {
        name: getattr(args, name)
        for name in ("labels", "pred_probs", "features", "class_names", "split")
        if getattr(args, name) is not None
    }
    found = audit(
        **data_set(args.file, given, args.columns, in_blocks=args.memory_limit is not None),
        k=args.k,
        metric=args.metric,
        sla=args.sla,
        backend=args.backend,
        threads=args.threads,
        progress=bar(sys.stderr, always=args.progress),
        memory_limit=args.memory_limit,
        resume=args.resume,
    )
    lines = reached(found, args.fail_on)
    if args.out is not None:
        _save(found, args.out)
    if args.format == "csv":
        write_csv(found, sys.stdout)
        sys.stdout.flush()
    else:
        _print(
            found.to_json().rstrip("\n") if args.format == "json" else text.report(found, args.top)
        )
    for line in lines:
        _tell(line)
    return BOUND_REACHED if lines else OK


def _merge(args: argparse.Namespace) -> int:
    from . import parts

    _tell(f"{printable(args.out, 300)} holds a {parts.merge(args.out, args.states)}")
    return OK


def _verify(args: argparse.Namespace) -> int:
    from . import parts

    for path in args.paths:
        _print(f"{printable(path, 300)}: {parts.verify(path)}, whole")
    return OK


def _info(args: argparse.Namespace) -> int:
    from .versions import versions, versions_text

    if args.json:
        import json

        _print(json.dumps(versions(), indent=1))
    else:
        _print(versions_text())
    return OK


def _save(found: Audit, folder: str) -> None:
    found.save(folder)
    _tell(f"saved in {printable(folder, 300)}")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _tell(line: str) -> None:
    sys.stderr.write(f"dqcore: {line}\n")


def _warner() -> Callable[..., None]:
    """Return what shows a warning: on stderr, each text once, without a place in the code."""
    told: set[str] = set()

    def warn(message: Warning | str, *_: object, **__: object) -> None:
        line = f"warning: {printable(message, 1000)}"
        if line not in told:
            told.add(line)
            _tell(line)

    return warn


# ---- the entry point -------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        args = parser().parse_args(argv)
    except SystemExit as stop:  # argparse has told what is wrong
        return int(stop.code or 0)
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks comes out as an escape instead of an exception.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warner()
            return _commands()[args.command](args)
    except KeyboardInterrupt:
        _tell("interrupted")
        return INTERRUPTED
    except BackendError as error:
        return _failed(error, NO_BACKEND)
    except BrokenPipeError:
        # Whoever reads has gone; nothing may be flushed to it when the interpreter leaves.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INPUT_OUTPUT
    except (OSError, MemoryError) as error:
        return _failed(error, INPUT_OUTPUT)
    except (ValueError, TypeError) as error:
        return _failed(error, BAD_INPUT)
    except Exception:  # noqa: BLE001 - 1 would say that a bound was reached
        import traceback

        traceback.print_exc()
        _tell("this is an error of dqcore, not of your data; please report it with the lines above")
        return INTERNAL


def _commands() -> dict[str, Callable[[argparse.Namespace], int]]:
    return {"demo": _demo, "audit": _audit, "merge": _merge, "verify": _verify, "info": _info}


def _failed(error: BaseException, code: int) -> int:
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.strerror}: {Path(os.fsdecode(error.filename))}"
    else:
        message = str(error) or type(error).__name__
    _tell(f"error: {printable(message, 2000)}")
    return code
