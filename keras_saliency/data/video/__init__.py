"""Videos: files, optical flow, the movement of the camera, masks of what moves."""
