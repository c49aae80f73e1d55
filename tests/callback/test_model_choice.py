"""Models that train without a `call` of their own: GAN, SimCLR, VAE, and models of Keras 2."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_saliency as ks

BACKEND = keras.backend.backend()
SIZE = (8, 10, 3)
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.random((8, *SIZE), "float32"), np.arange(8) % 2


def network(outputs, name, activation=None):
    return keras.Sequential(
        [
            keras.Input(SIZE),
            layers.Conv2D(4, 3, activation="softplus", name="top"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(outputs, activation),
        ],
        name=name,
    )


class Gan(keras.Model):
    """Trains a discriminator against a generator that never learns, and has no `call`."""

    def __init__(self):
        super().__init__(name="gan")
        self.generator = keras.Sequential([keras.Input((5,)), layers.Dense(240)], name="generator")
        self.discriminator = network(1, "discriminator", "sigmoid")
        self.built = True  # without a `call` Keras can't build it by itself

    def loss_of(self, real):
        noise = ops.reshape(self.generator(ops.ones((real.shape[0], 5))), (-1, *SIZE))
        right, wrong = (self.discriminator(images)[:, 0] for images in (real, noise))
        return -ops.mean(ops.log(right + 1e-6) + ops.log(1 + 1e-6 - wrong))

    if BACKEND == "jax":

        def train_step(self, state, data):
            import jax

            trained, fixed, optimizer, metrics = state
            images = keras.utils.unpack_x_y_sample_weight(data)[0]

            def loss(values):
                pairs = zip(self.trainable_variables, values, strict=True)
                with keras.StatelessScope(list(pairs)):
                    return self.loss_of(images)

            value, grads = jax.value_and_grad(loss)(trained)
            trained, optimizer = self.optimizer.stateless_apply(optimizer, grads, trained)
            return {"loss": value}, (trained, fixed, optimizer, metrics)

    elif BACKEND == "torch":

        def train_step(self, data):
            images = keras.utils.unpack_x_y_sample_weight(data)[0]
            self.zero_grad()
            loss = self.loss_of(images)
            loss.backward()
            weights = self.trainable_weights
            grads = [
                w.value.grad if w.value.grad is not None else ops.zeros_like(w) for w in weights
            ]
            self.optimizer.apply(grads, weights)
            return {"loss": loss.detach()}

    else:

        def train_step(self, data):
            import tensorflow as tf

            images = keras.utils.unpack_x_y_sample_weight(data)[0]
            with tf.GradientTape() as tape:
                loss = self.loss_of(images)
            weights = self.discriminator.trainable_weights
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}


def trained(gan, **options):
    gan.compile(keras.optimizers.SGD(0.5))
    callback = ks.SaliencyCallback(strict=True, **options)
    gan.fit(X, batch_size=8, epochs=2, verbose=0, callbacks=[callback])
    return callback


def test_the_discriminator_of_a_gan_is_explained_as_it_trains(tmp_path):
    gan, probes = Gan(), ks.Probes(X[:3], Y[:3])
    before = ks.explain(gan.discriminator, probes, "grad_cam", target="label").maps
    callback = trained(gan, probes=probes, log_dir=tmp_path, model="discriminator")
    after = ks.explain(gan.discriminator, probes, "grad_cam", target="label").maps
    drawn = callback.session.newest
    assert drawn.note == ""
    np.testing.assert_allclose(drawn.maps["grad_cam"], after, rtol=1e-4, atol=1e-7)
    assert np.abs(after - before).max() > 1e-4
    assert list(tmp_path.glob("saliency/*tfevents*"))


class SimClr(keras.Model):
    def __init__(self):
        super().__init__(name="simclr")
        self.encoder = network(6, "encoder")
        self.parts = {"probe": keras.Sequential([keras.Input((6,)), layers.Dense(3, "softmax")])}


def by_hand(model, callback):
    """Run one epoch that trains nothing, as a loop of one's own does."""
    callbacks = keras.callbacks.CallbackList([callback], model=model)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_epoch_end(0, {})
    callbacks.on_train_end()


def test_a_function_puts_together_what_is_explained(tmp_path):
    simclr = SimClr()

    def whole(model):
        return keras.Sequential([model.encoder, model.parts["probe"]])

    probes = ks.Probes(X[:3], Y[:3])
    callback = ks.SaliencyCallback(probes, tmp_path, ["saliency"], model=whole, strict=True)
    by_hand(simclr, callback)
    chances = ops.convert_to_numpy(simclr.parts["probe"](simclr.encoder(X[:3])))
    wanted = chances[np.arange(3), Y[:3]]
    np.testing.assert_allclose(callback.session.newest.probability, wanted, rtol=1e-4)


def test_one_output_of_an_encoder_is_explained(tmp_path):
    class Vae(keras.Model):
        def __init__(self):
            super().__init__(name="vae")
            images = keras.Input(SIZE)
            hidden = layers.Flatten()(images)
            mean, spread = (
                layers.Dense(2, name="mean")(hidden),
                layers.Dense(2, name="spread")(hidden),
            )
            self.encoder = keras.Model(images, [mean, spread], name="encoder")

    vae, target = Vae(), ks.Target(1, output="mean")
    found = ks.explain(vae.encoder, X[:2], "saliency", target=target)
    callback = ks.SaliencyCallback(
        ks.Probes(X[:2]), tmp_path, ["saliency"], target=target, model="encoder", strict=True
    )
    by_hand(vae, callback)
    np.testing.assert_allclose(callback.session.newest.maps["saliency"], found.maps, rtol=1e-5)


CHOICES = {
    "none": ({}, ValueError, ["no call(images)", "'discriminator', 'generator'", "model='NAME'"]),
    "a mistyped name": (
        {"model": "discriminater"},
        ValueError,
        ["'discriminator', 'generator'", "model='discriminater'"],
    ),
    "no model": ({"model": "name"}, TypeError, ["must name a keras.Model", "of type str"]),
    "what has no call itself": (
        {"model": lambda model: Gan()},
        ValueError,
        ["no call(images)", "'gan' holds 'discriminator', 'generator'"],
    ),
}


@pytest.mark.parametrize("case", CHOICES)
def test_what_can_be_chosen_is_named_before_training(case, tmp_path):
    options, error, parts = CHOICES[case]
    callback = ks.SaliencyCallback(X[:2], tmp_path, **options)
    with pytest.raises(error) as caught:
        by_hand(Gan(), callback)
    assert not [part for part in parts if part not in str(caught.value)], str(caught.value)


def test_explain_names_the_models_that_a_model_without_call_holds():
    with pytest.raises(ValueError, match=r"no call\(images\).*'discriminator', 'generator'"):
        ks.explain(Gan(), X[:2])


@pytest.mark.parametrize("choice", [3, "", network(2, "discriminator")])
def test_a_choice_of_another_kind_is_refused(choice):
    with pytest.raises(TypeError, match="name of an attribute"):
        ks.SaliencyCallback(X[:2], model=choice)


@pytest.mark.needs(package="tf_keras", backend="tensorflow", why="trains a model of Keras 2")
@pytest.mark.filterwarnings("ignore")  # of theirs
def test_a_model_of_keras_2_is_told_that_keras_3_is_needed(tmp_path):
    import tf_keras

    kl = tf_keras.layers
    model = tf_keras.Sequential([kl.Conv2D(2, 3, input_shape=SIZE), kl.Flatten(), kl.Dense(2)])
    model.compile("sgd", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(TypeError, match=r"needs a model of Keras 3.*tf_keras"):
        ks.explain(model, X[:2])
    with pytest.raises(TypeError, match=r"needs a model of Keras 3.*tf_keras"):
        model.fit(X, Y, verbose=0, callbacks=[ks.SaliencyCallback(X[:2], tmp_path)])
    path = tmp_path / "model.h5"
    model.save(path)
    read = keras.models.load_model(path, compile=False)
    assert ks.explain(read, X[:2], "grad_cam").maps.shape == (2, 6, 8)
