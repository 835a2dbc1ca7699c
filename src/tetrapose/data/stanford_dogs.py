"""Stanford Dogs: 20,580 ImageNet pictures of 120 breeds, boxes without keypoints.

Origin: vision.stanford.edu/aditya86/ImageNetDogs, three archives: images.tar, annotation.tar and
lists.tar.
Licence: none stated; the pictures are ImageNet's, for non-commercial research.
Citation: Khosla, Jayadevaprakash, Yao, Fei-Fei: Novel Dataset for Fine-Grained Image
Categorization, FGVC workshop, CVPR 2011.

Each picture Images/<id>-<breed>/<name>.jpg has a file Annotation/<id>-<breed>/<name> in PASCAL's
XML, without a suffix, with one box an animal; some pictures show several dogs. The picture's name
is taken from where its annotation lies: the <filename> inside is "%s" in some. Boxes are taken as
they stand.
train_list.mat (12,000) and test_list.mat (8,580) hold the paths of the official parts, read with
``part``. StanfordExtra labels keypoints on these pictures: see stanford_extra.

Areas are width x height of the box. The species is the breed, or "dog" with ``breeds=false``.
Points: none; see tetrapose.data.boxed.
"""

from __future__ import annotations

from pathlib import Path

from tetrapose.data import boxed, checks, foreign
from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet

ABOUT = About(
    title="Stanford Dogs: 120 breeds, boxes without keypoints",
    skeleton="ap10k with no point labelled, or the one given with skeleton=NAME",
    origin="vision.stanford.edu/aditya86/ImageNetDogs",
    licence="none stated; ImageNet's pictures: non-commercial research only",
    citation=(
        "Khosla et al., Novel Dataset for Fine-Grained Image Categorization, FGVC workshop 2011"
    ),
    layout=(
        "FOLDER/Annotation/<id>-<breed>/<name>, FOLDER/Images/<id>-<breed>/<name>.jpg; for "
        "part=train or part=test FOLDER/train_list.mat and FOLDER/test_list.mat"
    ),
    traps=(
        "the <filename> in some annotations is %s; annotations have no suffix; several dogs in "
        "some pictures; one box an animal, no keypoints"
    ),
    fetch=(
        "images.tar (750 MB), annotation.tar and lists.tar from "
        "vision.stanford.edu/aditya86/ImageNetDogs, all three unpacked in FOLDER"
    ),
)
PARTS = ("train", "test")
LABELS = ("Annotation", "annotation", "annotations/Annotation", "annotations")
PICTURES = ("Images", "images/Images", "images")


def read(
    root: str | Path,
    *,
    part: str | None = None,
    breeds: bool = True,
    skeleton: str = boxed.SKELETON,
    split: Split | None = None,
    sizes: bool = False,
    pictures: bool = True,
) -> PoseSet:
    """The set below ``root``, or its official ``part`` (train, test), problems listed.

    Sizes are the annotations', or the pictures' own with ``sizes``; ``pictures=False`` reads
    annotations whose pictures are not at hand.
    """
    boxed.chosen_part(part, PARTS)
    root = Path(root)
    labels = foreign.first_folder(root, LABELS, ABOUT.layout)
    images = foreign.first_folder(root, PICTURES, ABOUT.layout) if pictures else root / "Images"
    names = foreign.files_below(labels)
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
        found.problems += boxed.unlabelled(where, images, [f"{name}.jpg" for name in names])
    below = images.relative_to(root).as_posix()
    for name in names:
        breed = name.partition("/")[0].partition("-")[2].replace("_", " ")
        picture = f"{below}/{name}.jpg"
        found.annotation(labels / name, picture, "bndbox", breed if breeds else "dog")
    pose_set = found.pose_set(root, "stanford_dogs", ABOUT, skeleton)
    return checks.checked(pose_set, where, split=split, sizes=sizes, pictures=pictures)


def _listed(root: Path, part: str) -> list[str]:
    """Paths of a part's annotations, as its list names them."""
    for place in ("", "lists"):
        path = root / place / f"{part}_list.mat"
        if path.exists():
            break
    else:
        raise UserError(
            f"{root}: lacks {part}_list.mat, which names the pictures of part={part}; it is in "
            "lists.tar"
        )
    content = foreign.load_mat(path)
    try:
        return [name.removesuffix(".jpg") for name in foreign.mat_strings(content["file_list"])]
    except (KeyError, IndexError):
        raise UserError(f"{path}: holds no file_list; is it Stanford Dogs' own list?") from None
