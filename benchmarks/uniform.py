r"""The paper's experiment on real birds: one road for four media, from a trained trunk; and the preset at equal time.

    nice python benchmarks/uniform.py ../shared/data/fgbirds/manifest_core.csv \
        --trunk ../shared/models/inat_bird_mobilenet_v2 --preset configs/fgbirds.toml \
        --kept runs/uniform --out docs/results/uniform.md

FGCrossNet with a trained picture network as its trunk goes through the stages 0, c and r, in the released form and in
the repaired one, with each subset of the three constraints. Settings are chosen on items held out of train by group,
and never on test. Media are read once and kept as the small pictures that the network sees. A finished round is kept in
the folder `--kept` and never run twice, so the script can be stopped; `--page-only` writes the page from those that are
there.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import rounds
import torch
from PIL import Image
from rounds import ALL_MEDIA, REAL_MEDIA, Round
from torch import Tensor, nn

import fieldmark
from fieldmark.build import build_encoder
from fieldmark.build_networks import load_trunk
from fieldmark.config import FGCrossNetConfig
from fieldmark.data.manifest import read_manifest, write_manifest
from fieldmark.data.split import split_validation
from fieldmark.errors import NonFiniteEmbeddingError, NonFiniteLossError
from fieldmark.evaluation.protocol import PROTOCOLS, Settings
from fieldmark.evaluation.published import read_published
from fieldmark.evaluation.result import format_symbol
from fieldmark.media.loaders import load_segments
from fieldmark.models.backbone import BackboneFacts
from fieldmark.types import Form, Item, MediaLimits, Medium, Split
from fieldmark.workflows.evaluate import measure_folder

PIXELS = 80
"""Of the pictures; 448 in the paper."""
KEPT_PIXELS, RESIZE = 96, 110
"""Of the pictures that are kept, before and after the cut."""
FRAMES = 4
"""Of a video; 25 in the paper."""
FROZEN = ("conv_stem", *(f"layer.{index}" for index in range(7)))
ENCODED_EVERY = 25
"""Of how many items one is encoded again, to measure the time of the preset's encoders."""
KINDS = ("classification", "center", "ranking")
SUBSETS = tuple(kinds for size in (3, 2, 1) for kinds in combinations(KINDS, size))
RATES = (0.002, 0.005, 0.02, 0.05)
FIRST_RATES = RATES[1:3]
"""Tried for each recipe; the others where the best of those that were tried is at their edge."""
TWELVE = rounds.directions(ALL_MEDIA)
FOUR = [f"{medium}_to_all" for medium in ALL_MEDIA]
"""Names of the tasks between two media, and of those to all media."""
VALIDATION_SHARE = 0.25
SMALL = (
    f"model.resize_pixels={PIXELS}",
    f"model.crop_pixels={PIXELS}",
    f"model.text_length={PIXELS}",
    f"model.text_width={PIXELS}",
    f"model.max_frames={FRAMES}",
    "data.workers=0",
    "data.validation_share=0.0",
    "train.channels_last=true",
    "train.bf16='off'",
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One form of the recipe.

    Args:
        epochs: Of the stages 0, c and r; with these, all recipes go through about as many rows.
    """

    title: str
    preset: str
    epochs: tuple[int, int, int]
    overrides: tuple[str, ...] = ()


RELEASED = Recipe("released", "fgcrossnet_released", (1, 4, 4), ("train.step_epochs=1", "data.frame_rows=false"))
MIXED = Recipe(
    "released, but batches of common classes",
    "fgcrossnet_released",
    (1, 1, 1),
    ("data.order='classes'", "data.classes_per_batch=4", "data.items_per_class=1", "data.frame_rows=false"),
)
REPAIRED = Recipe("repaired", "fgcrossnet", (1, 1, 1))
RECIPES = (RELEASED, MIXED, REPAIRED)


@dataclass(frozen=True, slots=True)
class Found:
    """Figures of one round on the test split.

    Args:
        rounds: By protocol.
        seconds: Of processor time: to train and to embed.
        wall_seconds: Of both together.
        encoding_seconds: Of processor time, to compute what pretrained encoders say of all items; 0 without them.
    """

    rounds: Mapping[str, Round]
    seconds: tuple[float, float]
    wall_seconds: float
    encoding_seconds: float = 0.0

    def mean(self, names: Sequence[str], protocol: str = "strict") -> float:
        """Return the mean MAP of some tasks."""
        return statistics.mean(self.rounds[protocol].average_precision[name] for name in names)


def read_found(facts: Mapping[str, Any]) -> Found:
    """Return the figures that a kept file holds."""
    return Found(**{**facts, "rounds": {name: Round(**each) for name, each in facts["rounds"].items()}})


Rows = dict[tuple[str, tuple[str, ...]], list[Found]]
"""The rounds of each recipe and subset of constraints, seed by seed."""


def main() -> None:
    """Choose the rates, run the rows seed by seed, and write the page after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="of fgbirds")
    parser.add_argument("--trunk", type=Path, required=True, help="folder in the layout of transformers")
    parser.add_argument("--preset", required=True, help="config of the shared space")
    parser.add_argument("--kept", type=Path, required=True, help="folder of small pictures and finished rounds")
    parser.add_argument("--seeds", type=int, default=3, choices=sorted(rounds.STUDENT_T))
    parser.add_argument("--subset-seeds", type=int, default=1, help="of the rows with fewer than three constraints")
    parser.add_argument("--recipes", type=int, nargs="+", default=[0, 1, 2], help="which recipes to run, by number")
    parser.add_argument("--page-only", action="store_true", help="write the page from finished rounds alone")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(arguments)
    rows: Rows = {}
    preset: list[Found] = []
    for recipe, kinds, seed in list_rounds(arguments.seeds, arguments.subset_seeds):
        if RECIPES.index(recipe) not in arguments.recipes:
            continue
        found = bench.measure(recipe, kinds, seed=seed)
        if found is not None:
            rows.setdefault((recipe.title, kinds), []).append(found)
            print(f"{recipe.title}, {' + '.join(kinds)}, seed {seed}: {found.mean(TWELVE):.4f}", flush=True)
        if kinds == SUBSETS[0] and recipe is MIXED and (of_preset := bench.measure_preset(seed=seed)) is not None:
            preset.append(of_preset)
    if len(rows) > 1 and preset:
        rounds.write_lines(format_page(rows, preset, bench=bench), arguments.out)


def list_rounds(seeds: int, subset_seeds: int) -> Iterator[tuple[Recipe, tuple[str, ...], int]]:
    """Yield the rounds, those of all three constraints first."""
    for seed in range(seeds):
        yield from ((recipe, SUBSETS[0], seed) for recipe in RECIPES)
    for seed in range(subset_seeds):
        yield from ((recipe, kinds, seed) for kinds in SUBSETS[1:] for recipe in (RELEASED, REPAIRED))


class Bench:
    """The data, the settings that were chosen, and the rounds that are kept."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.kept: Path = arguments.kept
        self.validated: dict[tuple[str, float], float] = {}
        self.small = {
            preset: make_small(arguments.manifest, folder=self.kept / preset, preset=preset)
            for preset in ("fgcrossnet_released", "fgcrossnet")
        }
        pictures = [item for item in read_manifest(self.small["fgcrossnet"]) if item.medium is Medium.IMAGE]
        train = [item for item in pictures if item.split is Split.TRAIN]
        self.trunk = unfold_norms(arguments.trunk, train, out=self.kept / arguments.trunk.name)

    def configure(self, preset: str, *overrides: str) -> fieldmark.Config:
        """Return a preset at small size with the trained trunk."""
        trunk = (f"model.trunk='{self.trunk.resolve()}'", f"model.trunk_frozen={json.dumps(FROZEN)}")
        return fieldmark.load_config(preset, overrides=[*trunk, *SMALL, *overrides])

    def configure_round(
        self, recipe: Recipe, kinds: Sequence[str], *, rate: float, seed: int, overrides: Sequence[str] = ()
    ) -> fieldmark.Config:
        """Return the configuration of a round on small pictures, which are cut already."""
        chosen = ("model.crop_spectrograms=false", *recipe.overrides, f"train.lr={rate}", f"seed={seed}", *overrides)
        config = self.configure(recipe.preset, *chosen)
        full = [loss.kind for loss in config.losses if loss.kind.removeprefix("released_") in kinds]
        compact = [kind for kind in full if not kind.endswith("ranking")] or full
        first, center, ranking = config.stages
        stages = (
            first.model_copy(update={"epochs": recipe.epochs[0]}),
            center.model_copy(update={"epochs": recipe.epochs[1], "losses": tuple(compact)}),
            ranking.model_copy(update={"epochs": recipe.epochs[2], "losses": tuple(full)}),
        )
        return config.model_copy(update={"stages": stages})

    def choose_rate(self, recipe: Recipe) -> float | None:
        """Return the rate that is best on held-out items with all three constraints; None where it was not tried."""
        low, high = RATES.index(FIRST_RATES[0]), RATES.index(FIRST_RATES[-1]) + 1
        while True:
            if not all(self.validate(recipe, rate) for rate in RATES[low:high]):
                return None
            best = max(range(low, high), key=lambda number: self.validated[recipe.title, RATES[number]])
            if best == low > 0:
                low -= 1
            elif best == high - 1 < len(RATES) - 1:
                high += 1
            else:
                return RATES[best]

    def validate(self, recipe: Recipe, rate: float) -> bool:
        """Measure a rate on held-out items; False where only finished rounds are asked for and it is not one."""
        if (recipe.title, rate) in self.validated:
            return True
        held_out = hold_out(self.small[recipe.preset])
        config = self.configure_round(recipe, KINDS, rate=rate, seed=0)
        found = self.keep(config, lambda: run_if_finite(held_out, config), of="held out")
        if found is None:
            return False
        self.validated[recipe.title, rate] = read_found(found).mean(TWELVE) if found else -1.0
        print(f"{recipe.title}, rate {rate:g}: held out {self.validated[recipe.title, rate]:.4f}", flush=True)
        return True

    def measure(self, recipe: Recipe, kinds: tuple[str, ...], *, seed: int) -> Found | None:
        """Return a round; None where only finished rounds are asked for and it is not one."""
        rate = self.choose_rate(recipe)
        if rate is None:
            return None
        config = self.configure_round(recipe, kinds, rate=rate, seed=seed)
        found = self.keep(config, lambda: run_if_finite(self.small[recipe.preset], config))
        return read_found(found) if found else None

    def measure_preset(self, *, seed: int) -> Found | None:
        """Return a round of the preset; features of its encoders that the folder `cache` has are not computed again."""
        config = fieldmark.load_config(self.arguments.preset, overrides=["data.workers=0", f"seed={seed}"])
        os.environ["FIELDMARK_CACHE"] = str(self.kept / "cache")
        found = self.keep(config, lambda: asdict(run_preset(self.arguments.manifest, config)))
        return None if found is None else read_found(found)

    def keep(
        self, config: fieldmark.Config, measure: Callable[[], dict[str, Any]], *, of: str = "test"
    ) -> dict[str, Any] | None:
        """Return what was measured for a configuration before, or measure it now."""
        facts = (rounds.hash_file(self.arguments.manifest), config.to_json(), of)
        path = self.kept / f"{rounds.hash_texts(facts)}.json"
        if path.exists():
            return json.loads(path.read_text(encoding="utf-8"))
        if self.arguments.page_only:
            return None
        found = measure()
        draft = path.with_suffix(".part")
        draft.write_text(json.dumps(found, indent=1), encoding="utf-8")
        draft.replace(path)
        return found


def make_small(manifest: Path, *, folder: Path, preset: str) -> Path:
    """Write each picture, frame and spectrogram small and cut, once, and return the manifest of these."""
    small = folder / "manifest.csv"
    if not small.exists():
        sides = [f"model.{key}={KEPT_PIXELS}" for key in ("crop_pixels", "text_length", "text_width")]
        wanted = [f"model.resize_pixels={RESIZE}", f"model.max_frames={FRAMES}", *sides]
        config = fieldmark.load_config(preset, overrides=wanted)
        write_manifest([_shrink(item, folder=folder, config=config) for item in read_manifest(manifest)], small)
    return small


def unfold_norms(trunk: Path, items: Sequence[Item], *, out: Path) -> Path:
    """Give the batch norms of a trunk statistics of training photos, and return its new folder.

    The norms of a network that was converted from a file for inference may be folded: mean 0, variance 1, and all they
    did is in scale and offset. It would fall apart at the first step that normalizes by the rows of a batch. With the
    statistics of its inputs as its own, and scale and offset set off against them, it computes what it did before.
    """
    if out.exists():
        return out
    network, facts = load_trunk_from(trunk)
    sums: dict[nn.BatchNorm2d, list[Tensor]] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        columns = inputs[0].double().transpose(0, 1).flatten(1)
        seen = torch.stack([torch.full((len(columns),), columns.shape[1]), columns.sum(1), columns.square().sum(1)])
        sums[norm] = [sums[norm][0] + seen] if norm in sums else [seen]

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (facts.mean, facts.std))
    with torch.no_grad():
        for start in range(0, len(items), 32):
            pixels = [_read_pixels(item) for item in items[start : start + 32]]
            network(pixel_values=(torch.stack(pixels) / 255 - mean) / std)
        for norm in norms:
            count, total, squares = sums[norm][0]
            center = total / count
            variance = squares / count - center.square()
            scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
            norm.bias.copy_(norm.bias + scale * (center - norm.running_mean))
            norm.weight.copy_(scale * (variance + norm.eps).sqrt())
            norm.running_mean.copy_(center)
            norm.running_var.copy_(variance)
    for hook in hooks:
        hook.remove()
    draft = out.with_name(f"{out.name}.part")
    network.save_pretrained(draft)
    shutil.copy(trunk / "preprocessor_config.json", draft)
    draft.rename(out)
    return out


def load_trunk_from(folder: Path) -> tuple[nn.Module, BackboneFacts]:
    """Return the network in a folder and its facts."""
    sides = [f"model.{key}={PIXELS}" for key in ("crop_pixels", "resize_pixels", "text_length", "text_width")]
    config = fieldmark.load_config("fgcrossnet", overrides=[f"model.trunk='{folder.resolve()}'", *sides])
    assert isinstance(config.model, FGCrossNetConfig)
    trained = load_trunk(config.model)
    assert trained is not None
    return trained.network, trained.facts


def _read_pixels(item: Item) -> Tensor:
    assert item.path is not None
    with Image.open(item.path) as picture:
        small = np.asarray(picture.convert("RGB").resize((PIXELS, PIXELS)))
    return torch.from_numpy(small.copy()).permute(2, 0, 1)


def hold_out(small: Path) -> Path:
    """Return a manifest of train alone, some of which, by group, is to be embedded and measured as if it were test."""
    path = small.with_name("held_out.csv")
    if not path.exists():
        train = [item for item in read_manifest(small) if item.split is Split.TRAIN]
        divided = split_validation(train, share=VALIDATION_SHARE, generator=np.random.default_rng(0))
        held_out = [replace(each, split=Split.TEST) if each.split is Split.VALIDATION else each for each in divided]
        write_manifest(held_out, path)
    return path


def _shrink(item: Item, *, folder: Path, config: fieldmark.Config) -> Item:
    """Return an item whose file holds the pictures that an encoder makes of it; a text stays as it is."""
    if item.medium is Medium.TEXT:
        return item
    stem = folder / item.item_id
    form = {Medium.IMAGE: (), Medium.AUDIO: (("form", Form.SPECTROGRAM),), Medium.VIDEO: (("form", Form.FRAMES),)}
    name = "{}-*.png" if item.medium is Medium.VIDEO else "{}.png"
    path = stem.with_name(name.format(stem.name))
    first = stem.with_name(path.name.replace("*", "0"))
    if not first.exists():
        encoder = build_encoder(config.model, item.medium)
        stem.parent.mkdir(parents=True, exist_ok=True)
        pictures = encoder.encode(list(load_segments(item, decoding=encoder.decoding, limits=MediaLimits())))
        for number, pixels in reversed(list(enumerate(pictures))):  # the first one last: it says that all are there
            target = stem.with_name(path.name.replace("*", str(number)))
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(target)
    return replace(item, path=path, extra=(*item.extra, *form[item.medium]), start_seconds=None, end_seconds=None)


def run_if_finite(manifest: Path, config: fieldmark.Config) -> dict[str, Any]:
    """Return the figures of a round; none where its numbers did not stay finite."""
    try:
        return asdict(run(manifest, config))
    except (NonFiniteLossError, NonFiniteEmbeddingError):
        return {}


def run(manifest: Path, config: fieldmark.Config) -> Found:
    """Train, embed the test split, and evaluate by both protocols."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        wall, start = time.monotonic(), time.process_time()
        report = fieldmark.train(manifest, out=folder, config=config)
        trained = time.process_time()
        fieldmark.embed(manifest, checkpoint=folder, out=folder / "test")
        embedded, wall = time.process_time(), time.monotonic() - wall
        measured = {
            protocol: rounds.summarize(
                measure_folder(folder / "test", settings=Settings(protocol=protocol)).measurement,
                steps=report.result.steps,
                seconds=trained - start,
            )
            for protocol in PROTOCOLS
        }
    return Found(measured, seconds=(trained - start, embedded - trained), wall_seconds=wall)


def run_preset(manifest: Path, config: fieldmark.Config) -> Found:
    """Run the preset, and measure on every so many items how long its encoders take."""
    return replace(run(manifest, config), encoding_seconds=measure_encoding(manifest, config))


def measure_encoding(manifest: Path, config: fieldmark.Config) -> float:
    """Return the processor time to read and encode all items, from one item of `ENCODED_EVERY` in each medium."""
    items, total = read_manifest(manifest), 0.0
    for medium in Medium:
        own = [item for item in items if item.medium is medium]
        encoder = build_encoder(config.model, medium)
        sample = own[::ENCODED_EVERY]
        for timed in (False, True):  # the first item alone, to load what is loaded late
            start = time.process_time()
            for item in sample if timed else sample[:1]:
                encoder.encode(list(load_segments(item, decoding=encoder.decoding, limits=MediaLimits())))
        total += (time.process_time() - start) * len(own) / len(sample)
    return total


def format_page(rows: Rows, preset: Sequence[Found], *, bench: Bench) -> Iterator[str]:
    """Format the page as Markdown."""
    arguments = bench.arguments
    main_rows = {recipe.title: rows[key] for recipe in RECIPES if (key := (recipe.title, SUBSETS[0])) in rows}
    any_round = next(iter(main_rows.values()))[0]
    counts = {
        name: ", ".join(f"{count:,} {medium}" for medium, count in each.counts.items())
        for name, each in any_round.rounds.items()
    }
    yield "# The uniform network on real birds, from a trained trunk"
    yield ""
    yield "Made by `python benchmarks/uniform.py MANIFEST --trunk TRUNK --preset PRESET --kept FOLDER"
    yield f"--seeds {arguments.seeds} --subset-seeds {arguments.subset_seeds}` from the core manifest of fgbirds."
    yield ""
    yield f"FGCrossNet with the trained trunk `{arguments.trunk.name}` in place of its ResNet-50 goes through the"
    yield "stages 0 (images, classification), c and r. The stage c has the constraints of the row without ranking, the"
    yield f"stage r all of the row. Test items, strict protocol: {counts['strict']}; paper protocol:"
    yield f"{counts['paper']}."
    yield ""
    yield "Smaller than in the paper:"
    yield ""
    yield f"- {PIXELS} pixels (kept as {KEPT_PIXELS}, cut from {RESIZE}) instead of 448 (cut from 512), texts of"
    yield f"{PIXELS}"
    yield f"  characters instead of 448, {FRAMES} frames of a video instead of 25; a video is one training row."
    yield f"- Epochs of the stages 0, c and r, 50 in the paper: {'; '.join(map(_show_epochs, RECIPES))}."
    yield "  An epoch of the released lists is as long as the shortest medium, and goes through the first items of the"
    yield "  others only, which are those of a few classes. With the released schedule the rate halves after each epoch"
    yield "  (released: every three of 50)."
    yield f"- The trunk's first modules keep their weights and statistics: `conv_stem` to `{FROZEN[-1]}`."
    yield ""
    yield from _format_rates(bench)
    yield from _format_rows(rows, preset)
    yield from _format_tasks(main_rows, preset)
    yield from _format_time(main_rows, preset)


def _show_epochs(recipe: Recipe) -> str:
    return f"{recipe.title} {', '.join(map(str, recipe.epochs))}"


def _format_rates(bench: Bench) -> Iterator[str]:
    titles = list(dict.fromkeys(title for title, _ in bench.validated))
    tried = {title: [rate for rate in RATES if (title, rate) in bench.validated] for title in titles}
    best = {title: max(rates, key=lambda rate: bench.validated[title, rate]) for title, rates in tried.items()}
    at_edge = [title for title in titles if best[title] in (RATES[0], RATES[-1])]
    yield f"The learning rate was chosen on {VALIDATION_SHARE:.0%} of train, held out by group, with all three"
    yield "constraints and the first seed: the mean MAP of the 12 tasks between two media. Two rates were tried for"
    yield "each recipe, and the next one where the best was at the edge. Still at the edge of all:"
    yield f"{', '.join(at_edge) or 'none'}. The rounds below train on all of train and keep the last epoch."
    yield ""
    yield f"| recipe | {' | '.join(f'{rate:g}' for rate in RATES)} |"
    yield "|---|" + "---|" * len(RATES)
    for title in titles:
        cells = [f"{bench.validated[title, rate]:.3f}" if rate in tried[title] else "" for rate in RATES]
        yield f"| {title} | {' | '.join(cells)} |"
    yield ""


def _format_rows(rows: Rows, preset: Sequence[Found]) -> Iterator[str]:
    chance = preset[0].rounds["strict"].chance
    yield "## The three constraints"
    yield ""
    yield "Mean MAP: 12 is over the tasks between two media, six over those between image, text and audio, 4 over those"
    yield f"to all media. A random ranking reaches {chance:.3f} in the 12. Strict protocol, and the paper's in the"
    yield "last two"
    yield "columns. Each interval covers 95 % over test items and seeds; with one seed, over items alone. The"
    yield "difference is"
    yield "in the 12, from all three constraints with the same recipe and seeds; its intervals are not adjusted for the"
    yield "number of rows."
    yield ""
    columns = ("recipe", "constraints", "seeds", "12", "interval", "difference", "interval", "six", "interval", "4")
    yield f"| {' | '.join((*columns, '12, paper', '4, paper'))} |"
    yield "|---|" + "---|" * 11
    for (title, kinds), found in (*rows.items(), (("preset", ()), preset)):
        whole = [] if kinds in (SUBSETS[0], ()) else rows[title, SUBSETS[0]][: len(found)]
        of_strict = [each.rounds["strict"] for each in found]
        difference = " | "
        if whole:
            less = [each.rounds["strict"] for each in whole]
            difference = rounds.show_mean_of_items(of_strict, TWELVE, less=less)
        cells = [
            title,
            " + ".join(kinds),
            str(len(found)),
            rounds.show_mean_of_items(of_strict, TWELVE),
            difference,
            rounds.show_mean_of_items(of_strict, rounds.directions(REAL_MEDIA)),
            *(
                f"{statistics.mean(each.mean(names, protocol) for each in found):.3f}"
                for names, protocol in ((FOUR, "strict"), (TWELVE, "paper"), (FOUR, "paper"))
            ),
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _format_tasks(main_rows: Mapping[str, Sequence[Found]], preset: Sequence[Found]) -> Iterator[str]:
    published = next(method for method in read_published().methods if method.name == "FGCrossNet")
    columns = {**main_rows, "preset": preset}
    names = list(published.map)
    yield "## The 16 tasks"
    yield ""
    yield "Mean over the seeds, all three constraints. Published: FGCrossNet on PKU FG-XMedia, 200 classes and some"
    yield "21,500 test items, so its figures are lower at equal quality; * marks columns that were probably exchanged"
    yield "in"
    yield "print."
    yield ""
    heads = [f"{title}, {protocol}" for protocol in ("paper", "strict") for title in columns]
    yield f"| task | published | {' | '.join(heads)} |"
    yield "|---|---|" + "---|" * (2 * len(columns))
    for name in names:
        symbol = format_symbol(name)
        mark = "*" if name in published.in_doubt else ""
        cells = [
            f"{statistics.mean(each.mean([name], protocol) for each in found):.3f}"
            for protocol in ("paper", "strict")
            for found in columns.values()
        ]
        yield f"| {symbol} | {published.map[name]:.3f}{mark} | {' | '.join(cells)} |"
    for title, names, key in (("mean of 12", TWELVE, "bi_modality"), ("mean of 4", FOUR, "multi_modality")):
        cells = [
            f"{statistics.mean(each.mean(names, protocol) for each in found):.3f}"
            for protocol in ("paper", "strict")
            for found in columns.values()
        ]
        yield f"| **{title}** | {published.average[key]:.3f} | {' | '.join(cells)} |"
    yield ""
    yield "Mean of 12 and mean of 4 with their intervals over test items and seeds:"
    yield ""
    yield "| | protocol | mean of 12 | 95 % interval | mean of 4 | 95 % interval |"
    yield "|---|---|---|---|---|---|"
    for title, found in columns.items():
        for protocol in ("paper", "strict"):
            measured = [each.rounds[protocol] for each in found]
            cells = [rounds.show_mean_of_items(measured, names) for names in (TWELVE, FOUR)]
            yield f"| {title} | {protocol} | {' | '.join(cells)} |"
    yield ""


def _format_time(main_rows: Mapping[str, Sequence[Found]], preset: Sequence[Found]) -> Iterator[str]:
    yield "## Time and memory"
    yield ""
    yield "Seconds of processor time of one thread, the mean of the rounds with all three constraints; the wall clock"
    yield "ran"
    yield "on a machine that others used too. Media are read beforehand for the uniform network, not for the preset."
    yield f"Encoding is the work of pretrained encoders on all items, once, measured on every {ENCODED_EVERY}th item"
    yield "of each"
    yield "medium; the trunk of the uniform network does that work in training and embedding."
    yield ""
    yield "| | steps | encode | train | embed test | all | wall clock, train and embed |"
    yield "|---|---|---|---|---|---|---|"
    for title, found in {**main_rows, "preset": preset}.items():
        train, embed = (statistics.mean(each.seconds[place] for each in found) for place in (0, 1))
        encode = max(each.encoding_seconds for each in found)
        steps = statistics.mean(each.rounds["strict"].steps for each in found)
        wall = statistics.mean(each.wall_seconds for each in found)
        cells = (steps, encode, train, embed, encode + train + embed, wall)
        yield f"| {title} | {' | '.join(f'{value:.0f}' for value in cells)} |"


if __name__ == "__main__":
    main()
