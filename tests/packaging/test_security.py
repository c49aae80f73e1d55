"""What a file or a name of others must not bring about, and what the package never does."""

import ast
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_saliency
from keras_saliency.cli.main import main
from keras_saliency.cli.models import load

PACKAGE = Path(keras_saliency.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
TREES = {path.relative_to(PACKAGE): ast.parse(path.read_text()) for path in SOURCES}


def calls_of(name):
    """The calls of a function or method of that name, each with its file."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = node.func
                found = getattr(called, "attr", None) or getattr(called, "id", None)
                if found == name:
                    yield path, called, {one.arg: ast.unparse(one.value) for one in node.keywords}


def test_no_module_imports_what_unpickles():
    imported = {
        (path, name.split(".")[0])
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        for name in (
            [one.name for one in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert len(imported) > 300
    assert not [found for found in imported if found[1] in UNSAFE]


def test_arrays_are_loaded_without_pickles():
    loads = [options for _, called, options in calls_of("load") if ast.unparse(called) == "np.load"]
    assert loads
    assert {options.get("allow_pickle") for options in loads} == {"False"}


def test_nothing_is_run_that_is_read():
    assert not [
        (path, name) for name in ("eval", "exec", "system", "popen") for path, *_ in calls_of(name)
    ]


def test_models_are_loaded_in_the_safe_mode_of_keras():
    loads = list(calls_of("load_model"))
    assert loads
    assert not [
        path for path, _, options in loads if {"safe_mode", "custom_objects"} & set(options)
    ]
    assert not list(calls_of("enable_unsafe_deserialization"))


def test_the_page_puts_no_text_into_the_document_as_markup():
    scripts = sorted(PACKAGE.rglob("static/*.js"))
    assert {"tensorboard", "report"} == {path.parts[-3] for path in scripts}
    markup = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    )
    assert not [path.name for path in scripts if markup.search(path.read_text())]


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_code_in_a_model_file_is_not_run_and_what_to_do_is_told(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((8, 9, 3))
    leaves_a_trace = layers.Lambda(lambda x: __import__("os").makedirs("trace", exist_ok=True) or x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(leaves_a_trace(inputs)))
    keras.Model(inputs, layers.Dense(2)(x)).save(name)
    keras.utils.save_img("photo.png", np.zeros((8, 9, 3)))
    Path("trace").rmdir()
    assert main(["explain", name, "photo.png"]) == 2
    said = capsys.readouterr().err
    assert "keras.saving.load_model(path, safe_mode=False)" in said
    assert "If you trust it" in said
    assert not Path("trace").exists()


def tree(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_explain_writes_nothing_but_what_it_is_told_to(tmp_path, monkeypatch):
    for name in ("here", "home", "tmp", "out"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    inputs = keras.Input((8, 9, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(inputs))
    keras.Model(inputs, layers.Dense(2)(x)).save("model.keras")
    name = "..&$(touch x) photo"
    keras.utils.save_img(f"{name}.png", np.full((8, 9, 3), 90))
    before = tree(tmp_path)
    assert main(["explain", "model.keras", f"{name}.png", "--out", "../out"]) == 0
    after = tree(tmp_path)
    new = {path for path in after if after[path] != before.get(path)}
    assert new - {Path("out")} == {Path("out", f"{name}.grad_cam.png")}
    assert set(before) <= set(after)


def test_the_name_of_a_picture_leads_out_of_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    keras.utils.save_img("...png", np.full((8, 9, 3), 90))
    assert main(["explain", "VGG16", "...png", "--out", "out/{name}/map.png"]) == 2
    assert "rename it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["...png"]


def test_a_loaded_model_is_sound(tmp_path):
    keras.Sequential([keras.Input((8, 9, 3)), layers.Flatten()]).save(tmp_path / "a.keras")
    assert load(str(tmp_path / "a.keras"), None).model.output_shape == (None, 216)
