"""The command `data`, on real files."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_saliency.cli.main import main


@pytest.fixture
def photos(tmp_path):
    """Two classes of 25 pictures, the second with a white tag in its lower left corner."""
    rng = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for index in range(25):
            image = cv2.resize(rng.integers(0, 200, (4, 5, 3), np.uint8), (50, 40))
            if name == "bee":
                image[-5:, :6] = 255
            Image.fromarray(image).save(tmp_path / name / f"{index}.png")
    return tmp_path


def test_a_property_that_tells_the_label_is_named_in_one_line(photos, capsys):
    assert main(["data", str(photos)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{photos}: 50 images; a trivial property tells the label, which is")
    assert ": the colour of the lower left corner 100 %" in said.out
    assert (said.out.count("\n"), said.err) == (1, "")


def test_json_has_the_scores_of_all_properties(photos, capsys):
    assert main(["data", str(photos), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["text"].startswith("a trivial property tells the label")
    assert said["scores"][0]["score"] == 1.0
    assert said["scores"][0]["is_leak"]
    assert not said["scores"][-1]["is_leak"]
    assert (said["count"], said["is_regression"]) == (50, False)
    assert said["middle"]["name"] == "the colour of the middle"


def test_where_nothing_tells_the_label_that_is_said(photos, capsys):
    for index in range(25):
        first, second = photos / "ant" / f"{index}.png", photos / "bee" / f"{index}.png"
        second.write_bytes(first.read_bytes())
    assert main(["data", str(photos)]) == 0
    assert "50 images; none of " in capsys.readouterr().out


def test_what_can_not_be_measured_is_refused_in_one_line(photos, capsys):
    (photos / "bee" / "3.png").write_bytes(b"broken")
    for folder, words in ((photos, "3.png can't be read"), (photos / "ant", "two classes or more")):
        assert main(["data", str(folder)]) == 2
        said = capsys.readouterr()
        assert words in said.err
        assert (said.out, said.err.count("\n")) == ("", 1)
