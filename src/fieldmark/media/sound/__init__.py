"""Sound: decoded, placed by its time stamps, mixed to one channel, resampled and cut."""
