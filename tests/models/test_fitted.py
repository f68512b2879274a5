"""What is fitted at once: linear classifier, named scores and their mixture; names matched, and embedded."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from toy_features import random, scored

from fieldmark.models.fitted import (
    MOST_SPECIES,
    PENALTY,
    LinearClassifier,
    NamedScores,
    NamedWeights,
    NameEmbedding,
    fit_named_weights,
    guess_share,
    match_names,
)
from fieldmark.models.shared_space import SharedSpace
from fieldmark.names import normalize_name
from fieldmark.types import Medium
from product_parts import shared_space_size

# ---------------------------------------------------------------- the linear classifier


@pytest.mark.parametrize("row_count", [12, 60])
def test_linear_classifier_equals_logistic_regression_of_scikit_learn(row_count):
    rows, label = random(row_count, 6), torch.arange(row_count) % 3
    classifier = LinearClassifier(6, class_count=3)
    classifier.fit(rows, label)
    reference = LogisticRegression(C=1 / PENALTY, tol=1e-8, max_iter=5_000).fit(rows.numpy() / 6**0.5, label.numpy())
    expected = torch.from_numpy(reference.predict_proba(rows.numpy() / 6**0.5)).float()
    torch.testing.assert_close(classifier(rows).softmax(dim=1), expected, rtol=1e-2, atol=2e-3)


def test_linear_classifier_that_was_not_fitted_takes_no_side():
    assert not LinearClassifier(6, class_count=3)(random(4, 6)).any()


def test_linear_classifier_is_fitted_the_same_whatever_the_seed():
    fitted = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        classifier = LinearClassifier(6, class_count=3)
        classifier.fit(random(30, 6), torch.arange(30) % 3)
        fitted.append(classifier.weight)
    assert torch.equal(*fitted)


def test_linear_classifier_takes_classes_without_rows():
    classifier = LinearClassifier(6, class_count=5)
    classifier.fit(random(30, 6), torch.arange(30) % 3)
    likely = classifier(random(30, 6)).softmax(dim=1)
    assert torch.isfinite(likely).all()
    assert (likely[:, 3:] < 0.2).all()


# ---------------------------------------------------------------- an encoder's own scores


def columns(*of_classes):
    """The columns of each class, -1 in unused places."""
    return torch.tensor([[*own, *[-1] * (MOST_SPECIES - len(own))] for own in of_classes])


def named_scores(*of_classes, label, share=1.0, unnamed=0.0):
    named = NamedScores(len(of_classes))
    named.fit(torch.tensor(label), column=columns(*of_classes), unnamed=unnamed)
    named.share.fill_(share)
    return named


def test_named_scores_are_log_probabilities_of_the_named_columns():
    named = named_scores([2], [0], label=[0, 1])
    expected = 2 * torch.tensor([[0.5, 0.2], [0.1, 1.0]]).log()
    torch.testing.assert_close(named(torch.tensor([[0.2, 0.0, 0.5], [1.0, 0.3, 0.1]])), expected)
    assert float(named.share) == 1.0


def test_a_class_that_another_taxonomy_has_split_has_the_sum_of_its_scores():
    named = named_scores([2, 0], [1], label=[0, 1])
    likely = named(torch.tensor([[0.3, 0.5, 0.4]]).sqrt()).exp()
    torch.testing.assert_close(likely, torch.tensor([[0.7, 0.5]]))


def test_named_scores_are_left_alone_where_no_name_is_known():
    named = NamedScores(3)
    named.fit(torch.arange(9) % 3, column=columns([], [], []))
    assert float(named.share) == 0.0
    learned = random(9, 3)
    torch.testing.assert_close(named.mix_with(learned, random(9, 6).abs(), weight=1.0), learned)


def test_named_scores_never_decide_without_bound():
    named = named_scores([0], [1], label=[0, 1])
    assert torch.isfinite(named(torch.tensor([[0.0, 1.0]]))).all()


def test_shared_space_knows_a_class_by_its_name_without_an_item_of_it():
    size = shared_space_size(dim=16, component_count=4)
    torch.manual_seed(0)
    network = SharedSpace(input_dims={Medium.AUDIO: 6}, class_count=3, size=size)
    label = torch.arange(20) % 2  # the third class has no recording
    network.fit(
        Medium.AUDIO,
        scored(label, columns=[5, 2, 0]),
        label,
        class_species=[["Gadwall"], ["Mallard"], ["Veery"]],
        named_scores={"Gadwall": 5, "Mallard": 2, "Veery": 0},
    )
    heard = torch.arange(9) % 3
    _, class_logits = network.eval()(scored(heard, columns=[5, 2, 0]), Medium.AUDIO)
    assert class_logits.argmax(dim=1).tolist() == heard.tolist()


def test_named_scores_that_weigh_nothing_are_not_asked_for_a_class_without_an_item():
    size = shared_space_size(dim=16, component_count=4, named_weight=0.0)
    network = SharedSpace(input_dims={Medium.AUDIO: 6}, class_count=3, size=size).eval()
    label = torch.arange(20) % 2
    names = {"Gadwall": 5, "Mallard": 2, "Veery": 0}
    species = [[name] for name in names]
    network.fit(Medium.AUDIO, scored(label, columns=[5, 2, 0]), label, class_species=species, named_scores=names)
    _, class_logits = network(scored(torch.arange(9) % 3, columns=[5, 2, 0]), Medium.AUDIO)
    torch.testing.assert_close(class_logits.softmax(dim=1)[:, 2], torch.full((9,), 1 / 3))


def training_case(*, by_name, by_features, seed=0):
    """Rows of three classes, four groups of three each, whose names and whose features tell the class or do not."""
    label = torch.arange(3).repeat_interleave(12)
    group = torch.arange(12).repeat_interleave(3)
    told = scored(
        label if by_name else label[torch.randperm(36, generator=torch.Generator().manual_seed(seed))],
        columns=[5, 2, 0],
    )
    rows = random(36, 8, seed=seed) + (6 * torch.nn.functional.one_hot(label, 8) if by_features else 0)
    return {"features": told, "rows": rows, "label": label, "group": group, "column": columns([5], [2], [0])}


def share_of(case):
    return fit_named_weights(
        case.pop("features"),
        case.pop("rows"),
        case.pop("label"),
        **case,
        linear_weight=1.0,
    ).share


def test_named_scores_are_trusted_where_they_tell_more_than_what_is_learned():
    assert share_of(training_case(by_name=True, by_features=False)) > 0.8
    assert share_of(training_case(by_name=False, by_features=True)) < 0.3


def test_the_share_of_named_scores_is_the_largest_within_one_standard_error():
    # Both tell every class. The share with the least loss is 0, and those up to 0.4 are as good within one standard
    # error; up to 0.8 they are so within one standard deviation, which would be too generous.
    assert 0.3 < share_of(training_case(by_name=True, by_features=True)) < 0.5


def test_named_scores_are_not_scored_by_rows_of_the_same_group():
    # Each group has a feature of its own: learned by heart, it tells every class, and none of a group not met before.
    case = training_case(by_name=True, by_features=False)
    case["rows"] = 6 * torch.nn.functional.one_hot(case["group"], 12).float()
    assert share_of(dict(case)) > 0.8
    case["group"] = torch.arange(36)
    assert share_of(case) < 0.6


@pytest.mark.parametrize(("by_name", "expected"), [(True, 1.0), (False, 0.0)])
def test_with_one_group_of_each_class_named_scores_count_as_far_as_they_are_right_on_the_rows(by_name, expected):
    case = training_case(by_name=by_name, by_features=True)
    case["group"] = case["label"]
    assert share_of(case) == pytest.approx(expected, abs=0.2)


def test_one_known_name_never_overrules_a_classifier_that_nothing_could_judge():
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(10).repeat_interleave(20)
    features = torch.full((400, 12), 0.1)
    features[torch.arange(400), label.repeat(2)] = 1.0
    features[:, 10] = torch.rand(400, generator=generator).sqrt()  # the one name is given to anything
    network = SharedSpace(input_dims={Medium.AUDIO: 12}, class_count=10, size=shared_space_size(component_count=12))
    named = {"Gadwall": 10, "Veery": 11}
    species = [["Gadwall"], *[[]] * 9]
    weights = network.fit(Medium.AUDIO, features[:200], label, group=label, class_species=species, named_scores=named)
    assert weights == NamedWeights(share=0.0, unnamed=0.0, is_measured=False)
    likely = network.eval()(features[200:], Medium.AUDIO)[1]
    assert (likely.argmax(dim=1) == label).all()


def test_a_guessed_share_is_the_smaller_the_fewer_classes_are_named():
    features, label = scored(torch.arange(12) % 4, columns=[0, 1, 2, 3]), torch.arange(12) % 4
    own = [[0], [1], [2], [3]]
    shares = [guess_share(features, label, column=columns(*own[:n], *[[]] * (4 - n))) for n in range(5)]
    assert shares == pytest.approx([0.0, 0.0, 0.5, 0.75, 1.0])


def test_a_class_without_rows_is_as_likely_as_its_name_says():
    named = named_scores([5], [2], [0], label=[0, 1], share=0.25)
    features, learned = random(9, 6).abs(), random(9, 3, seed=2)
    likely = named.mix_with(learned, features, weight=1.0).softmax(dim=1)
    torch.testing.assert_close(likely[:, 2], named(features).softmax(dim=1)[:, 2])
    met = (0.75 * learned + 0.25 * named(features))[:, :2].softmax(dim=1)
    torch.testing.assert_close(likely[:, :2], met * (1 - likely[:, 2:]))


def test_a_class_without_rows_and_without_a_name_keeps_its_share():
    named = named_scores([5], [2], [], label=[0, 1], share=0.25)
    likely = named.mix_with(random(9, 3), random(9, 6).abs(), weight=1.0).softmax(dim=1)
    torch.testing.assert_close(likely[:, 2], torch.full((9,), 1 / 3))


def test_the_learned_probability_stands_for_a_name_that_is_not_known():
    named = named_scores([5], [2], [], label=[0, 1, 2], share=0.25, unnamed=-2.0)
    features, learned = random(9, 6).abs(), random(9, 3)
    by_name = named(features)
    by_name[:, 2] = learned.log_softmax(dim=1)[:, 2] - 2.0
    torch.testing.assert_close(named.mix_with(learned, features, weight=1.0), 0.75 * learned + 0.25 * by_name)


SEEDS = st.integers(min_value=0, max_value=10_000)


@given(seed=SEEDS, share=st.floats(0, 1), is_named=st.lists(st.booleans(), min_size=4, max_size=4))
def test_renaming_a_class_changes_no_logit_of_another(seed, share, is_named):
    own = [[index] if is_known else [] for index, is_known in enumerate(is_named)]
    features, learned = random(5, 6, seed=seed).abs(), random(5, 4, seed=seed + 1)
    label = [0, 1, 2, 3]
    before = named_scores(*own, label=label, share=share).mix_with(learned, features, weight=1.0)
    own[1] = [] if own[1] else [1]  # the class gets a name that the encoder does not know, or one that it knows
    after = named_scores(*own, label=label, share=share).mix_with(learned, features, weight=1.0)
    others = torch.tensor([0, 2, 3])
    torch.testing.assert_close(after[:, others], before[:, others])


@given(seed=SEEDS, share=st.floats(0, 1), is_known=st.booleans())
def test_a_class_without_rows_changes_no_order_of_the_others(seed, share, is_known):
    features, learned = random(5, 6, seed=seed).abs(), random(5, 4, seed=seed + 1)
    label = [0, 1, 2]
    before = named_scores([0], [], [2], label=label, share=share).mix_with(learned[:, :3], features, weight=1.0)
    more = named_scores([0], [], [2], [3] if is_known else [], label=label, share=share)
    after = more.mix_with(learned, features, weight=1.0)[:, :3]
    torch.testing.assert_close(after.log_softmax(dim=1), before.log_softmax(dim=1))


def test_a_linear_classifier_is_the_same_with_a_class_that_has_no_rows():
    rows, label = random(30, 5), torch.arange(30) % 3
    few, more = LinearClassifier(5, class_count=3), LinearClassifier(5, class_count=4)
    few.fit(rows, label)
    more.fit(rows, label + (label > 0))  # the second class has no rows
    torch.testing.assert_close(more(rows)[:, [0, 2, 3]], few(rows))


def test_a_class_known_in_one_medium_is_not_excluded_in_another():
    torch.manual_seed(0)
    dims = {Medium.AUDIO: 6, Medium.TEXT: 6}
    network = SharedSpace(input_dims=dims, class_count=3, size=shared_space_size(dim=16, component_count=4))
    label = torch.arange(20) % 2  # the third class has neither recordings nor texts
    for medium in dims:
        network.fit(medium, random(20, 6), label)
        likely = network.eval()(random(9, 6, seed=3), medium)[1].softmax(dim=1)
        torch.testing.assert_close(likely[:, 2], torch.full((9,), 1 / 3))


KINDS = st.lists(st.sampled_from(["named", "unnamed"]), min_size=3, max_size=6)


@given(seed=SEEDS, share=st.floats(0, 1), met=KINDS, unmet=KINDS)
def test_a_class_without_rows_and_without_a_name_is_as_likely_as_the_mean_of_the_others(seed, share, met, unmet):
    kinds = [*met, *unmet]
    own = [[index] if kind == "named" else [] for index, kind in enumerate(kinds)]
    named = named_scores(*own, label=list(range(len(met))), share=share)
    learned = 9 * random(5, len(kinds), seed=seed)
    likely = named.mix_with(learned, random(5, len(kinds), seed=seed + 1).abs(), weight=1.0).softmax(dim=1)
    unknown = [index for index, kind in enumerate(kinds) if index >= len(met) and kind == "unnamed"]
    torch.testing.assert_close(likely[:, unknown], torch.full((5, len(unknown)), 1 / len(kinds)))


@given(seed=SEEDS, share=st.floats(0, 1), met=KINDS, unmet_count=st.integers(1, 8))
def test_names_of_classes_without_rows_leave_classes_without_names_their_part(seed, share, met, unmet_count):
    """Nothing compares a class known by rows alone with one known by name alone."""
    kinds = [*met, *["named"] * unmet_count]
    own = [[index] if kind == "named" else [] for index, kind in enumerate(kinds)]
    named = named_scores(*own, label=list(range(len(met))), share=share)
    features = random(5, len(kinds), seed=seed).abs()
    likely = named.mix_with(random(5, len(kinds), seed=seed + 1), features, weight=1.0).softmax(dim=1)
    least = met.count("unnamed") / len(kinds)
    assert (likely[:, : len(met)].sum(dim=1) >= least - 1e-5).all()


def test_eight_classes_known_by_name_alone_do_not_exclude_two_known_by_rows_alone():
    named = named_scores([], [], *([index] for index in range(8)), label=[0, 1])
    features = torch.full((1, 8), 0.02)  # the encoder hears none of the eight
    likely = named.mix_with(torch.tensor([[5.0, *[0.0] * 9]]), features, weight=1.0).softmax(dim=1)
    torch.testing.assert_close(likely[:, :2].sum(), torch.tensor(0.2))
    assert likely.argmax() == 0


def test_a_class_without_a_name_is_found_beside_named_ones():
    # The encoder tells two classes by name and puts the rows of the third anywhere; the features tell all three.
    case = training_case(by_name=False, by_features=True)
    case["column"] = columns([5], [2], [])
    weights = fit_named_weights(
        case["features"], case["rows"], case["label"], group=case["group"], column=case["column"], linear_weight=1.0
    )
    linear, named = LinearClassifier(8, class_count=3), NamedScores(3)
    linear.fit(case["rows"], case["label"])
    named.fit(case["label"], column=case["column"], unnamed=weights.unnamed)
    named.share.fill_(weights.share)
    mixed = named.mix_with(linear(case["rows"]), case["features"], weight=1.0)
    assert (mixed.argmax(dim=1) == case["label"]).float().mean() > 0.95


def test_classes_without_a_name_are_still_recognized_where_half_have_one():
    # 26 classes, two groups each. The encoder knows 13 of them, and takes each other one for its look-alike at .03.
    generator = torch.Generator().manual_seed(0)
    label, group = torch.arange(26).repeat_interleave(4), torch.arange(52).repeat_interleave(2)
    centers = torch.randn(26, 64, generator=generator)
    score = torch.full((104, 13), 1e-4)
    score[torch.arange(52), label[:52]] = 0.95
    score[torch.arange(52, 104), label[52:] - 13] = 0.03
    column = match_names([[f"bird {n}"] if n < 13 else [] for n in range(26)], {f"bird {n}": n for n in range(13)})
    rows, unseen = (centers[label] + torch.randn(104, 64, generator=generator) for _ in range(2))
    weights = fit_named_weights(score.sqrt(), rows, label, group=group, column=column, linear_weight=1.0)
    linear, named = LinearClassifier(64, class_count=26), NamedScores(26)
    linear.fit(rows, label)
    named.fit(label, column=column, unnamed=weights.unnamed)
    named.share.fill_(weights.share)
    mixed = named.mix_with(linear(unseen), score.sqrt(), weight=1.0)
    assert weights.is_measured
    assert (mixed.argmax(dim=1) == label).float().mean() > 0.98


def test_shared_space_in_training_scores_by_the_head_alone():
    torch.manual_seed(0)
    network = SharedSpace(
        input_dims={Medium.TEXT: 6}, class_count=3, size=shared_space_size(dim=16, dropout=0.0, input_dropout=0.0)
    )
    rows, label = random(12, 6), torch.arange(12) % 3
    before = network.train()(rows, Medium.TEXT)[1]
    network._heads["text"].linear.fit(rows, label)
    torch.testing.assert_close(network(rows, Medium.TEXT)[1], before)
    assert not torch.allclose(network.eval()(rows, Medium.TEXT)[1], before)


# ---------------------------------------------------------------- names that encoders know


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Red_winged_Blackbird", "Red-winged Blackbird"),
        ("001.Black_footed_Albatross", "Black-footed Albatross"),
        ("Swainson_Warbler", "Swainson's Warbler"),
        ("Grey Catbird", "gray_catbird"),
        ("Agelaius phoeniceus", "AGELAIUS PHOENICEUS"),
    ],
)
def test_names_that_differ_in_spelling_only_are_one(one, other):
    assert normalize_name(one) == normalize_name(other)


@given(st.text(max_size=40))
def test_normalize_name_of_a_normalized_name_changes_nothing(name):
    assert normalize_name(normalize_name(name)) == normalize_name(name)


def test_match_names_finds_the_columns_of_each_class():
    scores = {"Cyanocitta cristata": 4, "Blue Jay": 4, "Gadwall": 9, "Steller's Jay": 5}
    names = [["Gadwall"], ["blue_jays", "Steller's Jay"], [], ["Cyanocitta_cristata", "Blue Jay"]]
    assert match_names(names, scores)[:, :3].tolist() == [[9, -1, -1], [4, 5, -1], [-1, -1, -1], [4, -1, -1]]
    assert match_names([["Gadwall"]], {}).tolist() == [[-1] * MOST_SPECIES]


def embedding_of(named_scores, *, dim=256):
    embedding = NameEmbedding(len(set(named_scores.values())), dim=dim)
    embedding.fit(named_scores)
    return embedding


def test_items_of_two_encoders_meet_where_both_give_them_one_name():
    of_sounds = embedding_of({"Turdus merula": 1, "Common Blackbird": 1, "Erithacus rubecula": 2, "European Robin": 2})
    of_images = embedding_of({"European Robin": 0, "Erithacus rubecula": 0, "Common Blackbird": 3, "Turdus merula": 3})
    blackbird, robin = of_sounds(torch.tensor([[9.0, 1.0, 0.0], [9.0, 0.0, 1.0]]))
    torch.testing.assert_close(of_images(torch.tensor([[0.0, 5.0, 5.0, 1.0]]))[0], blackbird)
    torch.testing.assert_close(of_images(torch.tensor([[0.5, 5.0, 5.0, 0.0]]))[0], robin)
    assert abs(float(blackbird @ robin)) < 0.25


def test_items_meet_by_one_of_two_names_where_the_other_has_changed():
    old, new = embedding_of({"Picoides pubescens": 0, "Downy Woodpecker": 0}), embedding_of({"downy_woodpecker": 0})
    (one,), (other,) = old(torch.ones(1, 1)), new(torch.ones(1, 1))
    assert float(one @ other) == pytest.approx(0.5**0.5, abs=0.1)


@given(st.integers(min_value=0, max_value=10_000))
def test_the_product_of_two_items_is_about_their_bhattacharyya_coefficient(seed):
    generator = torch.Generator().manual_seed(seed)
    embedding = embedding_of({f"species {'abcdefghijklmnop'[number]}": number for number in range(16)}, dim=512)
    root = (4 * torch.rand(2, 16, generator=generator)).softmax(dim=1).sqrt()
    one, other = embedding(root)
    assert float(one @ other) == pytest.approx(float(root[0] @ root[1]), abs=0.35)


def test_a_name_in_two_spellings_counts_once():
    twice = embedding_of({"Picoides pubescens": 0, "Downy Woodpecker": 0, "downy_woodpecker": 0})
    once = embedding_of({"Picoides pubescens": 0, "Downy Woodpecker": 0})
    assert torch.equal(twice(torch.ones(1, 1)), once(torch.ones(1, 1)))


def test_names_are_the_same_in_every_process():
    # printf 'blue jay' | b2sum --length 8 says 08: one bit of eight is set, the fourth.
    expected = [[-1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0]]
    assert embedding_of({"Blue Jay": 0}, dim=8).directions.sign().tolist() == expected


def test_a_space_with_named_scores_holds_species_that_training_never_saw():
    named = {f"bird {letter}": column for column, letter in enumerate("abcdef")}
    dims = {Medium.IMAGE: 6, Medium.AUDIO: 6}
    size = shared_space_size(dim=16, component_count=6, private_dim=0, name_weight=5.0)
    network = SharedSpace(input_dims=dims, class_count=2, named_counts=dict.fromkeys(dims, 6), size=size).eval()
    label = torch.arange(20) % 2
    for medium in dims:
        network.fit(medium, scored(label, columns=[0, 1]), label, named_scores=named)
    unseen = torch.eye(6)[2:].sqrt()
    image, audio = (network(unseen, medium)[0] for medium in dims)
    assert (image @ audio.T).argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_an_item_of_a_medium_without_names_lies_by_the_names_of_the_classes_it_may_be_of():
    dims, label = {Medium.IMAGE: 6, Medium.TEXT: 5}, torch.arange(20) % 2
    size = shared_space_size(dim=16, component_count=5, private_dim=0, name_weight=100.0, posterior_weight=0.0)
    network = SharedSpace(input_dims=dims, class_count=2, named_counts={Medium.IMAGE: 6}, size=size).eval()
    network.fit(Medium.TEXT, 9 * torch.nn.functional.one_hot(label, 5).float(), label)
    network.fit(
        Medium.IMAGE,
        scored(label, columns=[4, 1]),
        label,
        named_scores={f"bird {each}": column for column, each in enumerate("abcdef")},
    )
    text = network(9 * torch.eye(5)[:2], Medium.TEXT)[0]
    image = network(torch.eye(6), Medium.IMAGE)[0]
    assert (text @ image.T).argmax(dim=1).tolist() == [4, 1]


def test_a_space_whose_encoders_name_nothing_has_no_part_for_names():
    network = SharedSpace(
        input_dims={Medium.TEXT: 5}, class_count=2, named_counts={Medium.TEXT: 0}, size=shared_space_size()
    )
    assert network.dim == 256 + 64


def test_a_space_with_named_scores_comes_back_from_its_state():
    size = shared_space_size(dim=16, component_count=6)
    network = SharedSpace(input_dims={Medium.AUDIO: 6}, class_count=3, named_counts={Medium.AUDIO: 4}, size=size)
    label = torch.arange(12) % 3
    network.fit(Medium.AUDIO, random(12, 6).abs(), label, named_scores={"a": 1, "b": 2, "c": 4, "d": 5})
    state = network.state_dict()
    counts = SharedSpace.read_named_counts(state)
    assert counts == {Medium.AUDIO: 4}
    again = SharedSpace(input_dims={Medium.AUDIO: 6}, class_count=3, named_counts=counts, size=size)
    again.load_state_dict(state)
    rows = random(4, 6, seed=2).abs()
    torch.testing.assert_close(again.eval()(rows, Medium.AUDIO), network.eval()(rows, Medium.AUDIO))
    assert again.dim == 16 + 64 + 128
