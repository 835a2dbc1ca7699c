"""The strip of triplets that the README shows: one photograph and four drawn animals.

  python demo/triplets.py --out docs/images/triplets.jpg

The photograph is the demo's cat, whose points the default model predicts: no more than a face, so a
tenth of the points is enough here, and as in the demo they count from a score of 0.6. The others
come out of `tetrapose synth` with their points. All are made by `tetrapose triplets build`.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from tetrapose.triplets import shards
from tetrapose.triplets.library import Library
from tetrapose.triplets.rows import Triplet

CAT = Path(__file__).resolve().parent / "cat.png"
SIDE, GAP, TEXT = 236, 6, 58  # px of a picture, between them, and of the caption's line
GROUND, INK = (255, 255, 255), (28, 36, 48)


def main() -> None:
    """Draw animals, build a library, lay out the first triplet of each species."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="docs/images/triplets.jpg", metavar="FILE", type=Path)
    parser.add_argument("--seed", default="7", help="which animals are drawn")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drawn, library = Path(folder, "drawn"), Path(folder, "library")
        run("synth", drawn, "--count", 40, "--size", 512, "--animals", "1..2", "--png",
            "--seed", args.seed, "--skeleton", "quadruped")  # fmt: skip
        run("triplets", "build", CAT, f"menagerie:{drawn}", "--out", library, "--buckets",
            "--threshold", 0.6, "--least-share", 0.1,
            "--no-card")  # fmt: skip
        every = [one for path in Library(library).shards() for one in shards.read(path)]
        page(chosen(every, 5)).save(args.out, quality=86)
    print(f"{args.out}: {args.out.stat().st_size / 1000:.0f} kB")


def run(*words: object) -> None:
    """A command of tetrapose, typed out before it runs."""
    typed = [str(word) for word in words]
    print(f"$ tetrapose {' '.join(typed)}", flush=True)
    subprocess.run([sys.executable, "-m", "tetrapose", *typed], check=True)


def chosen(every: list[Triplet], count: int) -> list[Triplet]:
    """The photograph, then the fullest drawing of each species, of two animals where there is."""
    first = [one for one in every if not one.points["animals"][0]["labelled"]][:1]
    if not first:
        sys.exit("the model that ships finds too few points of the photograph: no strip")
    rest = [one for one in every if one.points["animals"][0]["labelled"]]
    rest.sort(key=lambda one: (-len(one.points["animals"]), -sum(one.provenance["share_found"])))
    pair, alone = ([one for one in rest if len(one.points["animals"]) == n] for n in (2, 1))
    seen = {first[0].points["animals"][0]["species"]}
    for one in [*pair[:1], *alone]:
        species = one.points["animals"][0]["species"]
        if species not in seen and len(first) < count:
            seen.add(species)
            first.append(one)
    return first


def page(triplets: list[Triplet]) -> Image.Image:
    """A column a triplet: picture, pose picture, overlay, caption."""
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 17)
    sizes = [one.points["size"] for one in triplets]
    wide = [round(SIDE * width / height) for width, height in sizes]
    whole = (sum(wide) + GAP * (len(wide) - 1), 3 * (SIDE + GAP) + TEXT)
    out = Image.new("RGB", whole, GROUND)
    pen = ImageDraw.Draw(out)
    left = 0
    for one, width in zip(triplets, wide, strict=True):
        for row, data in enumerate((one.original_image, one.conditioning_image, one.overlaid)):
            with Image.open(io.BytesIO(data)) as picture:
                small = picture.convert("RGB").resize((width, SIDE), Image.Resampling.LANCZOS)
            out.paste(small, (left, row * (SIDE + GAP)))
        text = wrapped(pen, one.caption, font, width)
        pen.multiline_text((left + 2, 3 * (SIDE + GAP) + 2), text, fill=INK, font=font, spacing=3)
        left += width + GAP
    return out


def wrapped(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """A caption in lines of at most so many pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if pen.textlength(longer, font=font) <= width - 4:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
