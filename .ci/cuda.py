"""Check what nvcc makes of the kernels: every architecture, no warning, no spill, no local memory, the instructions wanted.

python .ci/cuda.py BUILD-FOLDER    which is configured (preset cuda); wants cuobjdump and nvdisasm on PATH
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ARCHITECTURES = {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120"}
MOST_REGISTERS = 255
# Of a kernel whose name holds the word: the instructions its code must have on every architecture.
WANTED = {"FilterPairs": ("HMMA.16816.F32", "LDSM", "LDGSTS.E.BYPASS.128")}
LOCAL_MEMORY = re.compile(r"\b(?:LDL|STL)\b")


class Kernel(NamedTuple):
    """What ptxas says of a kernel on an architecture."""

    name: str
    architecture: str
    stack: int
    spilled: int
    registers: int


def output(*command: str) -> str:
    """Return what `command` prints; a failure ends the check with it."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def shown(mangled: str) -> str:
    """Return the part of a mangled name that tells kernels apart."""
    return re.sub(r"^_ZN6dqcore4cuda10cuda_entryI|EEvT_$", "", mangled).replace("NS0_", "")


def compiled(log: str) -> list[Kernel]:
    """Return the kernels of the compiler's log."""
    pattern = re.compile(
        r"Compiling entry function '(\w+)' for '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers",
        re.DOTALL,
    )
    return [
        Kernel(shown(name), arch, int(stack), int(stores) + int(loads), int(registers))
        for name, arch, stack, stores, loads, registers in pattern.findall(log)
    ]


def faults_of(kernels: list[Kernel]) -> list[str]:
    """Return what ptxas says that must not be."""
    faults = [
        f"no kernel for {a}" for a in sorted(ARCHITECTURES - {k.architecture for k in kernels})
    ]
    for k in kernels:
        if k.spilled or k.stack or k.registers > MOST_REGISTERS:
            faults.append(f"{k.name}, {k.architecture}: {k}")
    return faults


def faults_of_code(sass: str) -> list[str]:
    """Return what the machine code has and should not have, or the other way round."""
    faults = [f"no kernel {word}" for word in WANTED if word not in sass]
    architecture = ""
    for part in re.split(r"\n(?=\s*(?:code for sm_|Function : ))", sass):
        if found := re.match(r"\s*code for (\w+)", part):
            architecture = found[1]
        elif found := re.match(r"\s*Function : (\w+)", part):
            name = shown(found[1])
            if LOCAL_MEMORY.search(part):
                faults.append(f"{name}, {architecture}: local memory")
            for word, instructions in WANTED.items():
                if word in name:
                    missing = [i for i in instructions if i not in part]
                    faults += [f"{name}, {architecture}: no {i}" for i in missing]
    return faults


def main(folder: Path) -> int:
    """Print a table of the kernels and each fault; return how many faults there are."""
    log = output("cmake", "--build", str(folder), "--target", "dqcore_kernels", "--clean-first")
    kernels = compiled(log)
    faults = faults_of(kernels)
    print(f"{'kernel':60} registers on {' '.join(sorted(ARCHITECTURES))}")
    for name in sorted({k.name for k in kernels}):
        used = {k.architecture: k.registers for k in kernels if k.name == name}
        print(f"{name:60} {' '.join(str(used.get(a, '-')) for a in sorted(ARCHITECTURES))}")
    for library in folder.glob("libdqcore_kernels.*"):
        faults += faults_of_code(output("cuobjdump", "-sass", str(library)))
        if "sm_80" not in output("cuobjdump", "-lptx", str(library)):
            faults.append("no intermediate code of the lowest architecture")
    print(*faults, f"{len(kernels)} kernels, {len(faults)} faults", sep="\n")
    return len(faults)


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1])) else 0)
