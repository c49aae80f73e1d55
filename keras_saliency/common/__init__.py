"""What every layer uses: arrays, validation, resampling, pictures of Pillow, warnings."""
