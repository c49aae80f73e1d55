"""A made training run of five probes and fifty epochs, whose maps are hot in one known cell."""

import json

import cv2
import numpy as np

from keras_saliency.recording.tensorboard.event_writer import EventWriter, encode_jpeg

HOSTILE = '<img src=x onerror="document.title=1">'
CLOSING = "</script><script>document.title=2</script>"
NAMES = ["00 owl", HOSTILE, "02 fox", "03 owl", "04 fox"]
LABELS = ["owl", "fox", "fox", "owl", "fox"]
EPOCHS = 50
HEIGHT, WIDTH = 60, 80  # of the images, which are grey
CELLS = 6, 8  # of the maps
LIST = "Verdict/examples-teaching"
SHEETS = ["Verdict/counterfactuals-background", "Verdict/counterfactuals-mark"]
DEAD = 4  # the probe whose map is dead at first
CHECKED, CHANCE = 25, 3  # the step whose maps are checked, and the probe whose map is chance
CHECKS = "hiding this costs 0.41 (a random tenth: 0.02)", "no better than chance: hiding ..."


def hot_cell(probe, step):
    """Return where a map is hot, row and column: it moves from step to step."""
    return (probe + step) % CELLS[0], step % CELLS[1]


def focus_of(probe, step):
    return (probe * 2 + step) % 5 / 2


class Training:
    """Writes a run of probes step by step, in the format that the tab reads."""

    def __init__(self, run_dir):
        run_dir.mkdir(parents=True)
        self.writer = EventWriter(run_dir)
        photos = [np.full((HEIGHT, WIDTH, 3), 90 + 20 * i, np.uint8) for i in range(len(NAMES))]
        masks = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
        masks[5:20, 10:30] = 255
        said = {"names": NAMES, "labels": LABELS, "classes": ["owl", "fox"], "masks": True}
        said |= {
            "size": [HEIGHT, WIDTH],
            "of": "logits",
            "settings": {"layer": "top", CLOSING: "<!--"},
        }
        self._write("probes", said, [*map(encode_jpeg, photos), *[png(masks)] * len(NAMES)], 0)

    def add(self, step):
        """Write what two methods show at a step, and every tenth step a verdict."""
        for method, signed in (("grad-cam", False), ("gradient-x-input", True)):
            maps = np.full((len(NAMES), *CELLS), 128 if signed else 0, np.uint8)
            for probe in range(len(NAMES)):
                maps[probe][hot_cell(probe, step)] = 1 if signed else 255
            n = len(NAMES)
            said = {"method": method, "when": f"epoch {step + 1}", "step": step, "signed": signed}
            said |= {"peak": [1.0 + step] * n, "error": None, "similarity": [0.5] * n}
            said |= {"dead": [step == 0 and probe == DEAD for probe in range(n)]}
            said |= {"score": [float(step)] * n, "predicted": ["owl"] * n, "probability": [0.5] * n}
            said |= {"confidence": [0.75] * n, "correct": [label == "owl" for label in LABELS]}
            said |= {"focus": [focus_of(probe, step) for probe in range(n)]}
            if step == CHECKED:
                said |= {"is_chance": [probe == CHANCE for probe in range(n)]}
                said |= {"check": [CHECKS[probe == CHANCE] for probe in range(n)]}
            self._write(f"maps/{method}", said, [png(maps.reshape(-1, CELLS[1]))], step)
        if step % 10 == 9:
            gap = step / 100
            said = {"when": f"epoch {step + 1}", "step": step, "text": f"Relies on <b>{step}</b>."}
            said |= {"gaps": {"background": [gap, 0.05], "mark": [0.0, 0.02]}, "reliance": gap}
            said |= {"alarm": step > 20, "cause": "background", "since": "epoch 30"}
            said |= {"per_class": {"owl": gap}, "masks_from": "given", "threshold": 0.2}
            said |= {"sheets": ["background", "mark"], "sheet_tags": SHEETS}
            if said["alarm"]:
                said |= {"examples": {"teaching": [[HOSTILE, 0.99]], "contradicting": []}}
                said["sheets"], said["sheet_tags"] = [*said["sheets"], "teaching"], [*SHEETS, LIST]
                self.writer.images({LIST: np.full((40, 120, 3), 99, np.uint8)}, step)
            self.writer.images({SHEETS[0]: np.zeros((40, 120, 3), np.uint8)}, step)
            self._write("verdict", said, [], step)
        self.writer.flush()

    def _write(self, tag, said, blobs, step):
        self.writer.blobs(tag, [json.dumps({"version": 2} | said).encode(), *blobs], step)


def png(values):
    return cv2.imencode(".png", values)[1].tobytes()
