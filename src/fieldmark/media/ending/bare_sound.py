"""The frames of bare sound, which has no container: MPEG audio, AAC, AC-3."""

from collections.abc import Callable
from typing import BinaryIO

_FRAMES_BYTES = 2**16
_FRAME_HEAD_BYTES = 8
_SURE_FRAMES = 4  # in a row; fewer may be chance
_LAYER_2, _LAYER_3 = 2, 1
_MPEG_KILOBITS = {
    _LAYER_2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    _LAYER_3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_MPEG_2_KILOBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_AC3_KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def ends_in_frame(file: BinaryIO, size: int, *, measure: Callable[[bytes], int | None]) -> bool:
    """Tell whether the last frame of bare sound is cut off.

    Args:
        measure: Returns the bytes of the frame that a header begins; None for what is no header.
    """
    file.seek(max(0, size - _FRAMES_BYTES))
    data = file.read()
    for first in range(min(len(data), _FRAMES_BYTES // 2)):
        position, count = first, 0
        while length := measure(data[position : position + _FRAME_HEAD_BYTES]):
            position += length
            count += 1
        if count >= _SURE_FRAMES:
            return position > len(data)
    return False


def measure_mpeg(head: bytes) -> int | None:
    """Return the bytes of a frame of MPEG audio, layers II and III (ISO/IEC 11172-3, 2.4.1.3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3
    is_first = version == 3
    bits = (_MPEG_KILOBITS[layer] if is_first else _MPEG_2_KILOBITS) if layer in _MPEG_KILOBITS else ()
    kilobits = bits[head[2] >> 4] if head[2] >> 4 < len(bits) else 0
    if version == 1 or rate == 3 or not kilobits:
        return None
    hertz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    samples = 1_152 if is_first or layer == _LAYER_2 else 576
    return samples // 8 * kilobits * 1_000 // hertz + (head[2] >> 1 & 1)


def measure_adts(head: bytes) -> int | None:
    """Return the bytes of a frame of AAC (ISO/IEC 14496-3, 1.A.2)."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else None


def measure_ac3(head: bytes) -> int | None:
    """Return the bytes of a frame of AC-3 or E-AC-3 (ETSI TS 102 366, 4.3 and E.1.2)."""
    if len(head) < 6 or not head.startswith(b"\x0bw"):
        return None
    if head[5] >> 3 > 10:
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate, number = head[4] >> 6, head[4] & 0x3F
    if rate == 3 or number // 2 >= len(_AC3_KILOBITS):
        return None
    kilobits = _AC3_KILOBITS[number // 2]
    if rate == 1:
        return 2 * (kilobits * 96_000 // 44_100 + number % 2)
    return kilobits * (4 if rate == 0 else 6)
