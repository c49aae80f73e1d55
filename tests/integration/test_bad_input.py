"""Wrong uses of the public face, as users make them, and what each message says.

A row holds a wrong use, the class of its error, and parts of the message: what was received, and
how to mend it. What other tests refuse already is not repeated here.
"""

import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_saliency as ks
from keras_saliency.cli.main import main
from keras_saliency.data import masks as made_masks

RNG = np.random.default_rng(0)
X, Y = RNG.random((6, 12, 15, 3), "float32"), np.array([0, 1, 2, 0, 1, 2])
MANY = (RNG.integers(0, 256, (200, 12, 15, 3), np.uint8), np.arange(200) % 2)
ABSENT = "no/such/folder"
PAIR = (X, Y)


def named(name):
    def method(model, images):
        raise AssertionError("it is not called")

    method.__name__ = name
    return method


def partial(name, **options):
    return functools.partial(ks.methods.get(name), **options)


def network(*head, shape=(12, 15, 3), loss="sparse_categorical_crossentropy"):
    conv = layers.Conv2D(4, 3, activation="relu", padding="same", name="conv")
    model = keras.Sequential([keras.Input(shape), conv, *head], name="network")
    model.compile("sgd", loss)
    return model


@functools.cache
def classifier():
    return network(layers.GlobalAveragePooling2D(), layers.Dense(3, "softmax", name="head"))


@functools.cache
def regression():
    return network(layers.GlobalAveragePooling2D(), layers.Dense(1), loss="mse")


@functools.cache
def segmenter():
    return network(layers.Conv2D(3, 3, padding="same", activation="softmax"))


@functools.cache
def explanation():
    return ks.explain(classifier(), X[:2], "grad_cam", target=0)


def watch(*given, **options):
    return lambda: ks.SaliencyCallback(*(given or (PAIR,)), **options)


def probes(*given, **options):
    return lambda: ks.Probes(*(given or (X,)), **options)


def shortcuts(*given, **options):
    return lambda: ks.Shortcuts(*(given or (MANY,)), **options)


def explain(*given, model=classifier, **options):
    return lambda: ks.explain(model(), *(given or (X,)), **options)


def swap(*given):
    return lambda: ks.BackgroundSwap()(*given)


ANYTHING = "an array of images, `(images, labels)`, a dataset, a folder or `Probes`"

WRONG = {
    # --- SaliencyCallback, whose arguments are checked where it is made
    "no probes": (watch(None), TypeError, [ANYTHING, "Received: NoneType"]),
    "a number for probes": (watch(3), TypeError, [ANYTHING, "Received: int"]),
    "a model for probes": (lambda: watch(classifier())(), TypeError, [ANYTHING, "Sequential"]),
    "a missing folder": (watch(ABSENT), ValueError, [repr(ABSENT), "not there", "a folder"]),
    "a file for a folder": (watch(__file__), ValueError, [repr(__file__), "a file", "Image.open"]),
    "labels first": (watch((Y, X)), ValueError, ["(batch, height", "images.shape=(6,)"]),
    "a list of both": (watch([X, Y]), ValueError, ["`(images, labels)`", "and (6,)"]),
    "images in a tuple": (watch((X,)), TypeError, ["`(images, labels)`", "1 entries"]),
    "files": (watch(["a.png"]), TypeError, ["PIL.Image.open", "Received: 'a.png'"]),
    "no log_dir": (watch(PAIR, None), TypeError, ["must be a folder", "NoneType"]),
    "an empty log_dir": (watch(PAIR, ""), ValueError, ["such as 'logs'", "log_dir=''"]),
    "a list of no places": (watch(PAIR, []), ValueError, ["must hold a place", "log_dir=[]"]),
    "a place that is none": (watch(PAIR, ["a", 5]), TypeError, ["must be a folder", "type int"]),
    "an unknown storage": (watch(PAIR, "s4://b/x"), ValueError, ["fsspec", "log_dir='s4://b/x'"]),
    "a bucket as a path": (watch(PAIR, Path("gs://b")), ValueError, ["as text", "'gs:/b'"]),
    "a zero byte": (watch(PAIR, "a\0b"), ValueError, ["must be a folder", r"'a\x00b'"]),
    "no methods": (watch(methods=None), TypeError, ["in a list", "methods=None"]),
    "methods as a dict": (
        watch(methods={"rise": {"samples": 9}}),
        TypeError,
        ["functools.partial", "{'rise': {'samples': 9}}"],
    ),
    "methods in one text": (watch(methods="cam,rise"), ValueError, ["Unknown method 'cam,rise'"]),
    "methods in lists": (watch(methods=[["cam"]]), TypeError, ["a name or", "Received: ['cam']"]),
    "two lambdas": (
        watch(methods=[lambda m, x: x, lambda m, x: x]),
        ValueError,
        ["names of their own", "lambda more than once"],
    ),
    "methods that differ by a sign": (
        watch(methods=[named("my_map"), named("my-map")]),
        ValueError,
        ["the method 'my-map' and the method 'my_map'", "under 'my-map'"],
    ),
    "a method named like numbers": (
        watch(methods=[named("probes")]),
        ValueError,
        ["the method 'probes' and the probes' numbers", "another name"],
    ),
    "a method named like the focus of another": (
        watch(methods=["grad_cam", named("focus")]),
        ValueError,
        ["the method 'focus' and the probes' numbers", "another name"],
    ),
    "a writer's class": (
        watch(PAIR, ks.PictureFolder),
        TypeError,
        ["a writer with the methods", "the class PictureFolder"],
    ),
    "a method of one argument": (
        watch(methods=[lambda model: model]),
        TypeError,
        ["'lambda' is called as function(model, images)", "(model), too many"],
    ),
    "an unknown option of a method": (
        watch(methods=[partial("rise", sampels=3)]),
        TypeError,
        ["function(model, images)", "sampels=3"],
    ),
    "every as a share": (watch(every=1.5), ValueError, ["'200 batches'", "every=1.5"]),
    "every of epochs in words": (watch(every="2 epochs"), ValueError, ["'2 epochs'"]),
    "every as a switch": (watch(every=True), ValueError, ["from 1", "every=True"]),
    "no batches": (watch(every="0 batches"), ValueError, ["from 1", "every='0 batches'"]),
    "no batch_size": (watch(batch_size=None), ValueError, ["from 1", "batch_size=None"]),
    "batch_size as text": (watch(batch_size="32"), ValueError, ["from 1", "batch_size='32'"]),
    "half a batch": (watch(batch_size=0.5), ValueError, ["an integer", "batch_size=0.5"]),
    "overhead in percent": (watch(max_overhead=5), ValueError, ["0.05 for", "max_overhead=5"]),
    "no overhead at all": (watch(max_overhead=0.0), ValueError, ["above 0", "max_overhead=0.0"]),
    "all of the time": (watch(max_overhead=1.0), ValueError, ["below 1", "max_overhead=1.0"]),
    "overhead as text": (watch(max_overhead="5%"), ValueError, ["share", "max_overhead='5%'"]),
    "strict as text": (watch(strict="no"), TypeError, ["True or False", "strict='no'"]),
    "a layer's place": (watch(layer=0), TypeError, ["a name, a path", "layer=0"]),
    "layers in a list of lists": (watch(layer=[["conv"]]), TypeError, ["a name", "['conv']"]),
    "a list of no layers": (watch(layer=[]), ValueError, ["at least one", "layer=[]", "None is"]),
    "a layer without a name": (watch(layer=""), TypeError, ["a name, a path", "layer=''"]),
    "tokens of no layer": (watch(layer=ks.Tokens(3, (2, 2))), TypeError, ["layer=3"]),
    "a target for of": (watch(target="probability"), ValueError, ["predicted", "'probability'"]),
    "targets by name": (watch(target=["a", "b"]), TypeError, ["class index", "['a', 'b']"]),
    "a target of nothing": (
        watch(target=np.array([np.nan, 1.0, 0.0])),
        ValueError,
        ["finite numbers", "NaN or infinity in target of shape (3,)"],
    ),
    "a target of one argument": (
        watch(target=lambda outputs: outputs[:, 0]),
        TypeError,
        ["A target function is called as function(outputs, labels)", "(outputs), too many"],
    ),
    "shortcuts switched on": (watch(shortcuts=True), TypeError, ["`(images, labels)`", "bool"]),
    "shortcuts unlabelled": (watch(shortcuts=X), TypeError, ["need labels", "ndarray"]),
    "the class itself": (watch(shortcuts=ks.Shortcuts), TypeError, ["need labels", "type"]),
    "a loop without a model": (
        lambda: watch()().on_train_begin(),
        ValueError,
        ["CallbackList(callbacks, model=model)", "set_model has not"],
    ),
    "a loop without a beginning": (
        lambda: watch()().on_epoch_begin(0),
        ValueError,
        ["CallbackList(callbacks, model=model)", "without on_train_begin"],
    ),
    "a loop of ends": (
        lambda: watch()().on_epoch_end(0, {}),
        ValueError,
        ["CallbackList(callbacks, model=model)", "without on_epoch_begin"],
    ),
    # --- Probes
    "images of nothing": (probes({}), ValueError, ["at least the images", "an empty dict"]),
    "no inputs": (probes(()), ValueError, ["at least the images", "an empty tuple"]),
    "an empty list": (probes([]), ValueError, ["(batch, height", "images.shape=(0,)"]),
    "dates": (probes(np.zeros((2, 5, 7), "M8[s]")), TypeError, ["numbers", "datetime64"]),
    "complex images": (probes(X + 1j), TypeError, ["numbers", "images.dtype=complex64"]),
    "one label for all": (probes(X, "cat"), TypeError, ["one label per image", "labels='cat'"]),
    "labels by name": (probes(X, {"a": 1}), TypeError, ["one label per image", "{'a': 1}"]),
    "a label missing": (probes(X, [0, 1, 2, 0, 1, np.nan]), ValueError, ["probe 5", "1 of 6"]),
    "no classes": (probes(X, Y, class_names=[]), ValueError, ["for each class", "class_names=()"]),
    "their number": (probes(X, Y, class_names=3), TypeError, ["must be a list", "class_names=3"]),
    "classes in one text": (probes(X, Y, class_names="ab"), TypeError, ["class_names='ab'"]),
    "names as a number": (probes(names=6), ValueError, ["a list of 6 names", "names=6"]),
    "names of a generator": (probes(names=map(str, Y)), ValueError, ["a list of 6 names", "<map"]),
    "masks to be made": (probes(masks="auto"), ValueError, ["make_masks", "masks='auto'"]),
    "masks in colour": (probes(masks=X), ValueError, ["(6, 12, 15)", "shape=(6, 12, 15, 3)"]),
    "masks of nothing": (
        probes(masks=np.full((6, 12, 15), np.nan)),
        ValueError,
        ["probe 0, 1, 2, 3, 4, 5 ", "6 of 6", "repair"],
    ),
    "a preprocess of no argument": (
        probes(preprocess=lambda: 1),
        TypeError,
        ["`preprocess` is called as function(images)", "lambda>(), too many"],
    ),
    "a preprocess that gives nothing": (
        probes(preprocess=lambda images: None),
        ValueError,
        ["keep the number and the size", "preprocess(images).shape=()"],
    ),
    "an input in a list": (
        probes({"a": X}, image=["a"]),
        ValueError,
        ["one of the inputs, 'a'", "image=['a']"],
    ),
    "an input of texts": (
        probes({"a": X, "b": ["x"] * 6}),
        TypeError,
        ["`images['b']` must hold numbers", "dtype=<U1"],
    ),
    "an unknown kind": (probes(kind="photo"), ValueError, ["'signal'", "kind='photo'"]),
    "the folder None": (
        lambda: ks.Probes.from_directory(None),
        TypeError,
        ["path of a folder", "NoneType"],
    ),
    "a size in words": (
        lambda: ks.Probes.from_directory(".", image_size="9x9"),
        ValueError,
        ["(height, width)", "image_size='9x9'"],
    ),
    "half a pixel": (
        lambda: ks.Probes.from_directory(".", image_size=(2.5, 3)),
        ValueError,
        ["(height, width)", "image_size=(2.5, 3)"],
    ),
    "a size switched on": (
        lambda: ks.Probes.from_directory(".", image_size=True),
        ValueError,
        ["(height, width)", "image_size=True"],
    ),
    "a seed in words": (
        lambda: ks.Probes.from_dataset([PAIR], seed="a"),
        ValueError,
        ["an integer from 0", "seed='a'"],
    ),
    "a seed below zero": (
        lambda: ks.Probes.from_dataset([PAIR], seed=-1),
        ValueError,
        ["an integer from 0", "seed=-1"],
    ),
    "empty elements": (
        lambda: ks.Probes.from_dataset([()]),
        TypeError,
        ["must yield `(images, labels)`", "an empty tuple"],
    ),
    "elements of texts": (
        lambda: ks.Probes.from_dataset(["a", "b"]),
        TypeError,
        ["must hold numbers", "images.dtype=<U1"],
    ),
    "batches of two sizes": (
        lambda: ks.Probes.from_dataset([PAIR, (X[:, :5], Y)]),
        ValueError,
        ["Resize", "(12, 15, 3) and (5, 15, 3)"],
    ),
    # --- Shortcuts
    "no donors": (shortcuts(None), TypeError, ["`(images, labels)`, a dataset", "NoneType"]),
    "donors in a folder": (shortcuts(Path(".")), TypeError, ["a dataset, or `Probes`", "Path"]),
    "an input of other length": (
        shortcuts(({"photo": MANY[0], "age": np.zeros(6)}, MANY[1])),
        ValueError,
        ["a row for each image", "'age': (6,)"],
    ),
    "text beside images": (
        shortcuts(({"photo": MANY[0], "note": ["old"] * 200}, MANY[1])),
        TypeError,
        ["images['note']", "numbers"],
    ),
    "four arrays": (shortcuts((X, Y, Y, Y)), TypeError, ["(images, labels, masks)", "4 entries"]),
    "donors that are none": (shortcuts((3, 4)), ValueError, ["must be images", "int"]),
    "no receivers": (
        shortcuts(receivers=(X[:0], Y[:0])),
        ValueError,
        ["must be images", "images.shape=(0, 12, 15, 3)"],
    ),
    "masks beside them": (
        shortcuts(masks=np.zeros((200, 12, 15))),
        ValueError,
        ["`(images, labels, masks)`", "masks=ndarray"],
    ),
    "masks for none": (
        shortcuts(masks="none"),
        ValueError,
        ["'auto', 'motion' (of videos), 'rembg'", "masks='none'"],
    ),
    "boxes of five edges": (
        shortcuts((*MANY, np.zeros((200, 5)))),
        ValueError,
        ["left, top, right and bottom", "5)"],
    ),
    "masks of another size": (
        shortcuts((*MANY, np.zeros((200, 3, 3)))),
        ValueError,
        ["(200, 12, 15)", "masks.shape=(200, 3, 3)"],
    ),
    "fewer masks than images": (
        shortcuts((*MANY, np.zeros((5, 12, 15)))),
        ValueError,
        ["as many masks or boxes as images", "masks.shape=(5, 12, 15)"],
    ),
    "a number of nuisances": (shortcuts(nuisances=3), ValueError, ["'mark'", "nuisances=3"]),
    "evaluated by batches": (shortcuts(every="9 batches"), ValueError, ["epochs", "'9 batches'"]),
    "labels in maps": (
        shortcuts((MANY[0], np.zeros((200, 12, 15), int))),
        ValueError,
        ["no class has both", "labels.shape=(200, 12, 15)"],
    ),
    "label maps of another size": (
        shortcuts((MANY[0], np.zeros((200, 6, 8), int))),
        ValueError,
        ["(batch, height, width) of the images' size", "labels.shape=(200, 6, 8)"],
    ),
    "one-hot label maps": (
        shortcuts((MANY[0], np.zeros((200, 12, 15, 3), int))),
        ValueError,
        ["labels.argmax(-1)", "labels.shape=(200, 12, 15, 3)"],
    ),
    "several numbers a picture": (
        shortcuts((MANY[0], np.random.default_rng(0).normal(size=(200, 2)))),
        ValueError,
        ["of several numbers pass one", "labels.shape=(200, 2)"],
    ),
    "a task that is none": (
        shortcuts(task="ranking"),
        ValueError,
        ["'classification', 'multi-label', 'regression'", "task='ranking'"],
    ),
    "a preprocess by name": (
        shortcuts(preprocess="vgg16"),
        TypeError,
        ["keras.applications.vgg16.preprocess_input", "preprocess='vgg16'"],
    ),
    # --- explain
    "a file for a model": (
        lambda: ks.explain("model.keras", X),
        TypeError,
        ["keras.models.load_model", "model of type str"],
    ),
    "both the other way round": (
        lambda: ks.explain(X, classifier()),
        TypeError,
        ["model must be a keras.Model", "model of type ndarray"],
    ),
    "no images": (explain(None), TypeError, [ANYTHING, "NoneType"]),
    "a picture's file": (explain(__file__), ValueError, ["PIL.Image.open", repr(__file__)]),
    "several methods": (explain(X, ["cam", "rise"]), TypeError, ["must be a name", "'rise'"]),
    "a module of methods": (
        explain(X, ks.methods),
        TypeError,
        ["the module keras_saliency.methods"],
    ),
    "classes as numbers": (
        explain(target=np.arange(6.0)),
        ValueError,
        ["the shape of the output, (3,)", "target.shape=(6,)"],
    ),
    "a class below zero": (explain(target=-1), ValueError, ["indices from 0 to 2", "-1"]),
    "of something else": (explain(of="odds"), ValueError, ["log_probability", "of='odds'"]),
    "of two things": (
        explain(target=ks.Target(0, of="probability"), of="logits"),
        ValueError,
        ["Target(..., of='logits') alone", "of='probability'"],
    ),
    "a batch without end": (explain(batch_size=np.inf), ValueError, ["from 1", "batch_size=inf"]),
    "a layer of scores": (
        explain(layer="head"),
        ValueError,
        ["'head' gives no map", "shape (1, 3)", "last ones: 'conv'"],
    ),
    "a grid where there is one": (
        explain(layer=ks.Tokens("conv", (3, 4))),
        ValueError,
        ["layer='conv' gives no map", "last ones: 'conv'"],
    ),
    "a target that gives nothing": (
        explain(target=lambda outputs, labels: None),
        ValueError,
        ["one score per image, shape (6,)", "Received: NoneType"],
    ),
    "a method that gives nothing": (
        explain(X, lambda model, images: None),
        ValueError,
        ["one map per image, (6, h, w)", "from 'lambda'"],
    ),
    "a method that gives words": (
        explain(X, lambda model, images: "a map"),
        ValueError,
        ["maps of numbers", "Received: str from 'lambda'"],
    ),
    "a region of classes": (
        explain(target=ks.Target(0, region="predicted")),
        ValueError,
        ["segmentation", "an output of shape (3,)", "Leave `region` out"],
    ),
    "a region of one number": (
        explain(model=segmenter, target=ks.Target(0, region=3)),
        ValueError,
        ["(12, 15)", "region of shape ()"],
    ),
    "a region of another size": (
        explain(model=segmenter, target=ks.Target(0, region=np.ones((3, 3)))),
        ValueError,
        ["(12, 15)", "region of shape (3, 3)"],
    ),
    "a region of nothing": (
        explain(model=segmenter, target=ks.Target(0, region=np.zeros((12, 15)))),
        ValueError,
        ["some above it", "from 0.0 to 0.0"],
    ),
    "an output that is not there": (
        explain(target=ks.Target(0, output=3)),
        ValueError,
        ["one of the outputs of the model 'network'", "output=3"],
    ),
    "attention where there is none": (
        explain(X, "attention_rollout"),
        ValueError,
        ["need self-attention", "Use 'grad_cam'", "model='network'"],
    ),
    "classes alike in a contrast": (
        explain(X, "finer_cam", target="contrast"),
        ValueError,
        ["class indices", "Received: another target", "Use 'grad_cam'"],
    ),
    "a probability of a value": (
        explain(model=regression, of="log_probability"),
        ValueError,
        ["of='log_probability'", "regression", "Leave `of` out"],
    ),
    "samples in words": (
        explain(X, partial("rise", samples="many")),
        ValueError,
        ["an integer from 1", "samples='many'"],
    ),
    "more cells than pixels": (
        explain(X, partial("rise", samples=2, cells=99)),
        ValueError,
        ["image's size (12, 15)", "cells=99"],
    ),
    "an unknown baseline": (
        explain(X, partial("rise", samples=2, baseline="black")),
        ValueError,
        ["'zeros', 'mean', 'blur'", "baseline='black'"],
    ),
    # --- Explanation
    "a colour map by number": (
        lambda: explanation().overlay(cmap=3),
        TypeError,
        ["such as 'viridis'", "cmap=3"],
    ),
    "an unknown colour map in a plot": (
        lambda: explanation().plot(cmap="jett"),
        ValueError,
        ["Did you mean 'jet'", "cmap='jett'"],
    ),
    "opacity in words": (
        lambda: explanation().overlay(opacity="half"),
        ValueError,
        ["from 0 to 1, or None", "opacity='half'"],
    ),
    "opacity that is no number": (
        lambda: explanation().overlay(opacity=np.nan),
        ValueError,
        ["from 0 to 1", "opacity=nan"],
    ),
    "one title for all": (
        lambda: explanation().plot("grad-cam"),
        TypeError,
        ["a list, one per image", "titles='grad-cam'"],
    ),
    "too few titles": (
        lambda: explanation().plot(["one"]),
        ValueError,
        ["equally many", "2 displays, 2 maps, 1 titles"],
    ),
    # --- Target, Tokens, BackgroundSwap, masks
    "a region by name": (
        lambda: ks.Target(0, region="object"),
        ValueError,
        ["'predicted', an array", "region='object'"],
    ),
    "a grid of one number": (lambda: ks.Tokens("a", 3), ValueError, ["(14, 14)", "grid=3"]),
    "fewer masks than pictures": (
        swap((X, np.ones((5, 12, 15)))),
        ValueError,
        ["one for each of them", "masks.shape=(5, 12, 15)", "images.shape=(6, 12, 15, 3)"],
    ),
    "no masks": (swap((X, None)), ValueError, ["the size of the images", "masks.shape=()"]),
    "a single picture": (
        swap((X[0], np.ones((12, 15)))),
        ValueError,
        ["resize, then batch, then swap", "images.shape=(12, 15, 3)"],
    ),
    "masks of a list": (
        lambda: made_masks.make_masks([np.zeros((5, 7, 3), np.uint8)]),
        TypeError,
        ["an array of uint8", "Received: list"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_its_mend(case):
    use, error, parts = WRONG[case]
    with pytest.raises(error) as caught:
        use()
    assert caught.type is error
    missing = [part for part in parts if part not in str(caught.value)]
    assert not missing, str(caught.value)


FIRST_USE = {
    "images of another size": (
        watch(X[:, :5]),
        ["input shape (None, 12, 15, 3)", "images.shape=(6, 5, 15, 3)", "image_size=model"],
    ),
    "labels among the images": (
        watch({"image": X, "label": Y}),
        ["'network' has the inputs", "Received: inputs 'image', 'label'"],
    ),
    "a region of whole pictures": (
        watch(target=ks.Target("label", region="predicted")),
        ["segmentation", "Leave `region` out"],
    ),
    "no samples": (
        watch(methods=[partial("smooth_grad", samples=0)]),
        ["an integer from 1", "samples=0"],
    ),
    "numbers for a classifier": (
        watch(shortcuts=ks.Shortcuts((MANY[0], MANY[1] + 0.5))),
        ["needs a model of one value", "a softmax of shape (3,)", "head='values'"],
    ),
    "label maps for a classifier": (
        watch(shortcuts=(MANY[0], np.arange(200)[:, None, None] % 2 * np.eye(12, 15, dtype=int))),
        ["at every place", "an output of shape (3,)"],
    ),
    "an input that no probe has": (
        watch(shortcuts=({"photo": MANY[0], "age": np.zeros(200)}, MANY[1])),
        ["'age' () beside the images of shortcuts=", "nothing beside those of the probes"],
    ),
    "donors of another size": (
        watch(shortcuts=ks.Shortcuts((RNG.integers(0, 256, (200, 9, 9, 3), np.uint8), MANY[1]))),
        ["(12, 15, 3)", "(9, 9, 3)"],
    ),
}


@pytest.mark.parametrize("case", FIRST_USE)
def test_what_only_the_model_tells_is_said_before_anything_is_trained(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    use, parts = FIRST_USE[case]
    model = classifier()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r".") as caught:
        model.fit(X, Y, verbose=0, callbacks=[use()])
    assert not [part for part in parts if part not in str(caught.value)], str(caught.value)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not list(tmp_path.rglob("*tfevents*"))


COMMANDS = {
    "a mistyped command": (
        ["explane"],
        ["'explane'", "'demo', 'explain', 'motion', 'report'"],
    ),
    "a folder for a picture": (["explain", "{model}", "."], ["no picture .", "path of a picture"]),
    "a model in small letters": (["explain", "vgg16", "{picture}"], ["Did you mean 'VGG16'"]),
    "two methods": (["explain", "{model}", "{picture}", "--method", "cam,rise"], ["'cam,rise'"]),
    "a layer without a name": (
        ["explain", "{model}", "{picture}", "--layer", ""],
        ["a name, a path", "layer=''"],
    ),
    "a broken class": (
        ["explain", "{model}", "{picture}", "--target", "1.5"],
        ["a class index", "Received: 1.5"],
    ),
    "no opacity": (
        ["explain", "{model}", "{picture}", "--opacity", "nan"],
        ["from 0 to 1", "Received: nan"],
    ),
    "the model for an out": (
        ["explain", "{model}", "{picture}", "--out", "{model}"],
        ["--out must end in .png", "Received: {model}"],
    ),
    "a preprocess in capitals": (
        ["explain", "{model}", "{picture}", "--preprocess", "VGG16"],
        ["unit, signed", "vgg16", "Received: VGG16"],
    ),
    "unknown weights": (
        ["explain", "VGG16", "{picture}", "--weights", "random"],
        ["'imagenet', 'none'", "'random'"],
    ),
    "thousands in another way": (["demo", "--images", "1e3"], ["from 1", "Received: 1e3"]),
    "a squared sign": (["demo", "--images", "²"], ["whole number from 1", "Received: ²"]),
    "per cent": (["demo", "--correlation", "95"], ["from 0 to 1", "Received: 95"]),
    "a seed by name": (["demo", "--seed", "x"], ["whole number from 0", "Received: x"]),
    "a bucket": (["demo", "--images", "8", "--log-dir", "s3://b"], ["of this machine", "s3:/b"]),
    "a file for the logs": (
        ["demo", "--images", "8", "--log-dir", "{picture}"],
        ["a folder that can be written", "{picture}"],
    ),
}


@pytest.mark.filterwarnings("ignore:There will be no verdict")  # of so few images
@pytest.mark.parametrize("case", COMMANDS)
def test_the_command_line_says_it_in_one_line(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    places = {"model": "network.keras", "picture": "photo.png"}
    keras.utils.save_img("photo.png", X[0])
    command, parts = COMMANDS[case]
    if command[1:2] == ["{model}"]:
        classifier().save("network.keras")
    there = {path.name for path in tmp_path.iterdir()}
    try:
        status = main([word.format(**places) for word in command])
    except SystemExit as stop:
        status = stop.code
    said = capsys.readouterr().err
    assert status == 2
    assert said.startswith("keras-saliency")
    assert said.count("\n") == 1
    assert not [part for part in parts if part.format(**places) not in said], said
    assert {path.name for path in tmp_path.iterdir()} == there


ENVIRONMENT = {
    "a backend without gradients": (
        {"KERAS_BACKEND": "numpy"},
        "import keras, numpy as np, keras_saliency as ks\n"
        "from keras import layers\n"
        "net = keras.Sequential([keras.Input((4, 5, 3)), layers.Flatten(), layers.Dense(2)])\n"
        "ks.explain(net, np.ones((1, 4, 5, 3)), 'saliency')",
        ["ValueError: Maps need gradients", "tensorflow, jax or torch", "KERAS_BACKEND=numpy"],
    ),
    "a name that is not there": (
        {},
        "from keras_saliency import SaliencyCallbak",
        ["ImportError", "'SaliencyCallbak'"],
    ),
}


@pytest.mark.parametrize("case", ENVIRONMENT)
@pytest.mark.needs(why="Keras's backend of NumPy imports it", package="jax")
def test_what_is_wrong_around_the_program_is_said(case):
    variables, code, parts = ENVIRONMENT[case]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | variables
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert found.returncode == 1
    last = found.stderr.strip().splitlines()[-1]
    assert not [part for part in parts if part not in last], last


@pytest.mark.skipif(importlib.util.find_spec("openvino") is not None, reason="it is installed")
def test_a_command_says_in_one_line_that_a_backend_is_not_installed():
    code = "import sys; from keras_saliency.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "explain", "VGG16", __file__]
    environment = os.environ | {"KERAS_BACKEND": "openvino"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert "No module named 'openvino'. Install it, or set KERAS_BACKEND" in found.stderr
