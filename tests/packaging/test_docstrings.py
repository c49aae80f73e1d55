"""Every public name has a docstring whose example runs."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest
from PIL import Image

import keras_saliency as ks
from keras_saliency.attribution import progress

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(ks.__path__, "keras_saliency.")
    if not name.endswith((".cli.main", ".tf_dataset"))  # which needs TensorFlow
    and ".engine.backend." not in name  # which need their backend
]
FINDER = doctest.DocTestFinder(exclude_empty=True)


def examples():
    for name in MODULES:
        module = importlib.import_module(name)
        for test in FINDER.find(module, name, module=module, globs={"np": np, "ks": ks}):
            if test.examples:
                test.globs.update(vars(module))
                yield pytest.param(test, id=test.name, marks=marks_of(test))


def marks_of(test):
    """Say what an example needs besides the backend in use."""
    shown = "".join(one.source for one in test.examples)
    why = "the example shows a tf.data.Dataset"
    return pytest.mark.needs(package="tensorflow", why=why) if "tensorflow" in shown else ()


@pytest.mark.parametrize("example", list(examples()))
def test_the_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind in ("elephant", "penguin"):
        (tmp_path / "animals" / kind).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (24, 18), (60 * i, 90, 30)).save(
                tmp_path / "animals" / kind / f"{i}.png"
            )
    monkeypatch.setattr(progress, "PATIENCE", np.inf)  # A bar would show on a busy machine.
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize(
    "name",
    [*(n for n in ks.__all__ if n != "methods"), *(f"methods.{m}" for m in ks.methods.available())],
)
def test_public_names_have_an_example(name):
    thing = ks
    for part in name.split("."):
        thing = ks.methods.get(part) if thing is ks.methods else getattr(thing, part)
    docs = [inspect.getdoc(thing) or "", inspect.getdoc(getattr(thing, "__init__", None)) or ""]
    assert any(">>>" in text or "    model.fit" in text for text in docs)
