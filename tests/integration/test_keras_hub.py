"""KerasHub's tasks that take images: what `predict` feeds to each of them is what is explained."""

import functools
import importlib
import os

import keras
import numpy as np
import pytest
from keras import ops

import keras_saliency as ks
from keras_saliency.engine.preprocessing import Preprocessing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # of KerasHub, TensorFlow and Grain
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

SCALE = {"scale": [1 / 127.5, 1 / 100, 1 / 50], "offset": [-1.0, 0.0, 0.5]}


def hub():
    """Import KerasHub, without which the test is skipped, or fails with REQUIRE_PEERS=1."""
    try:
        return importlib.import_module("keras_hub")
    except ImportError as error:
        say = pytest.fail if os.environ.get("REQUIRE_PEERS") == "1" else pytest.skip
        say(f"no keras_hub, which `make ci-full` installs: {error}")


def resnet(models, size=(None, None, 3), filters=(64, 64)):
    return models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=list(filters),
        stackwise_num_blocks=[1] * len(filters),
        stackwise_num_strides=[1] + [2] * (len(filters) - 1),
        block_type="basic_block",
        image_shape=size,
    )


def mit(models, size):
    return models.MiTBackbone(
        layerwise_depths=[1, 1],
        image_shape=size,
        hidden_dims=[4, 8],
        num_layers=2,
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[8, 4],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
    )


def hgnet(models, size, **options):
    return models.HGNetV2Backbone(
        depths=[1, 1],
        embedding_size=8,
        hidden_sizes=[16, 32],
        stem_channels=[3, 8, 8],
        hidden_act="relu",
        use_learnable_affine_block=False,
        stackwise_stage_filters=[[8, 8, 16, 1, 1, 3], [16, 8, 32, 1, 1, 3]],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, False],
        image_shape=size,
        **options,
    )


def mobilenet_v5(models, size):
    zeros = ("dw_start_kernel_sizes", "dw_end_kernel_sizes", "num_heads", "key_dims")
    zeros = (*zeros, "value_dims", "kv_strides")
    return models.MobileNetV5Backbone(
        stackwise_block_types=[["er"], ["uir"]],
        stackwise_num_blocks=[1, 1],
        stackwise_num_filters=[[8], [16]],
        stackwise_strides=[[2], [2]],
        stackwise_act_layers=[["relu"], ["relu"]],
        stackwise_exp_ratios=[[4.0], [6.0]],
        stackwise_se_ratios=[[0.0], [0.0]],
        stackwise_dw_kernel_sizes=[[0], [5]],
        stackwise_exp_kernel_sizes=[[3], [0]],
        stackwise_pw_kernel_sizes=[[1], [0]],
        stackwise_use_cpe=[[False], [False]],
        image_shape=size,
        stem_size=8,
        use_msfa=False,
        **{f"stackwise_{name}": [[0], [0]] for name in zeros},
    )


CLASSIFIERS = {
    "CSPNet": lambda m, size: m.CSPNetBackbone(
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_strides=2,
        stackwise_depth=[1, 1],
        stackwise_num_filters=[8, 16],
        image_shape=size,
        down_growth=True,
        bottle_ratio=(0.5, 1.0),
        block_ratio=(1.0, 0.5),
        expand_ratio=(2.0, 1.0),
        block_type="dark_block",
        stage_type="csp",
    ),
    "DeiT": lambda m, size: m.DeiTBackbone(
        image_shape=size, patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16
    ),
    "DenseNet": lambda m, size: m.DenseNetBackbone(
        stackwise_num_repeats=[1, 1], compression_ratio=0.5, growth_rate=4, image_shape=size
    ),
    "EfficientNet": lambda m, size: m.EfficientNetBackbone(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 1],
        stackwise_input_filters=[8, 8],
        stackwise_output_filters=[8, 16],
        stackwise_expansion_ratios=[1, 2],
        stackwise_strides=[1, 2],
        stackwise_block_types=["v1", "v1"],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
        stackwise_force_input_filters=[0, 0],
        stackwise_nores_option=[False, False],
        batch_norm_momentum=0.9,
        image_shape=size,
    ),
    "HGNetV2": hgnet,
    "MiT": mit,
    "MobileNet": lambda m, size: m.MobileNetBackbone(
        stackwise_expansion=[[8, 12], [16, 16]],
        stackwise_num_blocks=[2, 2],
        stackwise_num_filters=[[8, 8], [12, 12]],
        stackwise_kernel_size=[[3, 3], [5, 5]],
        stackwise_num_strides=[[2, 1], [2, 1]],
        stackwise_se_ratio=[[None, None], [0.25, 0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1, 1], [2, 2]],
        output_num_filters=16,
        input_activation="hard_swish",
        output_activation="hard_swish",
        input_num_filters=8,
        image_shape=size,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        squeeze_and_excite=0.5,
        last_layer_filter=12,
    ),
    "MobileNetV5": mobilenet_v5,
    "ResNet": resnet,
    "SwinTransformer": lambda m, size: m.SwinTransformerBackbone(
        image_shape=size, embed_dim=8, depths=(1, 1), num_heads=(2, 2), window_size=4
    ),
    "VGG": lambda m, size: m.VGGBackbone(
        stackwise_num_repeats=[1, 1], stackwise_num_filters=[4, 8], image_shape=size
    ),
    "ViT": lambda m, size: m.ViTBackbone(
        image_shape=size, patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16
    ),
    "Xception": lambda m, size: m.XceptionBackbone(
        stackwise_conv_filters=[[8, 8], [8, 16], [16, 16]],
        stackwise_pooling=[False, True, False],
        image_shape=size,
    ),
}
FED = (32, 32)


def images(count=3, size=(40, 56, 3)):
    """Floats: what Keras resizes of uint8 is rounded, on each backend in its own way."""
    return np.random.default_rng(0).integers(0, 256, (count, *size)).astype("float32")


def preprocessor(models, name, **options):
    converter = importlib.import_module("keras_hub").layers.ImageConverter
    return getattr(models, name)(converter(**{"image_size": FED, **SCALE, **options}))


def nothing(model, images):
    return ops.zeros((images.shape[0], 1, 1))


def flat(value):
    return [ops.convert_to_numpy(part) for part in keras.tree.flatten(value)]


def test_all_classifiers_are_here():
    known = vars(hub().models)
    found = {name for name in known if name.endswith("ImageClassifier")} - {"ImageClassifier"}
    assert {name.removesuffix("ImageClassifier") for name in found} <= set(CLASSIFIERS)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name):
    models = hub().models
    if not hasattr(models, f"{name}ImageClassifier"):
        pytest.skip(f"no {name} in this release")
    backbone = CLASSIFIERS[name](models, (*FED, 3))
    options = {"crop_to_aspect_ratio": name != "VGG"}
    made = preprocessor(models, f"{name}ImageClassifierPreprocessor", **options)
    task = getattr(models, f"{name}ImageClassifier")
    model = task(backbone=backbone, num_classes=3, preprocessor=made)
    wanted = model.predict(images(), verbose=0)
    found = ks.explain(model, images(), nothing, target=1)
    np.testing.assert_allclose(found.outputs, wanted, rtol=1e-3, atol=1e-5)
    assert found.display.shape == (3, *FED, 3)
    raw = ops.convert_to_numpy(model(images()[:, :32, :32], training=False))
    assert np.abs(raw - wanted).max() > 1e-4  # the preprocessor matters


def segmenters(models):
    encoder = resnet(models, filters=(64, 64, 64))
    deeplab = models.DeepLabV3Backbone(
        image_encoder=encoder,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P4",
        dilation_rates=[1, 2],
        upsampling_size=4,
    )
    made = preprocessor(models, "DeepLabV3ImageSegmenterPreprocessor")
    yield models.DeepLabV3ImageSegmenter(backbone=deeplab, num_classes=2, preprocessor=made)
    segformer = models.SegFormerBackbone(image_encoder=mit(models, (*FED, 3)), projection_filters=8)
    made = preprocessor(models, "SegFormerImageSegmenterPreprocessor")
    yield models.SegFormerImageSegmenter(backbone=segformer, num_classes=4, preprocessor=made)
    basnet = models.BASNetBackbone(
        image_encoder=resnet(models, filters=(64, 128, 256, 512)), num_classes=1
    )
    made = preprocessor(models, "BASNetPreprocessor")
    yield models.BASNetImageSegmenter(backbone=basnet, preprocessor=made)


@pytest.mark.parametrize("index", range(3))
def test_segmenters(index):
    models = hub().models
    model = list(segmenters(models))[index]
    model.compile("sgd", "binary_crossentropy")
    wanted = flat(model.predict(images(), verbose=0))
    output = 0 if len(wanted) > 1 else None
    target = ks.Target("predicted", output=output, head=None if index else "softmax")
    found = ks.explain(model, images(), nothing, target=target)
    np.testing.assert_allclose(found.outputs, wanted[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("preprocessed", [True, False])
@pytest.mark.parametrize("index", range(2))
def test_masks_of_a_segmenter(index, preprocessed):
    """All but class 0 of what it predicts of images of its size; it gives logits."""
    keras.utils.set_random_seed(0)
    model = list(segmenters(hub().models))[index]
    if not preprocessed:
        backbone, classes = model.backbone, model.num_classes
        model = type(model)(backbone=backbone, num_classes=classes, preprocessor=None)
    given = images(3, (64, 64, 3)).astype("uint8") // (1 if preprocessed else 32)
    fed = given.astype("float32").reshape(3, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    any_size = not preprocessed and index == 0
    logits = model.predict(given.astype("float32") if any_size else fed, verbose=0)
    wanted = ops.convert_to_numpy(1 - ops.softmax(logits)[..., 0])
    wanted = ops.convert_to_numpy(ops.image.resize(wanted[..., None], (64, 64)))[..., 0]
    assert np.ptp(wanted) > 1e-3
    probes = ks.Probes(given, masks=model)
    np.testing.assert_allclose(probes.masks, wanted, atol=1e-4)
    labels = np.arange(24) % 2
    train = np.concatenate([given] * 8)
    shortcuts = ks.Shortcuts((train, labels), masks=model)
    assert shortcuts.masks_from == f"model {model.name}"
    masks = np.concatenate([shortcuts.donors.masks, shortcuts.receivers.masks])
    assert len(masks) > 0
    assert np.abs(masks[:, None] - wanted).max(axis=(2, 3)).min(axis=1).max() < 1e-4


def test_a_depth_estimator():
    models = hub().models
    encoder = models.DINOV2Backbone(
        7, 4, 8, 2, 16, 1.0, 0, image_shape=(63, 63, 3), apply_layernorm=True
    )
    backbone = models.DepthAnythingBackbone(
        image_encoder=encoder,
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_dims=[4, 8, 8, 8],
        fusion_hidden_dim=8,
        head_hidden_dim=4,
        head_in_index=-1,
        feature_keys=["stage1", "stage2", "stage3", "stage4"],
    )
    made = preprocessor(models, "DepthAnythingDepthEstimatorPreprocessor", image_size=(63, 63))
    model = models.DepthAnythingDepthEstimator(
        backbone=backbone, depth_estimation_type="metric", max_depth=10.0, preprocessor=made
    )
    (wanted,) = flat(model.predict(images(), verbose=0))
    outputs = ks.explain(model, images(), nothing, target=ks.Target("predicted", output=0)).outputs
    np.testing.assert_allclose(outputs, wanted, rtol=1e-3, atol=1e-4)


def detectors(models):
    layers = importlib.import_module("keras_hub").layers
    encoder = models.RetinaNetBackbone(
        image_encoder=resnet(models, filters=(64, 64, 64)), min_level=3, max_level=4, use_p5=False
    )
    anchors = layers.AnchorGenerator(
        bounding_box_format="yxyx",
        min_level=3,
        max_level=4,
        num_scales=1,
        aspect_ratios=[1.0],
        anchor_size=4,
    )
    inner = importlib.import_module("keras_hub.src.models.retinanet.retinanet_label_encoder")
    labels = inner.RetinaNetLabelEncoder(bounding_box_format="yxyx", anchor_generator=anchors)
    made = preprocessor(models, "RetinaNetObjectDetectorPreprocessor")
    yield models.RetinaNetObjectDetector(
        backbone=encoder,
        anchor_generator=anchors,
        label_encoder=labels,
        num_classes=3,
        bounding_box_format="yxyx",
        preprocessor=made,
    )


def test_detectors():
    """`predict` decodes what the model gives, so that what it is fed is compared in it."""
    for model in detectors(hub().models):
        fed = model.preprocess_samples(images())
        wanted = model(fed, training=False)
        target = ks.Target("predicted", output="cls_logits", head="sigmoid")
        found = ks.explain(model, images(), nothing, target=target)
        np.testing.assert_allclose(
            found.outputs, ops.convert_to_numpy(wanted["cls_logits"]), rtol=1e-3, atol=1e-4
        )


def retinanet():
    """Build RetinaNet with boxes that differ, whose probabilities are not rounded to 1."""
    keras.utils.set_random_seed(0)
    (model,) = detectors(hub().models)
    random = np.random.default_rng(0)
    for weight in model.trainable_variables:
        fan_in = np.prod(weight.shape[:-1])
        weight.assign(random.normal(size=weight.shape) * np.sqrt(2 / max(fan_in, 1)))
    for weight in model.classification_head.prediction_layer.trainable_variables:
        weight.assign(0.05 * weight)
    return model


def test_the_best_box_of_a_detector_is_the_first_that_it_predicts():
    """Which `predict` has decoded, and suppressed the duplicates of."""
    model = retinanet()
    predicted = model.predict(images(), verbose=0)
    aim = ks.Target(ks.Boxes(), "probability", output="cls_logits", head="sigmoid")
    found = ks.explain(model, images(), nothing, target=aim)
    np.testing.assert_allclose(found.scores, predicted["confidence"][:, 0], rtol=1e-3)
    np.testing.assert_array_equal(found.targets, predicted["labels"][:, 0])


def d_fine(models, size=(64, 64, 3)):
    """Build D-FINE, whose decoder has a candidate for each of eight queries."""
    sides = {"image_shape": size, "out_features": ["stage3", "stage4"]}
    encoder = models.HGNetV2Backbone(
        stem_channels=[3, 4, 4],
        stackwise_stage_filters=[[4, 4, 8, 1, 3, 3], *[[8, 4, 8, 1, 3, 3]] * 3],
        apply_downsample=[False, True, True, True],
        use_lightweight_conv_block=[False, False, True, True],
        depths=[1] * 4,
        hidden_sizes=[8] * 4,
        embedding_size=4,
        use_learnable_affine_block=True,
        hidden_act="relu",
        **sides,
    )
    widths = dict.fromkeys(("encoder_hidden_dim", "hidden_dim", "encoder_ffn_dim"), 16)
    widths |= {"decoder_ffn_dim": 16, "lqe_hidden_dim": 16, "decoder_in_channels": [16, 16]}
    counts = {"num_labels": 3, "num_queries": 8, "num_denoising": 0, "num_feature_levels": 2}
    counts |= {"num_attention_heads": 2, "decoder_attention_heads": 2, "num_lqe_layers": 2}
    counts |= {"num_encoder_layers": 1, "num_decoder_layers": 1, "decoder_n_points": [2, 2]}
    backbone = models.DFineBackbone(
        backbone=encoder,
        learn_initial_query=False,
        anchor_image_size=size[:2],
        feat_strides=[16, 32],
        encoder_in_channels=[8, 8],
        encode_proj_layers=[1],
        hidden_expansion=0.5,
        depth_multiplier=0.5,
        eval_idx=-1,
        seed=0,
        **widths,
        **counts,
        **sides,
    )
    return models.DFineObjectDetector(backbone, num_classes=3, bounding_box_format="yxyx")


def test_the_best_box_of_a_detector_with_queries():
    keras.utils.set_random_seed(0)
    model = d_fine(hub().models)
    given = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    logits = ops.convert_to_numpy(model(given, training=False)["logits"])
    aim = ks.Target(ks.Boxes(threshold=0.0), output="logits", head="sigmoid")
    found = ks.explain(model, given, "saliency", target=aim)
    np.testing.assert_allclose(found.scores, logits.max(axis=(1, 2)), rtol=1e-3)
    np.testing.assert_array_equal(found.targets, logits.max(axis=1).argmax(axis=1))
    assert all(map_.any() for map_ in found.maps)


@pytest.mark.parametrize(("row", "level"), [(3, "P3"), (15, "P3"), (16, "P4"), (19, "P4")])
def test_maps_of_a_box_are_of_its_level(row, level):
    """HiResCAM: how the head's logit of the box changes as one place is made stronger."""
    model = retinanet()
    fed = model.preprocess_samples(images(1))
    features = ops.convert_to_numpy(model.backbone(fed, training=False)[level])[0]
    cells = features.shape[0] * features.shape[1]
    step = 2e-3 * np.eye(cells).reshape(cells, *features.shape[:2], 1) * features
    head, place = model.classification_head, row - 16 * (level == "P4")
    up, down = (
        ops.convert_to_numpy(head((features + sign * step).astype("float32"), training=False))
        for sign in (1, -1)
    )
    slopes = (up - down).reshape(cells, -1, 3)[:, place, 1] / 4e-3
    wanted = slopes.reshape(features.shape[:2])
    signed = functools.partial(ks.methods.get("hires_cam"), relu=False)
    aim = ks.Target(ks.Boxes(1, box=row), output="cls_logits", head="sigmoid")
    found = ks.explain(model, images(1), signed, target=aim)
    assert level.lower() in found.layer.lower()
    np.testing.assert_allclose(found.maps[0], wanted, atol=0.05 * np.abs(wanted).max())


def test_a_task_of_several_inputs_keeps_the_others():
    """Of a `PipelineModel` of one's own: only the image is preprocessed."""
    pipeline = importlib.import_module("keras_hub.src.utils.pipeline_model") if hub() else None

    class Both(pipeline.PipelineModel):
        def preprocess_samples(self, x, y=None, sample_weight=None):
            x = {"photo": ops.convert_to_numpy(x["photo"])[:, ::2, ::2] / 255, "age": x["age"]}
            return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    photo, age = keras.Input((4, 5, 3), name="photo"), keras.Input((1,), name="age")
    pooled = keras.layers.GlobalAveragePooling2D()(photo)
    head = keras.layers.Dense(2)(keras.layers.Concatenate()([pooled, age]))
    model = Both({"photo": photo, "age": age}, head)
    given = {"photo": images(3, (8, 10, 3)), "age": np.ones((3, 1), "float32")}
    wanted = ops.convert_to_numpy(
        model({"photo": given["photo"][:, ::2, ::2] / 255, "age": given["age"]})
    )
    found = ks.explain(model, ks.Probes(given), "saliency", target=1)
    np.testing.assert_allclose(found.outputs, wanted, rtol=1e-5)
    assert found.display.shape == (3, 4, 5, 3)
    assert Preprocessing(model).exists


def test_training_with_the_callback(tmp_path):
    """Probes are right where `evaluate` says that all are."""
    models = hub().models
    labels = np.arange(96) % 2
    colours = np.array([[200, 90, 90], [90, 90, 200]])[labels]
    rng = np.random.default_rng(0)
    pictures = (colours[:, None, None] + rng.normal(0, 6, (96, 40, 56, 3))).astype("uint8")
    backbone = models.VGGBackbone(
        stackwise_num_repeats=[1], stackwise_num_filters=[4], image_shape=(*FED, 3)
    )
    made = preprocessor(models, "VGGImageClassifierPreprocessor")
    model = models.VGGImageClassifier(
        backbone=backbone,
        num_classes=2,
        preprocessor=made,
        activation="softmax",
        pooling_hidden_dim=8,
    )
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    watch = ks.SaliencyCallback((pictures[:8], labels[:8]), tmp_path, strict=True)
    model.fit(pictures, labels, epochs=3, verbose=0, callbacks=[watch])
    wanted = model.predict(pictures[:8], verbose=0)[np.arange(8), labels[:8]]
    np.testing.assert_allclose(watch.session.newest.probability, wanted, rtol=0.01)
    accuracy = model.evaluate(pictures[:8], labels[:8], verbose=0, return_dict=True)["accuracy"]
    assert np.mean(watch.session.newest.correct) == accuracy
