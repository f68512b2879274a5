"""Items and hits -> answers: facts, a file name for a path, and the addresses of what can be shown."""

from pathlib import PurePath
from urllib.parse import quote

from fieldmark.api.schemas import ItemAnswer
from fieldmark.gallery.search.result import describe_facts
from fieldmark.gallery.store import StoredItem
from fieldmark.media.preview import has_sound
from fieldmark.types import Item, MediaLimits, Medium

Addresses = dict[str, str | None]


def addresses_of(item: Item, *, limits: MediaLimits) -> Addresses:
    """Where the item, its file and its pictures are; None where there is nothing of the kind."""
    # Whatever an id holds becomes one piece of a path: a slash or dots in it never lead elsewhere.
    name = quote(item.item_id, safe="")
    is_single_file = item.path is not None and "*" not in item.path.name
    is_seen = item.medium in {Medium.IMAGE, Medium.VIDEO} and item.path is not None
    is_heard = is_single_file and has_sound(item, limits=limits)
    is_drawn = is_heard or (item.medium is Medium.AUDIO and is_single_file)
    return {
        "item_url": f"/v1/items/{name}",
        "media_url": f"/v1/media/{name}" if is_single_file else None,
        "thumbnail_url": f"/v1/thumbnails/{name}" if is_seen else None,
        "spectrogram_url": f"/v1/spectrograms/{name}" if is_drawn else None,
        "waveform_url": f"/v1/waveforms/{name}" if is_heard else None,
    }


def describe_item(stored: StoredItem, *, limits: MediaLimits) -> ItemAnswer:
    """An item as the API gives it: no path of the server's own."""
    item = stored.item
    return ItemAnswer.model_validate(
        {
            **describe_facts(item),
            "set_name": stored.set_name,
            "name": file_name(item.path),
            "start_seconds": item.start_seconds,
            "end_seconds": item.end_seconds,
            "segment_count": stored.segment_count,
            **addresses_of(item, limits=limits),
        }
    )


def file_name(path: PurePath | str | None) -> str | None:
    """The last part of a path; the rest is the server's own business."""
    return None if path is None else PurePath(path).name
