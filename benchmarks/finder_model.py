"""Make the finder that ships: training, its figures beside labelled boxes, its card, the package.

  python benchmarks/finder_model.py --root DIR

DIR holds animal_pose, akd_cats/train, stanford_extra_sample and badja; crowds are drawn first. It
needs pip install 'tetrapose[imagenet]'. A run that is done (runs/finder) is not run again, and one
that was stopped goes on. Figures on Animal-Pose val: boxes of all animals as one class by COCO's
rules, and poses of the model that ships in found boxes beside labelled ones.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "tetrapose" / "weights"
RUN = Path("runs/finder")
TERMS = (
    "research only, as the pictures: Animal-Pose and AKD state no licence, StanfordExtra's are"
    " ImageNet's, BADJA's frames CC BY-NC 4.0; began from imagenet:efficientnet_lite0 (weights"
    " Apache-2.0)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, type=Path)
    args = parser.parse_args()
    drawn = "runs/menagerie_finder"
    if not Path(drawn, "truth.json").exists():
        tetrapose(
            "synth", drawn, "--count", "2000", "--seed", "300", "--animals", "1..6", "--size", "320"
        )
    made = RUN / "model.safetensors"
    if not made.exists():
        tetrapose(
            "train", "experiment=finder", f"dataset.root={args.root}", f"dataset.menagerie={drawn}"
        )
    scores = measured(made, f"animal_pose:{args.root}/animal_pose,split=val.txt")
    card = json.loads(made.with_suffix(".json").read_text(encoding="utf-8"))
    card["scores"] = scores
    card["training"]["terms"] = TERMS
    shutil.copyfile(made, PACKAGE / "finder.safetensors")
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (PACKAGE / "finder.json").write_text(text, encoding="utf-8")
    print(json.dumps(scores, indent=2))


def measured(made: Path, val: str) -> dict[str, dict[str, float]]:
    """Box figures, and poses in found and in labelled boxes, by species and pooled."""
    scores: dict[str, dict[str, float]] = {}
    for boxes in ("given", "auto"):
        path = RUN / f"poses_{boxes}.json"
        how = ["--boxes", "auto", "--finder", str(made)] if boxes == "auto" else []
        tetrapose("evaluate", "--data", val, "--protocol", "all", "--json", str(path), *how)
        result = json.loads(path.read_text(encoding="utf-8"))
        if boxes == "auto":
            scores["animal_pose val, boxes"] = {
                name: round(value, 4) for name, value in result["model"]["boxes"].items()
            }
        for protocol in ("coco-macro", "coco-pooled"):
            where = "labelled" if boxes == "given" else "found"
            figures = result["protocols"][protocol]
            scores[f"animal_pose val, poses in {where} boxes, {protocol}"] = {
                key: round(figures[key], 4) for key in ("AP", "AP50", "AP75", "AR")
            }
    return scores


def tetrapose(*arguments: str) -> None:
    """Run a command; 1 means that something was left out and listed."""
    status = subprocess.run([sys.executable, "-m", "tetrapose", *arguments], check=False).returncode
    if status not in (0, 1):
        raise SystemExit(f"tetrapose {' '.join(arguments)} ended with {status}")


if __name__ == "__main__":
    main()
