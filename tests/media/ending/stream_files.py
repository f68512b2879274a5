"""Sounds and films in many containers, which the tests of their ends cut."""

import av
import numpy as np
import soundfile

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000 * 4)


def write_sound(path, format_name):
    soundfile.write(path, NOISE, 16_000, format=format_name)


def write_film(path, format_name):
    options = {"movflags": "faststart"} if format_name == "mp4" else {}
    write_pictures(path, format_name, "wmv2" if format_name == "asf" else "mpeg4", options=options)


def write_pictures(path, format_name, codec, *, options):
    pixels = np.random.default_rng(0).integers(0, 255, (30, 64, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w", format=format_name, options=options) as container:
        rate, pixel_format = (25, "yuv420p") if codec == "mpeg2video" else (10, "rgb8" if codec == "gif" else "yuv420p")
        stream = container.add_stream(codec, rate=rate, width=64, height=64, pix_fmt=pixel_format)
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
