"""The 16 tasks as tasks of MTEB: they run there, and its MAP is ours. Needs `pip install 'fieldmark[mteb]'`."""

import pytest

from fieldmark import Medium, evaluate, from_pretrained, read_manifest
from fieldmark.types import Split

pytest.importorskip("mteb")
from mteb_tasks import DIRECTIONS, FieldmarkEncoder, make_tasks, run_tasks, select_tested

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library and what it imports


@pytest.fixture(scope="module")
def tasks(toy_manifest):
    return make_tasks(toy_manifest, name="Toy")


@pytest.fixture(scope="module")
def scores(tasks, toy_run, toy_runtime):
    return run_tasks(tasks, FieldmarkEncoder(from_pretrained(toy_run, runtime=toy_runtime)))


@pytest.fixture(scope="module")
def our_map(toy_embeddings):
    return {each.name: each.mean_average_precision for each in evaluate(toy_embeddings).directions}


def test_there_are_12_and_4_tasks(tasks):
    assert len(tasks) == len({task.metadata.name for task in tasks}) == len(DIRECTIONS) == 16
    assert sum(task.metadata.category is None for task in tasks) == 4


@pytest.mark.parametrize("direction", DIRECTIONS, ids=lambda each: each.name)
def test_map_of_each_task_is_that_of_the_strict_protocol(direction, scores, our_map):
    # MTEB keeps five digits; single-precision ties of a toy may fall otherwise.
    assert scores[f"Toy_{direction.name}"] == pytest.approx(our_map[direction.name], abs=2e-4)


def test_queries_and_corpus_are_the_tested_items(tasks, toy_manifest):
    tested = select_tested(read_manifest(toy_manifest))
    assert {item.split for item in tested} == {Split.TEST}
    by_name = {task.metadata.name: task.dataset["default"]["test"] for task in tasks}
    photos = [item.item_id for item in tested if item.medium is Medium.IMAGE]
    assert by_name["Toy_image_to_audio"]["queries"]["id"][:] == photos
    assert len(by_name["Toy_image_to_all"]["corpus"]) == len(tested)
    assert all(query not in found for query, found in by_name["Toy_image_to_all"]["relevant_docs"].items())
