"""What every layer uses: arrays, validation, resampling, Pillow images, warnings."""
