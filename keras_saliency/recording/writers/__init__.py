"""Writers of snapshots beside TensorBoard's: W&B, MLflow, Trackio, a folder, or your own.

Each is given to the callback in place of the folder of logs:

    import wandb

    run = wandb.init(project="penguins")
    watch = ks.SaliencyCallback(probes, ks.writers.WandbWriter(run), shortcuts=train)
    model.fit(train, epochs=20, callbacks=[watch])

The writers of trackers write TensorBoard's run as well, and at the end of training hand its report
over as one HTML page, with the slider. A tracker's package is imported when its writer is made:
`pip install "keras-saliency[wandb]"`, `[mlflow]` or `[trackio]`.
"""

from keras_saliency.recording.writers.mlflow import MlflowWriter
from keras_saliency.recording.writers.picture_folder import PictureFolder
from keras_saliency.recording.writers.protocol import Writer
from keras_saliency.recording.writers.trackio import TrackioWriter
from keras_saliency.recording.writers.wandb import WandbWriter

__all__ = ["MlflowWriter", "PictureFolder", "TrackioWriter", "WandbWriter", "Writer"]
