"""The map of a gallery: each item once, on the unit square, the same every time."""

from fieldmark import Gallery
from fieldmark.gallery.map import draw_map


def test_each_item_has_one_place_in_the_unit_square(toy_gallery, toy_items, toy_runtime):
    index = Gallery.open(toy_gallery, runtime=toy_runtime).index
    met = draw_map(index)
    assert met == draw_map(index)
    assert sorted(point.item_id for point in met.points) == sorted(item.item_id for item in toy_items)
    facts = {item.item_id: (item.medium, item.class_name) for item in toy_items}
    assert all((point.medium, point.class_name) == facts[point.item_id] for point in met.points)
    assert all(0 <= point.x <= 1 and 0 <= point.y <= 1 for point in met.points)


def test_of_many_items_a_sample_of_every_medium_is_shown(toy_gallery, toy_items, toy_runtime):
    met = draw_map(Gallery.open(toy_gallery, runtime=toy_runtime).index, limit=20)
    assert met.item_count == len(toy_items)
    assert len(met.points) <= 20
    assert len({point.medium for point in met.points}) == 4
