"""The rules of the house that a machine can check: what each floor may know, and what the outside can rely on."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import dqcore
import numpy as np
import pytest
from dqcore import _cpu, reference

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python" / "dqcore"
API = ROOT / "tests" / "data" / "api.txt"
ROOMS = re.search(r"set\(rooms (.*?)\)", (ROOT / "CMakeLists.txt").read_text())[1].split()

FLOORS = [
    "cpp/{}/{}.h",
    "cpp/bind/{}.cpp",
    "python/dqcore/{}.py",
    "python/dqcore/reference/{}.py",
    "tests/test_{}.py",
    "bench/bench_{}.py",
]


def files(*patterns):
    """Our own files that match, as (path from the root, text)."""
    found = sorted({p for pattern in patterns for p in ROOT.glob(pattern) if p.is_file()})
    assert found, patterns
    return [(p.relative_to(ROOT).as_posix(), p.read_text(encoding="utf-8")) for p in found]


CPP = ["cpp/**/*.h", "cpp/**/*.cpp", "cpp/**/*.inl"]


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


# ---- the floors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_on_every_floor(room):
    missing = [f.format(room, room) for f in FLOORS if not (ROOT / f.format(room, room)).exists()]
    assert not missing


# What may not be said, and the files that may say it all the same.
FORBIDDEN = {
    "Python in C++": (r"pybind11|Python\.h|\bPyObject\b|\bpy::", r"cpp/bind/.*"),
    "intrinsics": (r"immintrin|arm_neon|\b_mm\d*_|__AVX|__ARM_NEON", r"cpp/simd/(?!kernels).*"),
    "threads": (
        r"<thread>|<future>|std::(jthread|async)\b|pthread",
        r"cpp/base/parallel\.cpp",
    ),
    "OpenMP": (r"#\s*pragma\s+omp|omp\.h", r""),
    "a cast of the caller's arrays": (r"forcecast", r""),
    "libm": (
        r"(?<![\w.>])(?:std::)?(?:log(?:2|10|1p)?|exp(?:2|m1)?|pow|sin|cos|tanh?|erfc?|[lt]gamma|cbrt|hypot)[fl]?\s*\(",
        r"cpp/knn/plan\.cpp",  # a plan decides how long it takes, never what comes out
    ),
    "a fused multiply-add": (r"std::fma|\bfmaf?\s*\(|_fn?m(add|sub)_pd", r"cpp/simd/.*\.inl"),
    "a random number of the library's": (r"<random>|\brand\s*\(", r""),
    "a print": (r"std::c(out|err)|\bprintf\s*\(|<iostream>", r""),
    "exceptions or the heap in primitives": (
        r"\bthrow\b|\bnew\b|std::vector|std::string",
        r"(?!cpp/simd/.*\.inl$).*",
    ),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_floor_of_the_core_knows_more_than_it_may(what):
    pattern, allowed = FORBIDDEN[what]
    said = [
        (path, match[0])
        for path, text in files(*CPP)
        if not re.fullmatch(allowed, path)
        for match in re.finditer(pattern, without_comments(text))
    ]
    assert not said


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_includes_only_itself_and_the_floors_below(room):
    for path, text in files(f"cpp/{room}/*"):
        included = re.findall(r'#include "([^"]+)"', text)
        wrong = [i for i in included if not i.startswith((f"{room}/", "base/", "simd/kernels.h"))]
        assert not wrong, path


def imports(text):
    """Yield the modules that a Python file imports, a relative one with its dots."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            if not node.module:
                yield from (base + alias.name for alias in node.names)


def test_the_reference_knows_numpy_and_itself_only():
    for path, text in files("python/dqcore/reference/*.py"):
        for name in imports(text):
            root = name.split(".")[0]
            inside = name.startswith(".") and not name.startswith("..")
            assert inside or root in {"numpy", *sys.stdlib_module_names}, (path, name)


def test_one_place_chooses_the_backend():
    for path, text in files("python/dqcore/**/*.py"):
        if path.endswith("/_backend.py"):
            continue
        named = [n for n in imports(text) if re.search(r"\b_(cpu|cuda)$", n)]
        assert not named, path


def lines_of_code(path, text):
    """Lines that are neither empty nor comment nor docstring."""
    if not path.endswith(".py"):
        return sum(bool(line.strip()) for line in without_comments(text).splitlines())
    said = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            said |= set(range(node.lineno, node.end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(bool(re.sub("#.*", "", line).strip()) and i not in said for i, line in lines)


def test_files_stay_short_enough_to_be_read():
    counted = {path: lines_of_code(path, text) for path, text in files(*CPP, "python/**/*.py")}
    assert not {path: lines for path, lines in counted.items() if lines > 450}


def test_top_level_names_are_the_known_ones():
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("not a checkout")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    known = {
        ".ci",
        ".clang-format",
        ".clang-tidy",
        ".gitignore",
        "CMakeLists.txt",
        "CMakePresets.json",
        "CONTRIBUTING.md",
        "LICENSE",
        "README.md",
        "bench",
        "cpp",
        "cuda",
        "docs",
        "pyproject.toml",
        "python",
        "tests",
    }
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} == known


# ---- the build -----------------------------------------------------------------------------------


def test_no_flag_gives_the_bits_away():
    bad = r"-march=native|-mcpu=native|-ffast-math|-Ofast|-funsafe-math|-fassociative|-ffp-contract=(?!off)"
    for path, text in files("CMakeLists.txt", "CMakePresets.json", "pyproject.toml", *CPP):
        assert not re.search(bad, without_comments(text)), path
    assert "-ffp-contract=off" in (ROOT / "CMakeLists.txt").read_text()


def test_no_two_files_define_one_type():
    """The linker keeps one copy of what both make of it, whatever the sizes: it shows, or not, by the optimisation."""
    places = {}
    for path, text in files("cpp/**/*.h", "cpp/**/*.cpp"):
        open_namespaces = []
        for line in text.splitlines():
            if found := re.match(r"namespace ([\w:]*) ?\{", line):
                open_namespaces.append(found[1] or path)  # a nameless one is the file's own
            elif line.startswith("}  // namespace"):
                open_namespaces.pop()
            elif found := re.match(r"(?:struct|class|union|enum class|enum) (\w+)[^;]*\{", line):
                places.setdefault("::".join([*open_namespaces, found[1]]), set()).add(path)
    assert len(places) > 30
    assert not {name: where for name, where in places.items() if len(where) > 1}


def nm(path, *options):
    if not shutil.which("nm"):
        pytest.skip("nm is not here")
    done = subprocess.run(
        ["nm", *options, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_instruction_sets_leak_no_weak_symbol():
    """One built with AVX-512 could be the copy that the linker keeps for every machine."""
    objects = [
        path
        for pattern in ("avx*.cpp.o", "scalar.cpp.o")
        for path in (ROOT / "build").rglob(pattern)
        if not {"asan", "tsan"} & set(path.parts)  # a sanitizer's own
    ]
    if not objects:
        pytest.skip("no build tree here")
    for path in objects:
        weak = [line for line in nm(path, "-C") if re.search(r"^\S* *[WVu] ", line)]
        assert not weak, path.name


@pytest.mark.skipif(sys.platform != "linux", reason="the names of libm's symbols differ")
def test_the_module_asks_nothing_of_libm_that_rounds():
    """Square roots and whole numbers are exact everywhere; the rest of libm is not.

    `log` and `pow` are there for the planner of the neighbours, whose choice changes no result.
    """
    wanted = {
        line.split()[-1].split("@")[0] for line in nm(_cpu.__file__, "-D", "--undefined-only")
    }
    names = [
        "exp",
        "log2",
        "exp2",
        "log1p",
        "expm1",
        "log10",
        "sin",
        "cos",
        "tanh",
        "erf",
        "lgamma",
        "fma",
    ]
    assert not wanted & {name + suffix for name in names for suffix in ("", "f", "l")}


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF")
def test_the_module_shows_one_symbol():
    shown = [line.split()[-1] for line in nm(_cpu.__file__, "-D", "--defined-only")]
    assert [
        s for s in shown if not s.startswith(("_ZTI", "_ZTS", "_ZTV", "_ZNS", "_ZNK", "_Z"))
    ] == ["PyInit__cpu"]
    assert not [s for s in shown if "dqcore" in s]


# ---- the kernel table ----------------------------------------------------------------------------


def processor_flags():
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        pytest.skip("no /proc/cpuinfo")
    found = re.search(r"^flags\s*:(.*)$", text, flags=re.MULTILINE)
    if not found:
        pytest.skip("not an x86 processor")
    return set(found[1].split())


def test_every_row_that_the_processor_can_run_is_in_the_table():
    flags, rows = processor_flags(), _cpu.isas()
    assert rows[-1] == "scalar"
    assert ("avx2" in rows) == ({"avx2", "fma", "f16c"} <= flags)
    assert ("avxvnni" in rows) == ({"avx2", "fma", "f16c", "avx_vnni"} <= flags)
    wide = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "fma", "f16c"}
    assert ("avx512" in rows) == (wide <= flags)
    assert ("avx512vnni" in rows) == (wide | {"avx512_vnni"} <= flags)


@pytest.mark.parametrize("isa", _cpu.isas())
def test_the_environment_forces_a_row(fresh_python, isa):
    assert fresh_python("from dqcore import _cpu\nprint(_cpu.isa())", DQCORE_ISA=isa).strip() == isa


def test_a_row_that_is_not_there_is_refused_with_the_usable_ones(fresh_python):
    with pytest.raises(ValueError, match=r"'sse9' is not usable on this machine; usable: .*scalar"):
        _cpu.set_isa("sse9")
    said = fresh_python(
        "from dqcore import _cpu\ntry:\n    _cpu.isa()\nexcept ValueError as e:\n    print(e)",
        DQCORE_ISA="sse9",
    )
    assert "sse9" in said
    assert "scalar" in said


# ---- the outside ---------------------------------------------------------------------------------


def test_import_loads_numpy_alone_and_opens_nothing(fresh_python):
    said = fresh_python(
        """
import sys
import numpy
def audit(event, args):
    if event.split(".")[0] in {"socket", "subprocess", "ctypes", "urllib"} or event in {"os.exec", "os.fork"}:
        print("did", event, args)
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        print("wrote", args)
before = set(sys.modules)
sys.addaudithook(audit)
import dqcore
roots = {name.split(".")[0] for name in set(sys.modules) - before}
print("foreign", sorted(roots - set(sys.stdlib_module_names) - {"dqcore", "numpy"}))
print("cuda", any("_cuda" in name for name in sys.modules))
""",
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert said.split("\n")[:-1] == ["foreign []", "cuda False"]


def modules():
    yield dqcore
    for info in pkgutil.walk_packages(dqcore.__path__, "dqcore."):
        if info.name not in {"dqcore._cpu", "dqcore._cuda", "dqcore.__main__"}:
            yield importlib.import_module(info.name)


def public_functions():
    return {n: f for n in dqcore.__all__ if inspect.isfunction(f := getattr(dqcore, n))}


def api():
    """One line for each public name, and for each public method."""
    lines = []
    for name in sorted(dqcore.__all__):
        thing = getattr(dqcore, name)
        if inspect.ismodule(thing):
            lines.append(name)
        elif inspect.isclass(thing):
            lines.append(f"class {name}{'' if issubclass(thing, Exception) else signature(thing)}")
            for member in sorted(m for m in vars(thing) if not m.startswith("_")):
                value = inspect.getattr_static(thing, member)
                call = callable(getattr(thing, member)) and not isinstance(value, property)
                lines.append(f"    {member}{signature(getattr(thing, member)) if call else ''}")
        else:
            lines.append(f"{name}{signature(thing)}")
    return "\n".join(lines) + "\n"


def signature(thing):
    """Names, kinds and defaults; types are mypy's to check."""
    parameters = [
        p.replace(annotation=p.empty) for p in inspect.signature(thing).parameters.values()
    ]
    return str(inspect.Signature(parameters))


def test_the_public_names_and_signatures_are_the_known_ones():
    """An intended change is written down by `python tests/test_house.py`."""
    assert api() == API.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", public_functions())
def test_every_public_function_is_documented(name):
    function = public_functions()[name]
    text = inspect.getdoc(function) or ""
    sections = re.findall(r"^(\w[\w ]*)\n-+$", text, flags=re.MULTILINE)
    parameters = inspect.signature(function).parameters
    if parameters:
        assert {"Parameters", "Raises", "Examples"} <= set(sections), name
        assert "Returns" in sections, name
    assert not [p for p in parameters if not re.search(rf"\b{p}\b", text)], name


def test_every_public_class_and_method_is_documented():
    for name in dqcore.__all__:
        thing = getattr(dqcore, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                    assert inspect.getdoc(value), f"{name}.{member}"


def test_every_compiled_function_has_its_twin_in_the_reference():
    """With the same arguments by name; how to run is one `**run` there."""
    stub = ast.parse((PACKAGE / "_cpu.pyi").read_text(encoding="utf-8"))
    compared = 0
    for node in stub.body:
        if not isinstance(node, ast.FunctionDef) or not hasattr(dqcore, node.name):
            continue
        names = [a.arg for a in node.args.args + node.args.kwonlyargs]
        assert names[-2:] == ["threads", "progress"], node.name
        twin = inspect.signature(getattr(reference, node.name)).parameters
        kinds = {n: p.kind for n, p in twin.items()}
        assert kinds.pop("run") == inspect.Parameter.VAR_KEYWORD, node.name
        assert list(kinds) == names[:-2], node.name
        compared += 1
    assert compared >= 6


def doc_tests():
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [t for m in modules() for t in finder.find(m, m.__name__, module=m) if t.examples]


@pytest.mark.parametrize("example", [pytest.param(t, id=t.name) for t in doc_tests()])
def test_examples_in_docstrings_run(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, verbose=False
    )
    result = runner.run(example, out=sys.stderr.write)
    assert result.attempted
    assert not result.failed


# ---- the README ----------------------------------------------------------------------------------


def blocks(language):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_readme_begins_with_two_commands():
    """The first runs the demo, the second the tests: `.ci/run` runs it as it stands there."""
    lines = blocks("sh")[0].splitlines()
    assert len(lines) == 2
    assert "dqcore demo" in lines[0]
    assert "pytest" in lines[1]


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 60)
    np.savez(  # what the README's own data hold
        "data.npz",
        labels=rng.integers(0, 3, 60),
        pred_probs=probabilities,
        features=rng.normal(size=(60, 5)),
        annotator=rng.integers(0, 4, 60),
    )
    assert blocks("python")
    names = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102


def test_every_file_that_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", text)
    assert not [n for n in named if not (ROOT / n).exists()]


if __name__ == "__main__":
    API.write_text(api(), encoding="utf-8")
