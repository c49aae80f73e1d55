"""`keras-saliency check` for other programs: JSON, JUnit's XML, and the workflow that runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from keras_saliency.cli.main import main
from keras_saliency.data.probes import Probes
from keras_saliency.recording.recorder import Recorder
from keras_saliency.recording.tensorboard.event_writer import EventWriter, new_run
from keras_saliency.recording.tensorboard.plugin_data import probe_blobs
from keras_saliency.recording.tensorboard.plugin_schema import PROBES
from keras_saliency.shortcuts.verdict import Verdict

WORKFLOW = Path(__file__).parents[3] / "examples" / "ci" / "shortcuts.yml"
RELIES = Verdict(
    "relies on <b> & \x07 the cast", 0.9, {"cast": (0.9, 0.01)}, True, "cast", "epoch 1"
)
CLEAR = Verdict("no evidence of cast", 0.02, {"cast": (0.02, 0.01)}, threshold=0.2)


def written(folder, *verdicts):
    """Write a training run each, as the callback does; None is one without a verdict."""
    for verdict in verdicts:
        probes = Probes(np.zeros((2, 5, 7, 3), "uint8"), class_names=["cat", "dog"])
        recorder = Recorder(EventWriter(new_run(folder)), probes, settings={"layer": "top"})
        recorder.record_text({"about": "# all"}, 0)
        if verdict is None:
            recorder.writer.blobs(PROBES, probe_blobs(probes, [0, 1], "logits", {}), 3)
        else:
            recorder.record_verdict(verdict, "epoch 4", 3)
        recorder.close()


@pytest.mark.parametrize(
    ("verdicts", "status"), [([CLEAR], 0), ([CLEAR, RELIES, None], 1), ([None], 2)]
)
def test_json_and_xml_say_what_the_lines_say(tmp_path, capsys, verdicts, status):
    logs, junit = tmp_path / "logs", tmp_path / "junit.xml"
    written(logs, *verdicts)
    kinds = ["not judged" if v is None else "failed" if v.alarm else "passed" for v in verdicts]
    capsys.readouterr()
    assert main(["check", str(logs), "--json", "--junit", str(junit)]) == status
    said = json.loads(capsys.readouterr().out)
    assert (said["schema"], said["exit_status"]) == (1, status)
    assert [run["status"] for run in said["runs"]] == kinds
    for run, verdict in zip(said["runs"], verdicts, strict=True):
        assert Path(run["folder"]) == logs / run["run"]
        if verdict is None:
            assert run["verdict"] is None
            assert "holds no verdict" in run["reason"]
        else:
            assert run["reason"] == f"at epoch 4 {verdict.text}"
            assert run["verdict"]["gaps"] == verdict.to_dict()["gaps"]
            assert "sheets" not in run["verdict"]
    (suite,) = ElementTree.parse(junit).getroot()
    counts = {"tests": len(kinds)}
    counts |= {"failures": kinds.count("failed"), "errors": kinds.count("not judged")}
    assert {name: int(suite.get(name)) for name in counts} == counts
    assert [case.get("name") for case in suite] == [run["run"] for run in said["runs"]]
    of_kind = {"passed": "system-out", "failed": "failure", "not judged": "error"}
    assert [case[0].tag for case in suite] == [of_kind[kind] for kind in kinds]
    for case in suite.iter("failure"):
        assert (
            case.get("message") == "at epoch 4 relies on <b> & \N{REPLACEMENT CHARACTER} the cast"
        )


@pytest.mark.parametrize(("verdict", "failing"), [(CLEAR, None), (RELIES, "Check")])
def test_the_workflow_does_what_it_says(tmp_path, verdict, failing):
    """Its shell steps run as GitHub runs them, with a train.py that has written a training run."""
    written(tmp_path / "logs", verdict)
    (tmp_path / "train.py").write_text("")
    scripts = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {"GITHUB_STEP_SUMMARY": "summary.md", "PATH": ":".join(scripts)}
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    steps = [step for step in job["steps"] if "run" in step and step["name"] != "Install"]
    failed = []
    for step in steps:
        if not failed or step.get("if") == "always()":
            command = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]
            if subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode:
                failed.append(step["name"])
    assert failed == ([failing] if failing else [])
    made = {path.name for path in tmp_path.iterdir()}
    for uploaded in job["steps"][-1]["with"]["path"].split():
        assert uploaded in made
    assert "saliency" in (tmp_path / "summary.md").read_text()
