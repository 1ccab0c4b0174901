"""Check what a wheel holds: the package's tracked files, modules hardened by the linker, nothing else.

python .ci/wheel.py WHEEL
"""

import re
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

MOST_BYTES = 3_000_000  # for each compiled module
LIBRARIES = {
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libm.so.6",
    "libc.so.6",
    "libpthread.so.0",
    "ld-linux-x86-64.so.2",
}


def output(*command: str) -> str:
    """Return what `command` prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def wrong_names(names: set[str]) -> set[str]:
    """Return what is in the wheel and should not be, or should be and is not."""
    tracked = {
        f.removeprefix("python/") for f in output("git", "ls-files", "python/dqcore").splitlines()
    }
    (info,) = {n.split("/")[0] for n in names if ".dist-info/" in n}
    metadata = {
        f"{info}/{n}"
        for n in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    modules = {n for n in names if re.fullmatch(r"dqcore/_(cpu|cuda)\.[\w-]+\.so", n)}
    found = sorted(PurePosixPath(n).name.split(".")[0] for n in modules)
    if found not in (["_cpu"], ["_cpu", "_cuda"]):  # the second where nvcc was there
        return modules or {"dqcore/_cpu"}
    return names ^ (tracked | metadata | modules)


def faults_of_module(path: str) -> list[str]:
    """Return what the linker left undone in a module."""
    dynamic, segments = output("readelf", "-dW", path), output("readelf", "-lW", path)
    needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\]", dynamic))
    stack = re.search(r"GNU_STACK.* (R\w*E?) ", segments)
    symbols = [line.split() for line in output("nm", "-D", "--defined-only", path).splitlines()]
    ours = [name for _, kind, name in symbols if kind.isupper() and kind not in "VWU"]
    checks = {
        "it has a path of its own for libraries": not re.search(r"\((RPATH|RUNPATH)\)", dynamic),
        "it can be relocated after the start": "GNU_RELRO" in segments and "NOW" in dynamic,
        "its stack may be run as code": stack is not None and "E" not in stack[1],
        f"it needs libraries beyond {sorted(LIBRARIES)}: {sorted(needed)}": needed <= LIBRARIES,
        f"it shows more than its entry: {ours}": ours
        == [f"PyInit_{PurePosixPath(path).name.split('.')[0]}"],
    }
    return [what for what, fine in checks.items() if not fine]


def main(wheel: Path) -> int:
    """Print each fault; return how many there are."""
    faults = []
    with zipfile.ZipFile(wheel) as archive, TemporaryDirectory() as folder:
        names = set(archive.namelist())
        faults += [f"not as tracked: {name}" for name in sorted(wrong_names(names))]
        for name in sorted(n for n in names if PurePosixPath(n).suffix == ".so"):
            faults += [
                f"{name}: {what}" for what in faults_of_module(archive.extract(name, folder))
            ]
    size = wheel.stat().st_size
    most = MOST_BYTES * sum(PurePosixPath(n).suffix == ".so" for n in names)
    if size > most:
        faults.append(f"{size} bytes; at most {most}")
    print(
        *faults, f"{wheel.name}: {len(names)} files, {size} bytes, {len(faults)} faults", sep="\n"
    )
    return len(faults)


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1])) else 0)
