"""Miniature sets of dogs, pets, TigDog and COCO's animals, each in its release's own layout.

Each writer gives the folder (or label file) that its reader is pointed at.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from miniatures import paint, points
from PIL import Image

SIZE = (64, 48)
BOX = (12, 8, 44, 40)
DOGS = ("n02087394-Rhodesian_ridgeback/n02087394_36", "n02093754-Border_terrier/n02093754_875")


def voc(boxes: list[dict[str, tuple[int, ...]]], *, filename: str = "%s", size=SIZE) -> str:
    """PASCAL's XML with an <object> for each dict of tag -> box."""
    objects = "".join(
        "\t<object>\n\t\t<name>dog</name>\n"
        + "".join(
            f"\t\t<{tag}>"
            + "".join(
                f"<{k}>{v}</{k}>"
                for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            )
            + f"</{tag}>\n"
            for tag, box in tags.items()
        )
        + "\t</object>\n"
        for tags in boxes
    )
    return (
        f"<annotation>\n\t<folder>%s</folder>\n\t<filename>{filename}</filename>\n\t<size>\n"
        f"\t\t<width>{size[0]}</width>\n\t\t<height>{size[1]}</height>\n\t\t<depth>3</depth>\n"
        f"\t</size>\n{objects}</annotation>"
    )


def write(path: Path, content: str | bytes) -> Path:
    """A file with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def stanford_dogs(folder: Path) -> Path:
    """Two breeds, three dogs, the second picture with two; train_list.mat names the first."""
    from scipy.io import savemat

    for seed, name in enumerate(DOGS):
        boxes = [{"bndbox": BOX}, {"bndbox": (1, 2, 30, 40)}][: seed + 1]
        write(folder / "Annotation" / name, voc(boxes))
        paint(folder / "Images" / f"{name}.jpg", SIZE, seed)
    for part, names in (("train", DOGS[:1]), ("test", DOGS[1:])):
        cells = np.empty((len(names), 1), dtype=object)
        cells[:, 0] = [f"{name}.jpg" for name in names]
        bare = np.empty((len(names), 1), dtype=object)
        bare[:, 0] = list(names)
        savemat(
            folder / f"{part}_list.mat",
            {"file_list": cells, "annotation_list": bare, "labels": np.ones((len(names), 1))},
        )
    return folder


def tsinghua_dogs(folder: Path) -> Path:
    """Two breeds, one picture a .jpeg; files begin with a byte order mark and a blank line."""
    names = ("1043-n000001-Shiba_Dog/n100032.jpeg", "200-n000008-Airedale/n107028.jpg")
    for seed, name in enumerate(names):
        body = voc([{"headbndbox": (20, 10, 30, 20), "bodybndbox": BOX}])
        write(folder / "Low-Annotations" / f"{name}.xml", b"\xef\xbb\xbf\r\n" + body.encode())
        paint(folder / "low-resolution" / name, SIZE, seed)
    for part, name in zip(("train", "validation"), names, strict=True):
        write(folder / "TrainAndValList" / f"{part}.lst", f".//{name}\n")
    return folder


def oxford_pet(folder: Path) -> Path:
    """A cat with a head's box and a dog without; trimaps of both."""
    labels = folder / "annotations"
    rows = ["#Image CLASS-ID SPECIES BREED ID", "#SPECIES: 1:Cat 2:Dog"]
    rows += ["Maine_Coon_10 21 1 7", "american_bulldog_2 2 2 1"]
    write(labels / "list.txt", "\n".join(rows) + "\n")
    write(labels / "trainval.txt", rows[2] + "\n")
    write(labels / "test.txt", rows[3] + "\n")
    (labels / "trimaps").mkdir()
    for seed, name in enumerate(("Maine_Coon_10", "american_bulldog_2")):
        paint(folder / "images" / f"{name}.jpg", SIZE, seed)
        trimap = np.full((SIZE[1], SIZE[0]), 2, np.uint8)
        trimap[10:40, 20:50] = 3
        trimap[12:38, 22:48] = 1
        Image.fromarray(trimap).save(labels / "trimaps" / f"{name}.png")
    write(labels / "trimaps" / "._Maine_Coon_10.png", "macOS")
    write(labels / "xmls" / "Maine_Coon_10.xml", voc([{"bndbox": (21, 11, 31, 21)}]))
    return folder


def stanford_extra(folder: Path) -> Path:
    """Three entries on two pictures; some places have flag 0; the last four points have none."""
    entries = []
    for seed, name in enumerate((*DOGS, DOGS[1])):
        places = points(24, BOX, seed).tolist()
        joints = [[x, y, float(i % 3 > 0)] for i, (x, y) in enumerate(places)]
        joints[20:] = [[0.0, 0.0, 0.0]] * 4
        entries.append(
            {
                "img_path": f"{name}.jpg",
                "img_width": SIZE[0],
                "img_height": SIZE[1],
                "joints": joints,
                "img_bbox": [BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]],
                "is_multiple_dogs": seed > 0,
                "seg": "h",
            }
        )
    write(folder / "StanfordExtra_v12.json", json.dumps(entries))
    for part, rows in (("train", [2, 0]), ("val", [1]), ("test", [])):
        np.save(folder / f"{part}_stanford_StanfordExtra_v12.npy", np.array(rows, dtype=np.int64))
    for seed, name in enumerate(DOGS):
        paint(folder / "Images" / f"{name}.jpg", SIZE, seed)
    return folder


def coco_animals(folder: Path) -> Path:
    """COCO's instances: a person and a crowd of sheep beside a dog and a bird."""
    kinds = {1: "person", 16: "bird", 18: "dog", 20: "sheep"}
    shown = {9: [(1, 0), (18, 0)], 25: [(20, 1), (16, 0)], 30: [(1, 0)]}
    annotations = [
        {
            "id": 1000 * image + number,
            "image_id": image,
            "category_id": kind,
            "bbox": [5.5, 6.0, 20.0, 10.0],
            "area": 77.5,
            "iscrowd": crowd,
            "segmentation": [],
        }
        for image, animals in shown.items()
        for number, (kind, crowd) in enumerate(animals)
    ]
    images = []
    for image in shown:
        name = f"{image:012d}.jpg"
        images.append({"id": image, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
        paint(folder / "val2017" / name, SIZE, image)
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": v, "supercategory": "x"} for k, v in kinds.items()],
    }
    write(folder / "annotations" / "instances_val2017.json", json.dumps(content))
    return folder


def tigdog_landmarks(seed: int, flags: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Places (19, 2) and flags (19, 1) of a frame, in the raw order of a file."""
    places = points(19, (12, 8, 50, 46), seed)
    if flags is None:
        flags = np.ones(19)
        flags[seed % 19] = 0
    return {"positions": places, "visibility": flags.reshape(19, 1).astype(np.uint8)}


def tigdog(folder: Path) -> Path:
    """Of each animal a shot of three frames and one of two; a shot without landmarks; a bare frame.

    The nesting is the release's: landmarks{frame} is a 1 x 1 structure of places and flags.
    """
    for animal, first in (("horse", 7), ("tiger", 127338)):
        shots = [(3, first, first + 2), (12, first + 10, first + 11), (40, first + 50, first + 50)]
        for shot, start, stop in shots[:2]:
            frames = [tigdog_landmarks(start + i) for i in range(stop - start + 1)]
            if shot == 12:
                frames[1] = tigdog_landmarks(0, np.zeros(19))
            save_shot(folder / "landmarks" / animal / f"{shot}.mat", frames)
            for number in range(start, stop + 1):
                paint(folder / animal / f"{number:08d}.jpg", SIZE, number)
        save_mat(
            folder / "ranges" / animal / "ranges.mat",
            {"ranges": np.array(shots, dtype=np.int32 if animal == "tiger" else np.uint8)},
        )
    return folder


def save_shot(path: Path, frames: list[Any]) -> None:
    """A landmark file of TigDog with a cell a frame."""
    cells = np.empty((len(frames), 1), dtype=object)
    for row, frame in enumerate(frames):
        cells[row, 0] = frame
    save_mat(path, {"landmarks": cells})


def save_mat(path: Path, content: dict[str, Any]) -> None:
    """A MATLAB 5 file with its folder."""
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content)


PART1 = (
    "L_Eye R_Eye L_EarBase R_EarBase Nose Throat TailBase Withers L_F_Elbow R_F_Elbow L_B_Elbow "
    "R_B_Elbow L_F_Knee R_F_Knee L_B_Knee R_B_Knee L_F_Paw R_F_Paw L_B_Paw R_B_Paw"
)
PART2 = (
    "Nose L_eye R_eye L_ear R_ear Throat Tail withers L_F_elbow R_F_elbow L_B_elbow R_B_elbow "
    "L_F_knee R_F_knee L_B_knee R_B_knee L_F_paw R_F_paw L_B_paw R_B_paw"
)


def animal_xml(image: str, species: str, part: int, seed: int) -> str:
    """One animal of Animal-Pose's first release; every third point not visible."""
    names = (PART1 if part == 1 else PART2).split()
    upper = "ymin" if part == 1 else "xmax"
    marks = "".join(
        f'\t\t<keypoint name="{name}" visible="{int(i % 3 > 0)}" '
        f'x="{x:.2f}" y="{y:.2f}" z="0.00"/>\n'
        for i, (name, (x, y)) in enumerate(zip(names, points(20, BOX, seed), strict=True))
    )
    return (
        '<?xml version="1.0"?>\n<annotation>\n'
        f"\t<image>{image}</image>\n\t<voc_id>1</voc_id>\n\t<category>{species}</category>\n"
        f'\t<visible_bounds height="{BOX[3] - BOX[1]}.00" width="{BOX[2] - BOX[0]}.00" '
        f'xmin="{BOX[0]}.00" {upper}="{BOX[1]}.00"/>\n'
        f"\t<keypoints>\n{marks}\t</keypoints>\n</annotation>\n"
    )


def animal_pose_xml(folder: Path) -> Path:
    """Part 1: a VOC picture with a dog and a cat; part 2: a cow of the web."""
    one, two = folder / "PASCAL2011_animal_annotation", folder / "animalpose_anno2"
    write(one / "dog" / "2007_000063_1.xml", animal_xml("2007_000063", "dog", 1, 0))
    write(one / "cat" / "2007_000063_1.xml", animal_xml("2007_000063", "cat", 1, 1))
    write(two / "cow" / "co13.xml", animal_xml("co13.jpeg", "cow", 2, 2))
    paint(folder / "VOC2012" / "JPEGImages" / "2007_000063.jpg", SIZE, 0)
    paint(folder / "animalpose_image_part2" / "cow" / "co13.jpeg", SIZE, 1)
    return folder
