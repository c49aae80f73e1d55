"""Everything that the package does, in one small run on whichever backend there is.

python tests/helpers/everything.py FOLDER
"""

import sys
from functools import partial
from pathlib import Path

import keras
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_saliency as ks
from keras_saliency import metrics
from keras_saliency.cli.main import main
from keras_saliency.data.synthetic import CLASS_NAMES, scenes

place = Path(sys.argv[1])
keras.config.disable_interactive_logging()


class Cured(keras.utils.PyDataset):
    """Batches with the backgrounds of others."""

    def __init__(self, drawn):
        super().__init__()
        self.drawn, self.swap = drawn, ks.BackgroundSwap(0.8, seed=0)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(50 * index, 50 * index + 50)
        images, _ = self.swap((self.drawn.images[rows], self.drawn.masks[rows]))
        return images, self.drawn.labels[rows]


drawn = scenes(200, size=(32, 40), correlation=0.95, seed=0)
model = keras.Sequential(
    [
        keras.Input((32, 40, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.Conv2D(8, 3, activation="relu", name="last"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(2, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
probes = ks.Probes(
    drawn.images[:4], drawn.labels[:4], masks=drawn.masks[:4], class_names=CLASS_NAMES
)
watch = ks.SaliencyCallback(
    probes,
    place / "logs",
    ["saliency", "grad_cam", "cam", "eigen_cam"],
    shortcuts=(drawn.images, drawn.labels),
    strict=True,
)
model.fit(Cured(drawn), epochs=2, verbose=0, callbacks=[watch])
assert watch.verdict.gaps.keys() >= {"background", "mark"}, watch.verdict
events = EventAccumulator(str(place / "logs" / "saliency"), size_guidance={"tensors": 0})
events.Reload()
tags = events.Tags()["tensors"]
wanted = {"grad-cam/00_elephant", "film-strip/saliency", "Verdict/background", "about"}
assert wanted <= set(tags), tags
inputs = keras.Input((32, 40, 3))
tokens = keras.layers.Reshape((20, 6))(keras.layers.Conv2D(6, 8, strides=8)(inputs))
tokens = keras.layers.Add()([tokens, keras.layers.MultiHeadAttention(2, 3)(tokens, tokens)])
pooled = keras.layers.GlobalAveragePooling1D()(tokens)
transformer = keras.Model(inputs, keras.layers.Dense(2)(pooled))
for name in ks.methods.available():
    asked = transformer if name.startswith("attention_") else model
    method = partial(ks.methods.get(name), samples=20) if name == "rise" else name
    found = ks.explain(asked, probes, method, target="label")
    assert found.maps.any(), name
found = ks.explain(model, probes, "grad_cam", target="label")
found.plot().savefig(place / "panels.png")
metrics.deletion(metrics.scorer(model, probes.images, target=0), probes.images, found.maps)
model.save(place / "model.keras")
keras.utils.save_img(place / "photo.png", drawn.images[0])
main(
    ["explain", str(place / "model.keras"), str(place / "photo.png"), "--out", str(place / "o.png")]
)
assert (place / "o.png").is_file()
print(
    f"ran on {keras.backend.backend()}, with{'out' * ('tensorflow' not in sys.modules)} TensorFlow"
)
