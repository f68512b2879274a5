# ruff: noqa: E501 - the table of names has one line for each species
"""Names of classes: which are resolved, how altered names fare, and what a run is worth whose class names say nothing.

    python benchmarks/names.py ../shared/data/fgbirds/manifest.csv --config configs/fgbirds.toml --altered
    python benchmarks/names.py ../shared/data/fgbirds/manifest_core.csv --config configs/fgbirds.toml --renamed --out OUT

Without an option, the species of the manifest's classes are listed, as a run would list them. `--altered` resolves 300
altered names of 44 species: authors, scientific names of former genera, accents, possessives and plurals, and names in
German, French and Spanish, which a taxonomy tells. `--renamed` trains three times: with the names of the classes, with
names that no encoder has ("Class 17"), and without the encoders' names. Half of the classes, drawn by the seed, keep
training items of one medium only; the table shows their MAP, the mean over those classes.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

import fieldmark
from fieldmark import Medium, Split
from fieldmark.build import create_model, load_known_names
from fieldmark.data.naming import NameSources, describe_resolutions
from fieldmark.data.taxonomy import Taxon, Taxonomy
from fieldmark.embedding import FailureLog
from fieldmark.evaluation.result import Slice
from fieldmark.names import KnownNames, Resolution
from fieldmark.runtime import Runtime
from fieldmark.training_stages import read_items
from fieldmark.types import SilentReporter

ALTERED_COUNT = 300
NAMED_MEDIA = (Medium.IMAGE, Medium.AUDIO)


def main() -> None:
    """Measures what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--config", required=True)
    parser.add_argument("--altered", action="store_true")
    parser.add_argument("--renamed", action="store_true")
    parser.add_argument("--out", type=Path, help="folder of the runs of --renamed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    items = fieldmark.read_manifest(arguments.manifest)
    if arguments.renamed:
        config = partial(fieldmark.load_config, arguments.config)
        print_renamed(items, config=config, overrides=arguments.overrides, out=arguments.out, seed=arguments.seed)
    elif arguments.altered:
        known = load_known_names(fieldmark.load_config(arguments.config).model, media=NAMED_MEDIA)
        print_altered(known, seed=arguments.seed)
    else:
        print_resolutions(items, config=fieldmark.load_config(arguments.config))


def print_resolutions(items: Sequence[fieldmark.Item], *, config: fieldmark.Config) -> None:
    """Lists the classes that a person is to look at, and counts the reasons."""
    train = [item for item in items if item.split is Split.TRAIN and item.medium in NAMED_MEDIA]
    class_names = tuple(sorted({item.class_name for item in items if item.class_name is not None}))
    model = create_model(config, class_names=class_names, media=NAMED_MEDIA, device=torch.device("cpu"))
    runtime = replace(Runtime.from_environment(), reporter=SilentReporter())
    failures = FailureLog(total=len(train), allowed_share=1.0, reporter=runtime.reporter)
    read = read_items(train, model=model, names=NameSources(), failures=failures, runtime=runtime)
    print("\n".join(describe_resolutions(read.resolutions)))
    print(dict(Counter(each.reason.value for each in read.resolutions)))


# ---------------------------------------------------------------- altered names


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one species: facts, from the literature of ornithology."""

    english: str
    scientific: str
    author: str
    former: str
    others: tuple[str, ...]


TABLE = """
American Goldfinch|Spinus tristis|(Linnaeus, 1758)|Carduelis tristis|Goldzeisig|Chardonneret jaune|Jilguero yanqui
American Redstart|Setophaga ruticilla|(Linnaeus, 1758)||Schnäpperwaldsänger|Paruline flamboyante|Candelita norteña
Anna's Hummingbird|Calypte anna|(Lesson, 1829)||Annakolibri|Colibri d'Anna|Colibrí de Ana
Baltimore Oriole|Icterus galbula|(Linnaeus, 1758)||Baltimoretrupial|Oriole de Baltimore|Turpial de Baltimore
Barn Swallow|Hirundo rustica|Linnaeus, 1758||Rauchschwalbe|Hirondelle rustique|Golondrina común
Bay-breasted Warbler|Setophaga castanea|(Wilson, 1810)|Dendroica castanea|Braunbrust-Waldsänger|Paruline à poitrine baie|Reinita castaña
Belted Kingfisher|Megaceryle alcyon|(Linnaeus, 1758)|Ceryle alcyon|Gürtelfischer|Martin-pêcheur d'Amérique|Martín gigante norteamericano
Black-and-white Warbler|Mniotilta varia|(Linnaeus, 1766)||Kletterwaldsänger|Paruline noir et blanc|Reinita trepadora
Blue Jay|Cyanocitta cristata|(Linnaeus, 1758)||Blauhäher|Geai bleu|Chara azul
Brown Pelican|Pelecanus occidentalis|Linnaeus, 1766||Braunpelikan|Pélican brun|Pelícano pardo
Cape May Warbler|Setophaga tigrina|(Gmelin, 1789)|Dendroica tigrina|Tigerwaldsänger|Paruline tigrée|Reinita atigrada
Carolina Wren|Thryothorus ludovicianus|(Latham, 1790)||Carolinazaunkönig|Troglodyte de Caroline|Saltapared de Carolina
Cedar Waxwing|Bombycilla cedrorum|Vieillot, 1808||Zedernseidenschwanz|Jaseur d'Amérique|Ampelis americano
Cerulean Warbler|Setophaga cerulea|(Wilson, 1810)|Dendroica cerulea|Pappelwaldsänger|Paruline azurée|Reinita cerúlea
Chestnut-sided Warbler|Setophaga pensylvanica|(Linnaeus, 1766)|Dendroica pensylvanica|Gelbscheitel-Waldsänger|Paruline à flancs marron|Reinita de Pensilvania
Clark's Nutcracker|Nucifraga columbiana|(Wilson, 1811)||Kiefernhäher|Cassenoix d'Amérique|Cascanueces americano
Common Yellowthroat|Geothlypis trichas|(Linnaeus, 1766)||Weidengelbkehlchen|Paruline masquée|Mascarita común
Downy Woodpecker|Dryobates pubescens|(Linnaeus, 1766)|Picoides pubescens|Dunenspecht|Pic mineur|Pico pubescente
Eared Grebe|Podiceps nigricollis|Brehm, 1831||Schwarzhalstaucher|Grèbe à cou noir|Zampullín cuellinegro
Gadwall|Mareca strepera|(Linnaeus, 1758)|Anas strepera|Schnatterente|Canard chipeau|Ánade friso
Golden-winged Warbler|Vermivora chrysoptera|(Linnaeus, 1766)||Goldflügel-Waldsänger|Paruline à ailes dorées|Reinita alidorada
Gray Catbird|Dumetella carolinensis|(Linnaeus, 1766)||Katzendrossel|Moqueur chat|Maullador gris
Heermann's Gull|Larus heermanni|Cassin, 1852||Heermannmöwe|Goéland de Heermann|Gaviota mexicana
Hooded Merganser|Lophodytes cucullatus|(Linnaeus, 1758)|Mergus cucullatus|Kappensäger|Harle couronné|Serreta capuchona
Horned Lark|Eremophila alpestris|(Linnaeus, 1758)||Ohrenlerche|Alouette hausse-col|Alondra cornuda
Indigo Bunting|Passerina cyanea|(Linnaeus, 1766)||Indigofink|Passerin indigo|Azulillo índigo
Laysan Albatross|Phoebastria immutabilis|(Rothschild, 1893)|Diomedea immutabilis|Laysanalbatros|Albatros de Laysan|Albatros de Laysán
Magnolia Warbler|Setophaga magnolia|(Wilson, 1811)|Dendroica magnolia|Magnolienwaldsänger|Paruline à tête cendrée|Reinita cejiblanca
Mallard|Anas platyrhynchos|Linnaeus, 1758||Stockente|Canard colvert|Ánade azulón
Mourning Warbler|Geothlypis philadelphia|(Wilson, 1810)|Oporornis philadelphia|Graukopf-Waldsänger|Paruline triste|Reinita plañidera
Nashville Warbler|Leiothlypis ruficapilla|(Wilson, 1811)|Vermivora ruficapilla|Rubinfleck-Waldsänger|Paruline à joues grises|Reinita de Nashville
Orchard Oriole|Icterus spurius|(Linnaeus, 1766)||Gartentrupial|Oriole des vergers|Turpial castaño
Pileated Woodpecker|Dryocopus pileatus|(Linnaeus, 1758)|Hylatomus pileatus|Helmspecht|Grand Pic|Picamaderos norteamericano
Pine Grosbeak|Pinicola enucleator|(Linnaeus, 1758)||Hakengimpel|Durbec des sapins|Camachuelo picogrueso
Purple Finch|Haemorhous purpureus|(Gmelin, 1789)|Carpodacus purpureus|Purpurgimpel|Roselin pourpré|Camachuelo purpúreo
Red-winged Blackbird|Agelaius phoeniceus|(Linnaeus, 1766)||Rotflügelstärling|Carouge à épaulettes|Tordo sargento
Ruby-throated Hummingbird|Archilochus colubris|(Linnaeus, 1758)||Rubinkehlkolibri|Colibri à gorge rubis|Colibrí gorjirrubí
Scarlet Tanager|Piranga olivacea|(Gmelin, 1789)||Scharlachtangare|Piranga écarlate|Piranga escarlata
Tree Swallow|Tachycineta bicolor|(Vieillot, 1808)|Iridoprocne bicolor|Sumpfschwalbe|Hirondelle bicolore|Golondrina bicolor
Western Meadowlark|Sturnella neglecta|Audubon, 1844||Wiesenstärling|Sturnelle de l'Ouest|Pradero occidental
White-breasted Nuthatch|Sitta carolinensis|Latham, 1790||Carolinakleiber|Sittelle à poitrine blanche|Trepador pechiblanco
Wilson's Warbler|Cardellina pusilla|(Wilson, 1811)|Wilsonia pusilla|Mönchswaldsänger|Paruline à calotte noire|Reinita de Wilson
Yellow-headed Blackbird|Xanthocephalus xanthocephalus|(Bonaparte, 1826)||Brillenstärling|Carouge à tête jaune|Tordo cabeciamarillo
"""


def read_table() -> list[Names]:
    """The species of the table."""
    rows = [line.split("|") for line in TABLE.strip().splitlines()]
    return [Names(row[0], row[1], row[2], row[3], tuple(row[4:])) for row in rows]


def alter(names: Names) -> Iterator[tuple[str, str]]:
    """Yields altered names with the kind of each."""
    yield "author", f"{names.scientific} {names.author}"
    yield "author, as a file name", f"{names.scientific} {names.author}".lower().replace(" ", "_").replace(",", "")
    if names.former:
        yield "former genus", names.former
    last = names.english.replace("a", "a\u0301", 1)
    yield "accent", last
    yield "plural", names.english + ("es" if names.english.endswith(("ch", "s")) else "s")
    yield "possessive and hyphens", names.english.replace("'s", "s").replace("-", " ").replace(" ", "_")
    for name in names.others:
        yield "another language", name.upper()


def print_altered(known: KnownNames, *, seed: int) -> None:
    """Prints, by kind, how many altered names are resolved right, are listed as open, or are wrong."""
    table = read_table()
    taxonomy = Taxonomy(tuple(Taxon(names.english, synonyms=names.others) for names in table))
    cases = [(kind, altered, names) for names in table for kind, altered in alter(names)]
    chosen = np.random.default_rng(seed).permutation(len(cases))[:ALTERED_COUNT]
    counts: dict[str, Counter[str]] = {}
    for index in sorted(chosen.tolist()):
        kind, altered, names = cases[index]
        found = resolve(altered, known, taxonomy)
        right = known.choose_name(names.english)
        verdict = "right" if found.names == (right,) else "wrong" if found.is_resolved else "open"
        counts.setdefault(kind, Counter())[verdict] += 1
        if verdict != "right":
            print(f"{verdict}: {found.describe()}")
    for kind, own in counts.items():
        print(f"{kind:<24} {dict(own)}")
    total = sum(counts.values(), Counter())
    print(f"right {total['right']} of {total.total()}, open {total['open']}, wrong {total['wrong']}")


def resolve(name: str, known: KnownNames, taxonomy: Taxonomy) -> Resolution:
    """The resolution of a class of this name, with a taxonomy."""
    own = taxonomy.class_named(name)
    return known.resolve(name, other_names=() if own is None else (own,))


# ---------------------------------------------------------------- names that say nothing

WITHOUT_NAMES = ("model.named_weight=0.0", "model.name_weight=0.0")


def print_renamed(
    items: Sequence[fieldmark.Item],
    *,
    config: Callable[..., fieldmark.Config],
    overrides: Sequence[str],
    out: Path,
    seed: int,
) -> None:
    """Trains and prints the MAP of the classes with training items of one medium only, by direction."""
    names = sorted({item.class_name for item in items if item.class_name is not None})
    few = set(np.random.default_rng(seed).permutation(names)[: len(names) // 2].tolist())
    number = {name: f"Class {index:02}" for index, name in enumerate(names)}
    renamed = [replace(item, class_name=number[item.class_name or ""]) for item in items]
    cases = {
        "named": (items, few, overrides),
        "renamed": (renamed, {number[name] for name in few}, overrides),
        "without names": (items, few, (*overrides, *WITHOUT_NAMES)),
    }
    for medium in NAMED_MEDIA:
        runs = {}
        for title, (own, classes, chosen) in cases.items():
            kept = [
                item
                for item in own
                if item.split is Split.TEST or item.class_name not in classes or item.medium is medium
            ]
            folder = out / f"{medium}_{title.replace(' ', '_')}"
            runs[title] = measure(kept, classes, config=config(overrides=chosen), out=folder)
        print(f"\n{len(few)} classes with training items of {medium} only\n\n| direction | {' | '.join(runs)} |")
        print("|---|---|---|---|")
        for direction in next(iter(runs.values())):
            print(f"| {direction} | {' | '.join(f'{run[direction]:.3f}' for run in runs.values())} |", flush=True)


def measure(
    items: Sequence[fieldmark.Item], classes: set[str], *, config: fieldmark.Config, out: Path
) -> Mapping[str, float]:
    """The mean MAP over some classes, by direction, of a model trained on the training items."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "test").is_dir():
        fieldmark.write_manifest(items, out / "manifest.csv")
        fieldmark.train(out / "manifest.csv", out=out / "run", config=config)
        fieldmark.embed(out / "manifest.csv", checkpoint=out / "run", out=out / "test")
    evaluation = fieldmark.evaluate(out / "test")
    found = {}
    for direction in (*evaluation.directions, *evaluation.same_medium):
        by_class = direction.by_slice[Slice.CLASS]
        own = [mean.mean_average_precision for name, mean in by_class.items() if name in classes]
        if own and "all" not in direction.name and "video" not in direction.name:
            found[direction.name] = statistics.mean(own)
    return found


if __name__ == "__main__":
    main()
