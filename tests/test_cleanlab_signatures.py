"""The functions of `dqcore.cleanlab` have cleanlab's names, arguments and defaults; what is beyond them has a default."""

import importlib
import inspect

import numpy as np
import pytest

pytest.importorskip("cleanlab")
pytest.importorskip("pandas")

MODULES = (
    "count",
    "filter",
    "rank",
    "dataset",
    "multilabel_classification",
    "multilabel_classification.filter",
    "multilabel_classification.rank",
    "multilabel_classification.dataset",
)


def functions(module):
    return {
        name: f
        for name, f in inspect.getmembers(module, inspect.isfunction)
        if not name.startswith("_") and f.__module__.startswith(module.__name__)
    }


def pairs():
    for name in MODULES:
        theirs = functions(importlib.import_module(f"cleanlab.{name}"))
        ours = importlib.import_module(f"dqcore.cleanlab.{name}")
        assert theirs
        for function in theirs:
            yield pytest.param(
                theirs[function], getattr(ours, function, None), id=f"{name}.{function}"
            )


def equal(a, b):
    if a is inspect.Parameter.empty or a is None or isinstance(a, type):
        return a is b
    if type(a).__module__.startswith("sklearn"):  # stands for it, see dqcore.cleanlab
        return b is None
    return type(a) is type(b) and np.array_equal(a, b)


@pytest.mark.parametrize(("theirs", "ours"), list(pairs()))
def test_arguments_and_defaults_are_the_same(theirs, ours):
    assert ours is not None
    wanted = inspect.signature(theirs).parameters
    found = inspect.signature(ours).parameters
    assert list(found)[: len(wanted)] == list(wanted)
    for name, parameter in wanted.items():
        assert found[name].kind == parameter.kind, name
        assert equal(parameter.default, found[name].default), name
    beyond = list(found)[len(wanted) :]
    assert set(beyond) <= {"corrected"}
    assert all(found[name].kind is inspect.Parameter.KEYWORD_ONLY for name in beyond)
    assert all(found[name].default is False for name in beyond)
    assert inspect.getdoc(ours)
