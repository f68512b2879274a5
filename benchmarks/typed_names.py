# ruff: noqa: E501 - the lists of texts have one line for many
"""Names as people type them, nonsense, off-topic words, and real descriptions, asked of a gallery.

    python benchmarks/typed_names.py GALLERY --manifest MANIFEST [--forms 300] [--seed 0]

A script makes typed forms from the class names of the manifest: parts, plurals, errors of one and of two letters, beginnings
of words as somebody types them, scientific names, German names. A form counts as right where a class that it can mean is among
the first three that are offered, and, for the answer to the whole text, where the search names this class or one of those that
bear the part. The German names come from a taxonomy beside the gallery, as an owner would give them: `--german FILE` writes one.
"""

import argparse
import itertools
import random
import string
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from names import read_table

import fieldmark
from fieldmark import Gallery, Medium, Split
from fieldmark.data.taxonomy import Taxon, Taxonomy, write_taxonomy
from fieldmark.data.world_list import find_listed_names
from fieldmark.gallery.naming.typed_names import TypedNames
from fieldmark.gallery.search.result import SearchResult

KINDS = (
    "part",
    "plural",
    "one error",
    "two errors",
    "beginning",
    "scientific",
    "scientific, one error",
    "German",
    "German, one error",
)
GERMAN = {
    "Bobolink": "Bobolink", "Brown Creeper": "Andenbaumläufer", "Cardinal": "Rotkardinal", "European Goldfinch": "Stieglitz",
    "Pied billed Grebe": "Bindentaucher", "Red headed Woodpecker": "Rotkopfspecht", "Rose breasted Grosbeak": "Rosenbrust-Kernknacker",
}  # fmt: skip
"""German names of species that `benchmarks/names.py` has none for."""
SCIENTIFIC = {
    "Bobolink": "Dolichonyx oryzivorus", "Brown Creeper": "Certhia americana", "Cardinal": "Cardinalis cardinalis",
    "European Goldfinch": "Carduelis carduelis", "Pied billed Grebe": "Podilymbus podiceps",
    "Red headed Woodpecker": "Melanerpes erythrocephalus", "Rose breasted Grosbeak": "Pheucticus ludovicianus",
}  # fmt: skip
OFF_TOPIC_SUBJECTS = (
    "how to bake sourdough bread", "quarterly tax report for small companies", "best pizza in Naples", "cheap flights to Lisbon",
    "the history of the Roman empire", "a recipe for tomato soup", "fix a flat bicycle tire", "python list comprehension", "stock prices of last week",
    "who won the football match", "a love letter", "mortgage rates", "learn to play the guitar", "weather in Berlin tomorrow",
    "a red sports car", "electric cars with long range", "the president gave a speech", "train timetable to Paris", "install a printer driver",
    "a leather sofa for the living room", "the rules of chess", "world war two documentary", "how to tie a tie", "a wedding dress in white silk",
    "a doctor's appointment next Monday", "blood pressure medication", "the theory of relativity", "solve a quadratic equation", "a glass of red wine",
    "hotel booking in Rome", "reset my password", "the meaning of life", "a black laptop with a bright screen", "server error five hundred",
    "a yellow taxi in New York", "brown leather shoes", "a blue cotton shirt", "white kitchen cabinets", "running shoes on sale", "the price of gold",
    "a funny cat video", "dog training tips", "a horse race in England", "a great white shark", "a goldfish in a bowl", "how to milk a cow",
    "an elephant in the zoo", "a green tree frog", "spiders in the basement", "a honey bee on a flower", "roses in the garden", "how to grow tomatoes",
    "an oak tree in autumn", "mushrooms in the forest", "a mountain lake at sunset", "waves at the beach", "the surface of the moon", "a steam locomotive",
    "an aircraft carrier", "a violin concerto", "jazz music from the fifties", "lyrics of a pop song", "a film by a French director", "a novel about a detective",
    "homework for the math class", "a job interview", "cover letter example", "union strike in the harbor", "the parliament voted on the law",
    "a court ruling on privacy", "how much is the rent", "paint the bedroom wall", "a broken washing machine", "the oven does not heat",
    "chocolate cake with cherries", "coffee without sugar", "vegan burgers", "a bottle of olive oil", "salad dressing", "breakfast in bed",
    "yoga for beginners", "a marathon in under four hours", "tennis racket strings", "a basketball player", "swimming pool opening hours", "ski resort in the Alps",
    "a tent for two people", "a map of the subway", "a passport photo", "visa for Japan", "currency exchange", "an insurance policy", "a bank transfer",
    "a phone with a good camera", "wireless headphones", "a birthday present for my father", "school holidays", "a university degree",
    "a church in the village", "the mayor opened the bridge", "traffic jam on the highway", "a parking ticket",
)  # fmt: skip
SYLLABLES = (
    "bra",
    "flo",
    "ze",
    "qui",
    "mur",
    "tak",
    "wop",
    "nif",
    "gla",
    "xor",
    "den",
    "puk",
    "lim",
    "sha",
    "vro",
    "jeb",
)


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--forms", type=int, default=300)
    parser.add_argument("--nonsense", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--german", type=Path, help="write a taxonomy with German names of the classes to this file, and stop"
    )
    parser.add_argument("--errors", action="store_true", help="list what was wrong")
    arguments = parser.parse_args()
    items = fieldmark.read_manifest(arguments.manifest)
    classes = sorted({item.class_name for item in items if item.class_name})
    if arguments.german is not None:
        write_taxonomy(
            Taxonomy(tuple(Taxon(each, synonyms=(german,)) for each in classes if (german := get_german(each)))),
            arguments.german,
        )
        return
    gallery = Gallery.open(arguments.gallery)
    random_state = random.Random(arguments.seed)
    print_forms(gallery, classes, count=arguments.forms, random_state=random_state, shows_errors=arguments.errors)
    print_refused(gallery, "nonsense", make_nonsense(arguments.nonsense, random_state), shows_errors=arguments.errors)
    print_refused(gallery, "off topic", OFF_TOPIC_SUBJECTS, shows_errors=arguments.errors)
    texts = [item for item in items if item.medium is Medium.TEXT and item.split is Split.TEST]
    print_descriptions(gallery, texts, shows_errors=arguments.errors)


# ---------------------------------------------------------------- typed forms


def make_forms(classes: Sequence[str], random_state: random.Random) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Yield typed forms: the kind, the text, and the classes that it can mean."""
    for class_name in classes:
        name = class_name.replace("_", " ")
        words = name.split()
        if len(words) > 1:
            yield "part", words[-1].lower(), frozenset(each for each in classes if each.split("_")[-1] == words[-1])
            yield (
                "part",
                words[0].lower(),
                frozenset(each for each in classes if words[0].lower() in each.lower().split("_")),
            )
        own = frozenset({class_name})
        yield "plural", name.lower() + ("es" if name.endswith(("ch", "s", "x")) else "s"), own
        for _ in range(2):
            yield "one error", misspell(name.lower(), 1, random_state), own
            yield "two errors", misspell(name.lower(), 2, random_state), own
        yield "two errors", misspell(name.lower(), 2, random_state), own
        yield "beginning", " ".join(word[: max(3, len(word) // 2)] for word in words).lower(), own
        if scientific := get_scientific(class_name):
            yield "scientific", scientific, own
            yield "scientific, one error", misspell(scientific.lower(), 1, random_state), own
        if german := get_german(class_name):
            yield "German", german.lower(), own
            yield "German, one error", misspell(german.lower(), 1, random_state), own


def misspell(text: str, count: int, random_state: random.Random) -> str:
    """Swap, drop, double or replace letters of a text, as hasty hands do; spaces stay."""
    letters = list(text)
    for place in sorted(
        random_state.sample([i for i, each in enumerate(letters) if each.isalpha()], count), reverse=True
    ):
        match random_state.randrange(4):
            case 0 if (
                place + 1 < len(letters) and letters[place + 1].isalpha() and letters[place + 1] != letters[place]
            ):
                letters[place], letters[place + 1] = letters[place + 1], letters[place]
            case 1:
                del letters[place]
            case 2:
                letters.insert(place, letters[place])
            case _:
                letters[place] = random_state.choice(
                    [each for each in string.ascii_lowercase if each != letters[place]]
                )
    return "".join(letters)


_TABLE = {each.english.replace("'s", "").replace("-", " "): each for each in read_table()}


def get_german(class_name: str) -> str | None:
    """The German name of a class."""
    name = class_name.replace("_", " ")
    return GERMAN.get(name) or (_TABLE[name].others[0] if name in _TABLE else None)


def get_scientific(class_name: str) -> str | None:
    """The scientific name of a class."""
    name = class_name.replace("_", " ")
    if name in _TABLE or name in SCIENTIFIC:
        return SCIENTIFIC.get(name) or _TABLE[name].scientific
    return next((names[0] for names in find_listed_names([[name]])), None)


def print_forms(
    gallery: Gallery, classes: Sequence[str], *, count: int, random_state: random.Random, shows_errors: bool
) -> None:
    """Print by kind in how many forms a class that is meant is among the first three, and named by a search."""
    forms = list(dict.fromkeys(make_forms(classes, random_state)))
    random_state.shuffle(forms)
    names = gallery.read_names()
    same = {each: find_same(each, names) for each in classes}
    offered: defaultdict[str, list[bool]] = defaultdict(list)
    named: defaultdict[str, list[bool]] = defaultdict(list)
    for kind, text, meant in forms[:count]:
        wanted = {name for each in meant for name in same[each]}
        found = [each.name for each in gallery.offer_names(text, limit=3)]
        offered[kind].append(bool(wanted & set(found)))
        result = gallery.search(text, k=3)
        read = {name for each in result.names for name in (each.class_name or each.name, each.name)}
        named[kind].append(bool(wanted & {*read, *names.index.meanings.known.find_all_names(read)}))
        if shows_errors and not (offered[kind][-1] and named[kind][-1]):
            print(f"  {kind}: {text!r}: offered {found}, named {[each.name for each in result.names]}")
    print("| form | offered among the first three | named by the search | forms |\n|---|---|---|---|")
    for kind in KINDS:
        if offered[kind]:
            print(f"| {kind} | {mean(offered[kind]):.3f} | {mean(named[kind]):.3f} | {len(offered[kind])} |")
    every, all_named = [list(itertools.chain.from_iterable(each.values())) for each in (offered, named)]
    print(f"| all | {mean(every):.3f} | {mean(all_named):.3f} | {len(every)} |")


def find_same(class_name: str, names: TypedNames) -> set[str]:
    """What the gallery calls a class: by its own name, or, without labels, by the name that encoders have for it."""
    scientific = get_scientific(class_name)
    same = {held.name for held in names.offers.held if class_name == held.name or scientific in held.names}
    return same or {class_name}


def mean(values: Sequence[bool]) -> float:
    """The share that is true."""
    return sum(values) / len(values)


# ---------------------------------------------------------------- words that say nothing here


def make_nonsense(count: int, random_state: random.Random) -> list[str]:
    """Make texts of one to five words that are none: keys hit at random, letters in rows, invented syllables."""
    rows = ("qwertyuiop", "asdfghjkl", "zxcvbnm")

    def word() -> str:
        match random_state.randrange(3):
            case 0:
                return "".join(random_state.choices(string.ascii_lowercase, k=random_state.randint(4, 9)))
            case 1:
                row = random_state.choice(rows)
                start = random_state.randrange(len(row) - 3)
                return row[start : start + random_state.randint(4, 6)]
            case _:
                return "".join(random_state.choices(SYLLABLES, k=random_state.randint(2, 4)))

    return [" ".join(word() for _ in range(random_state.randint(1, 5))) for _ in range(count)]


def describe_answer(result: SearchResult) -> str:
    """The answer to a text in a word."""
    if not result.is_understood:
        return "not understood"
    if not result.is_on_topic:
        return "off topic"
    answer = result.collection
    if answer is None:
        return "no answer"
    return "likely" if answer.is_likely else "not here" if answer.can_tell else "cannot tell"


def print_refused(gallery: Gallery, title: str, texts: Sequence[str], *, shows_errors: bool) -> None:
    """Print how many texts are said not to be understood or not to be here."""
    counts: Counter[str] = Counter()
    for text in texts:
        result = gallery.search(text, k=3)
        answer = describe_answer(result)
        counts[answer] += 1
        if shows_errors and answer not in ("not understood", "off topic", "not here"):
            print(
                f"  {answer}: {text!r}: {[each.name for each in result.names]} {[hit.class_name for hit in result.hits]}"
            )
    refused = counts["not understood"] + counts["off topic"] + counts["not here"]
    print(f"{title}: {refused} of {len(texts)} refused: {dict(counts)}")


def print_descriptions(gallery: Gallery, texts: Sequence[fieldmark.Item], *, shows_errors: bool) -> None:
    """Print how real descriptions fare: refused, read as names, and the right hits among the first five photos."""
    counts: Counter[str] = Counter()
    right, used = [], Counter[str]()
    for item in texts:
        result = gallery.search(
            item.text or "" if item.path is None else item.path.read_text(encoding="utf-8"), k=5, media=(Medium.IMAGE,)
        )
        answer = describe_answer(result)
        counts[answer] += 1
        if result.names:
            used[str(result.name_use)] += 1
        if shows_errors and (answer == "not understood" or result.names):
            print(
                f"  {answer}: {item.class_name}: {[each.name for each in result.names]} {str(item.text or item.path)[:90]!r}"
            )
        right.append(sum(hit.class_name == item.class_name for hit in result.hits) / 5)
    print(
        f"descriptions: {len(texts)}, right of the first five photos {sum(right) / len(right):.4f}, {dict(counts)}, read as names {dict(used)}"
    )


if __name__ == "__main__":
    main()
