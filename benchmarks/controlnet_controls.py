"""What scoring by the pose model can tell: real pictures with their own points, and shuffled ones.

  python benchmarks/controlnet_controls.py --root FOLDER/animal_pose --pictures 60

Pictures of Animal-Pose's val split, evenly spread. Prints AP, PCK and OKS of the labelled points
and of the same points dealt out anew among their names, as `tetrapose controlnet score` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from tetrapose.controlnet import score
from tetrapose.controlnet.poses import Pose
from tetrapose.data import open_set
from tetrapose.images import read_size
from tetrapose.inference.predictor import load
from tetrapose.structures import Instances, PoseSet


def asked_of(labels: PoseSet, pictures: int, skeleton) -> score.Asked:
    """Labelled pictures as if they had been painted as asked."""
    index = np.unique(labels.image_index)
    index = index[np.linspace(0, len(index) - 1, min(pictures, len(index))).astype(int)]
    poses, files = [], []
    for image in index.tolist():
        rows = np.flatnonzero(labels.image_index == image)
        one = Instances(labels.keypoints[rows], labels.visibility[rows], labels.bboxes[rows])
        names = tuple(labels.species_names[labels.species[row]] for row in rows)
        poses.append(Pose(labels.skeleton, read_size(labels.path(image)), one, names))
        files.append(labels.files[image])
    return score._asked(labels.root, files, poses, [""] * len(files), skeleton)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=60)
    args = parser.parse_args()
    torch.set_num_threads(1)
    predictor = load("default")
    labels = open_set(f"animal_pose:{args.root},split=val.txt")
    own = asked_of(labels, args.pictures, predictor.skeleton)
    for name, pile in (("own points", own), ("points shuffled", score.shuffled(own))):
        figures = score.short(score.score(pile, predictor).figures)
        told = "  ".join(f"{key} {value:.2f}" for key, value in figures.items())
        print(f"{name:<16} {len(pile)} pictures, {len(pile.pose_set)} animals  {told}", flush=True)


if __name__ == "__main__":
    main()
