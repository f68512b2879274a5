"""Lists as in the wild, and files of each medium to put anywhere."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Puts a small file of the medium that its suffix says at a path under the test's folder."""

    def put(path: str, content: str | None = None) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if content is not None or file.suffix in {".txt", ".csv"}:
            file.write_text(content or "A gull over the water.\n", encoding="utf-8")
        elif file.suffix in {".wav", ".ogg"}:
            soundfile.write(file, 0.3 * np.sin(np.arange(4_000) * 0.3), 8_000)
        else:
            Image.new("RGB", (8, 8), (90, 120, 150)).save(file, format="PNG" if file.suffix == ".png" else "JPEG")
        return file

    return put
