"""Tsinghua Dogs: 70,428 pictures of 130 breeds, boxes of the whole body and of the head.

Origin: cg.cs.tsinghua.edu.cn/ThuDogs and github.com/dejungle/Tsinghua-Dogs, pictures in a low and
in a high resolution, each with annotations of its own.
Licence: none stated for the pictures, of people's own dogs and of the web (the repository with the
lists is MIT). For research only.
Citation: Zou, Zhang, Mu, Zhang: A new dataset of dog breed images and a benchmark for fine-grained
classification, Computational Visual Media, 2020.

Each picture low-resolution/<count>-n<id>-<breed>/<name> has a file of the same path with ".xml"
added in Low-Annotations, in PASCAL's XML but with <headbndbox> and <bodybndbox> in each <object>.
The files begin with a byte order mark and a blank line. A set holds one kind of box: the whole
body, or the head with ``box=head``. The official parts are TrainAndValList/train.lst (65,228) and
validation.lst (5,200), read with ``part``.

Areas are width x height of the box. The species is the breed, or "dog" with ``breeds=false``.
Points: none; see tetrapose.data.boxed.
"""

from __future__ import annotations

from pathlib import Path

from tetrapose.data import boxed, checks, foreign, reading
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

ABOUT = About(
    title="Tsinghua Dogs: 130 breeds, boxes of body and head without keypoints",
    skeleton="ap10k with no point labelled, or the one given with skeleton=NAME",
    origin="cg.cs.tsinghua.edu.cn/ThuDogs",
    licence="none stated: research only",
    citation=(
        "Zou et al., A new dataset of dog breed images and a benchmark for fine-grained "
        "classification, Computational Visual Media 2020"
    ),
    layout=(
        "FOLDER/Low-Annotations/<count>-n<id>-<breed>/<name>.jpg.xml, FOLDER/low-resolution/"
        "<count>-n<id>-<breed>/<name>.jpg (or High-Annotations and high-resolution); for "
        "part=train or part=validation FOLDER/TrainAndValList/*.lst"
    ),
    traps=(
        "head and body boxes in one file: box=body or box=head; annotations of the low and the "
        "high resolution differ; files begin with a byte order mark; .jpg and .jpeg"
    ),
    fetch=(
        "low-annotations.zip and TrainValSplit.zip from cg.cs.tsinghua.edu.cn/ThuDogs/ and the "
        "pictures (2.5 GB low, 39 GB high) by the links in github.com/dejungle/Tsinghua-Dogs, all "
        "unpacked in FOLDER"
    ),
)
PARTS = ("train", "validation")
RESOLUTIONS = ("low", "high")
LISTS = ("TrainAndValList", "TrainValSplit", "split", ".")


def read(
    root: str | Path,
    *,
    box: str = "body",
    part: str | None = None,
    breeds: bool = True,
    skeleton: str = boxed.SKELETON,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """The set below ``root``, or its official ``part`` (train, validation), problems listed.

    Of the two resolutions the low one is taken where it is there. Sizes are the annotations', or
    the pictures' own with ``sizes``; ``pictures=False`` reads annotations whose pictures are not at
    hand.
    """
    if box not in ("body", "head"):
        raise UserError(f"box={box}: it is body or head")
    boxed.chosen_part(part, PARTS)
    root = Path(root)
    labels, images = _folders(root, pictures)
    names = [name.removesuffix(".xml") for name in foreign.files_below(labels, ".xml")]
    if not names:
        raise UserError(f"{labels}: holds no annotation; due is {ABOUT.layout}")
    found, where = boxed.Gathered(), str(labels)
    if part is not None:
        wanted = _listed(root, part)
        there = set(names)
        lacking = [name for name in wanted if name not in there]
        found.problems += boxed.absent(where, lacking, len(wanted), "annotation")
        names = [name for name in wanted if name in there]
    elif pictures:
        found.problems += boxed.unlabelled(where, root / images, names)
    for name in names:
        breed = name.partition("/")[0].split("-", 2)[-1].replace("_", " ")
        path = labels / f"{name}.xml"
        found.annotation(path, f"{images}/{name}", f"{box}bndbox", breed if breeds else "dog")
    pose_set = found.pose_set(root, "tsinghua_dogs", ABOUT, skeleton)
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def _folders(root: Path, pictures: bool) -> tuple[Path, str]:
    """The annotations' folder and the name of the pictures'."""
    labels = [f"{r.capitalize()}-Annotations" for r in RESOLUTIONS]
    labels += [f"{r}-annotations" for r in RESOLUTIONS]
    folder = foreign.first_folder(root, labels, ABOUT.layout)
    images = f"{folder.name.partition('-')[0].lower()}-resolution"
    if pictures:
        foreign.first_folder(root, (images,), ABOUT.layout)
    return folder, images


def _listed(root: Path, part: str) -> list[str]:
    for place in LISTS:
        path = root / place / f"{part}.lst"
        if path.exists():
            return list(reading.read_split(path, root))
    raise UserError(
        f"{root}: lacks TrainAndValList/{part}.lst, which names the pictures of part={part}; it is "
        "in TrainValSplit.zip"
    )
