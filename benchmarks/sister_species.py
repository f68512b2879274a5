"""Draws docs/images/sister_species.jpg: genera of the synthetic aviary, their sisters and what tells them apart.

Run from the repository root: .venv/bin/python benchmarks/sister_species.py
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fieldmark.datasets.aviary.figure import Bird
from fieldmark.datasets.aviary.scene import draw_bird
from fieldmark.datasets.aviary.species import Species, draw_species

OUT = Path("docs/images/sister_species.jpg")
SEED, SIDE, CAPTION = 0, 220, 56
GENERA, SISTERS = 4, 3


def choose_genera() -> list[list[Species]]:
    """Choose genera of three sisters, each of another order."""
    genera: dict[str, list[Species]] = {}
    for species in draw_species(200, seed=SEED):
        genera.setdefault(species.genus, []).append(species)
    by_order: dict[str, list[Species]] = {}
    for sisters in genera.values():
        if len(sisters) == SISTERS:
            by_order.setdefault(sisters[0].order, sisters)
    return list(by_order.values())[:GENERA]


def list_distinctive_marks(species: Species, sisters: list[Species]) -> str:
    """List the field marks of a species that its sisters do not share."""
    marks = species.field_marks
    told = [mark for mark in marks if any(sister.field_marks[mark] != marks[mark] for sister in sisters)]
    return ", ".join(f"{mark.replace('_', ' ')}: {marks[mark]}" for mark in told)


def main() -> None:
    """Draw the sheet, one genus per row."""
    sheet = Image.new("RGB", (SISTERS * (SIDE + 12) + 12, GENERA * (SIDE + CAPTION) + 12), "#fbfaf7")
    pen = ImageDraw.Draw(sheet)
    for row, sisters in enumerate(choose_genera()):
        for column, species in enumerate(sisters):
            left, top = 12 + column * (SIDE + 12), 12 + row * (SIDE + CAPTION)
            rng = np.random.default_rng([row, column])
            sheet.paste(draw_bird(Bird(species.plumage), side_pixels=SIDE, difficulty=0.1, rng=rng), (left, top))
            name = species.class_name.replace("_", " ")
            pen.text((left, top + SIDE + 5), name, fill="#22302b", font=ImageFont.load_default(14))
            marks = list_distinctive_marks(species, sisters)
            pen.text((left, top + SIDE + 25), marks, fill="#5f6c66", font=ImageFont.load_default(11))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(OUT, quality=88)


if __name__ == "__main__":
    main()
