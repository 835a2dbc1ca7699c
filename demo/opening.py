"""The picture that opens the README, from what `make demo` left: made anew when the model is.

The drawn animals are the four that the model did best on, one a species, as the README says.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from story import likeness

from tetrapose import data
from tetrapose.images import read_image

HEIGHT, GAP = 480, 6
GROUND = (255, 255, 255)


def main() -> None:
    """The photograph on the left, four drawn animals on the right, all as the model saw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", default="demo_out", metavar="DIR", type=Path)
    parser.add_argument("--out", default="docs/images/opening.jpg", metavar="FILE")
    args = parser.parse_args()
    drawn = [read_image(path)[0] for path in best(args.demo, 4)]
    cat = fitted(read_image(args.demo / "seen" / "cat.jpg")[0], HEIGHT)
    side = (HEIGHT - GAP) // 2
    page = Image.new("RGB", (cat.width + 2 * (side + GAP), HEIGHT), GROUND)
    page.paste(cat, (0, 0))
    for place, picture in enumerate(drawn):
        across, down = cat.width + GAP + (place % 2) * (side + GAP), (place // 2) * (side + GAP)
        page.paste(fitted(picture, side), (across, down))
    page.save(args.out, quality=88)


def best(demo: Path, count: int) -> list[Path]:
    """Overlays of animals that stand alone, by OKS, one a species."""
    truth = data.open_set(f"menagerie:{demo / 'drawn'}")
    seen = demo / "seen" / "drawn"
    alone = np.bincount(truth.image_index, minlength=len(truth.files))[truth.image_index] == 1
    values = np.where(alone, likeness(truth, seen), -1.0)
    rows = np.argsort(-values, kind="stable")
    first = dict.fromkeys(int(truth.species[row]) for row in rows)
    chosen = [next(row for row in rows if truth.species[row] == species) for species in first]
    return [seen / Path(truth.files[truth.image_index[row]]).name for row in chosen[:count]]


def fitted(pixels: np.ndarray, height: int) -> Image.Image:
    """A picture at that height."""
    picture = Image.fromarray(pixels)
    size = (round(picture.width * height / picture.height), height)
    return picture.resize(size, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
