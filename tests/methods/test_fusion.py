"""Maps of several layers, fused, against the maps of each layer."""

import functools

import keras
import numpy as np
import pytest

import keras_saliency as ks
from keras_saliency import Probes, Target, explain, methods
from keras_saliency.attribution.explainer import Explainer

LAYERS = ["low", "top"]
SIGNED = functools.partial(methods.get("grad_cam"), relu=False)


def resized(maps, size):
    grown = keras.ops.image.resize(maps[..., None], size, interpolation="bilinear")
    return keras.ops.convert_to_numpy(grown)[..., 0]


def slow_fusion(maps, size):
    """Fuse image by image and place by place."""
    scaled = []
    for one in maps:
        peaks = np.abs(one).max(axis=(1, 2), keepdims=True)
        scaled.append(resized(np.tanh(2 * one / np.where(peaks > 0, peaks, 1)), size))
    fused = np.zeros_like(scaled[0])
    for place in np.ndindex(fused.shape):
        fused[place] = max((one[place] for one in scaled), key=abs)
    return fused


@pytest.mark.parametrize("method", ["layer_cam", "ablation_cam", SIGNED])
def test_the_largest_scaled_place_of_the_layers(classifier, photos, method):
    model, images = classifier(pooled=False), photos(2)
    single = [explain(model, images, method, layer=name, target=1).maps for name in LAYERS]
    wanted = slow_fusion(single, (7, 10))
    for layers in (LAYERS, [model.get_layer("top"), ("low", 0)]):
        found = explain(model, images, method, target=1, layer=layers)
        np.testing.assert_allclose(found.maps, wanted, atol=2e-4)
    assert np.abs(wanted).max() == pytest.approx(np.tanh(2), rel=1e-5)
    assert (wanted < 0).any() == (single[0] < 0).any() | (single[1] < 0).any()
    assert found.layer == "top + low"


def test_a_list_of_one_is_that_layer(classifier, photos):
    model, images, layer = classifier(pooled=False), photos(2), "low"
    found, there = (explain(model, images, "grad_cam", layer=one) for one in ([layer], layer))
    np.testing.assert_array_equal(found.maps, there.maps)
    assert found.layer == layer


def test_none_in_a_list_is_the_last_feature_map(classifier, photos):
    model, images = classifier(pooled=False), photos(2)
    found, wanted = (explain(model, images, layer=["low", top]).maps for top in (None, "top"))
    np.testing.assert_array_equal(found, wanted)


def test_methods_that_read_no_layer_stay_as_they_are(classifier, photos):
    model, images = classifier(pooled=False), photos(3)
    explainer = Explainer(model, Probes(images), ["saliency", "grad_cam"], Target(1), LAYERS, 2)
    found = explainer.evaluate()
    for name, layer in (("saliency", None), ("grad_cam", LAYERS)):
        alone = explain(model, images, name, target=1, layer=layer).maps
        np.testing.assert_allclose(found.maps[name], alone, atol=1e-5 * np.abs(alone).max())
    assert [layer.name for layer in explainer.target_layers] == LAYERS
    only = Explainer(model, Probes(images), ["saliency"], Target(1), LAYERS, 2)
    assert only.target_layers == []


def test_dead_maps_are_fused_to_a_dead_map(classifier, photos):
    model = classifier("linear", pooled=False)
    assert not explain(model, photos(1), layer=LAYERS, target=np.zeros(4)).maps.any()


def test_every_layer_is_answered_by_one_pass(photos):
    traced = []

    class Noting(keras.layers.Layer):
        def call(self, inputs):
            traced.append(inputs.shape[0])
            return 1.0 * inputs

    convolutions = [keras.layers.Conv2D(4, 3, name=name) for name in LAYERS]
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((9, 12, 3)), Noting(), *convolutions, *head])
    explain(model, photos(5), "layer_cam", layer=LAYERS, target=1)
    assert traced.count(5) == 1 + len(LAYERS)


def test_a_map_does_not_depend_on_its_company_or_the_batch_size(classifier, photos):
    model, images = classifier(pooled=False), photos(5)
    together = explain(model, images, layer=LAYERS, batch_size=2, target=1).maps
    whole = explain(model, images, layer=LAYERS, target=1).maps
    alone = explain(model, images[3:4], layer=LAYERS, target=1).maps
    np.testing.assert_allclose(whole, together, atol=1e-5)
    np.testing.assert_allclose(alone[0], together[3], atol=1e-5)


def test_a_method_of_ones_own_is_fused_too(classifier, photos):
    def squared(model, images):
        return keras.ops.sum(model.activations(images) ** 2, axis=-1)

    model, images = classifier(pooled=False), photos(2)
    single = [explain(model, images, squared, layer=name).maps for name in LAYERS]
    found = explain(model, images, squared, layer=LAYERS).maps
    np.testing.assert_allclose(found, slow_fusion(single, (7, 10)), atol=1e-4)


def test_what_is_missed_is_missed_by_all_layers(photos):
    """A way around "low" alone hides nothing, for "top" shows it."""
    inputs = keras.Input((9, 12, 3))
    x = keras.layers.Conv2D(3, 3, padding="same", name="low")(inputs)
    x = keras.layers.Conv2D(4, 3, name="top")(keras.layers.Add()([x, inputs]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))

    def missed(layer):
        return Explainer(model, Probes(photos(2)), ["grad_cam"], Target(1), layer, 8).what_is_missed

    assert "through layer 'low'" in missed("low")
    assert missed("top") is None
    assert missed(LAYERS) is None


@pytest.mark.parametrize(
    ("method", "layers", "kind", "said"),
    [
        ("grad_cam", [], ValueError, r"at least one layer\. Received: layer=\[\]"),
        ("saliency", ["low", "nowhere"], ValueError, "layer='nowhere' is not in the model"),
        ("grad_cam", ["low", ["top"]], TypeError, r"layer must be a name.*layer=\['top'\]"),
        ("cam", LAYERS, ValueError, "'cam' reads the layer that is pooled"),
        (
            functools.partial(methods.get("smooth_grad"), base="grad_cam", samples=2),
            LAYERS,
            ValueError,
            "of perturbed images alone. Name one layer",
        ),
    ],
)
def test_layers_that_cannot_be_fused(classifier, photos, method, layers, kind, said):
    with pytest.raises(kind, match=said):
        explain(classifier(), photos(1), method, layer=layers)


def test_a_training_with_several_layers(classifier, photos, tmp_path, capsys):
    model, images = classifier(pooled=False), photos(6)
    model.compile("sgd", "sparse_categorical_crossentropy")
    labels = np.arange(6) % 4
    watch = ks.SaliencyCallback(
        Probes(images, labels), tmp_path, ["grad_cam", "saliency"], layer=LAYERS, strict=True
    )
    model.fit(images, labels, epochs=1, verbose=2, callbacks=[watch])
    said = capsys.readouterr().out
    assert "layer 'low', a grid of 7 x 10" in said
    assert "layer 'top', a grid of 3 x 4" in said
    wanted = explain(model, images, target=labels, layer=LAYERS).maps
    found = watch.session.newest.maps["grad_cam"]
    np.testing.assert_allclose(found, wanted, atol=1e-3)
