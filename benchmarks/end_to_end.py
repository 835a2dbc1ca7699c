"""From a picture and its box to its points: beside MMPose, DeepLabCut and transformers, in one run.

  python benchmarks/end_to_end.py --pictures DIR --work /somewhere/peers [--threads 2]
  python benchmarks/end_to_end.py --work /somewhere/peers --smoke

The peers are installed into virtual environments of their own below --work, once (some minutes
and 6 GB; INSTALL below says how), and no weights are fetched: every network has random ones, which
takes as long as trained ones do. Every side gets the same picture files and the same boxes (each
picture whole), reads them itself, and gives points; the sides take turns, round by round, in
processes of their own on as many threads, so that what else a machine does falls on all.

  MMPose 1.3.2, inference_topdown: HRNet-W32 256x256 of AP-10K's configuration, flip test as there
  DeepLabCut 3.0.2, its inference runner: HRNet-W32 256x256 of SuperAnimal-Quadruped's
  configuration, 39 keypoints, no flip test; a batch of one crop, which is its default, and of eight
  transformers, VitPose: S and B at 256x192, image processor, network, post_process_pose_estimation
  ours: HRNet-W32 256x256 and ViTPose S and B at 256x192 in float32 by torch, onnxruntime and
  openvino, each refused where its points are not within 0.1 px of torch's at the 99th percentile

Our HRNet runs with flip test, as MMPose's does, and without, as the others have none; our ViTPose
without. OpenVINO is put below --work too where this environment has none. Pictures a second:
median, least and greatest of the rounds. --smoke takes 4 drawn pictures and one round: it shows
that everything runs, and its figures mean nothing. --sides chooses.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# mmcv's compiled operators are not needed for this, so its lite form and a stub of them will do;
# chumpy and xtcocotools build against the numpy at hand only without build isolation.
MMPOSE = [
    ["install", "setuptools<81", "wheel", "cython", "numpy<2.3", "torch<2.14"],
    ["install", "--no-build-isolation", "--no-deps", "chumpy"],
    ["install", "--no-build-isolation", "--no-deps", "--no-binary", "xtcocotools", "xtcocotools"],
    ["install", "mmengine==0.10.7", "mmcv-lite==2.1.0", "six", "python-dateutil", "shapely",
     "terminaltables", "json_tricks", "munkres", "scipy", "pycocotools", "matplotlib", "pillow",
     "opencv-python-headless"],
    ["install", "--no-deps", "mmdet==3.3.0", "mmpose==1.3.2"],
]  # fmt: skip
DEEPLABCUT = [["install", "deeplabcut==3.0.2", "torch<2.14", "torchvision<0.29"]]
TRANSFORMERS = [["install", "torch<2.14", "transformers", "scipy", "pillow"]]
INSTALL = {"mmpose": MMPOSE, "deeplabcut": DEEPLABCUT, "transformers": TRANSFORMERS}
NAMES = {"mmpose": "MMPose HRNet-W32, flip test", "deeplabcut": "DeepLabCut HRNet-W32, batch of {}",
         "transformers": "transformers VitPose-{}"}  # fmt: skip
# our models: the side of --sides they belong to is "ours"; flip test or not
OURS = {"HRNet-W32": ("flip test", "no flip test"), "ViTPose-S": ("no flip test",),
        "ViTPose-B": ("no flip test",)}  # fmt: skip
BACKENDS = ("torch", "onnxruntime", "openvino")

# Each peer's script reads a line "go" for each round and answers with the round's seconds.
LOOP = """
import json, sys, time
def serve(points_of, files):
    points_of(files[:1] * 2)
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        found = points_of(files)
        print(time.perf_counter() - began, flush=True)
        assert len(found) == len(files)
"""
MMPOSE_SIDE = """
import importlib.machinery, sys, types, warnings
warnings.simplefilter("ignore")
operators = types.ModuleType("mmcv._ext")
operators.__getattr__ = lambda name: (_ for _ in ()).throw(AttributeError(name)) if name.startswith(
    "__") else (lambda *a, **k: None)
operators.__spec__ = importlib.machinery.ModuleSpec("mmcv._ext", None)
sys.modules["mmcv._ext"] = operators
for name in ("torchvision", "torchvision.transforms"):  # for its pictures of heatmaps alone
    stand_in = types.ModuleType(name)
    stand_in.__getattr__ = operators.__getattr__
    stand_in.__path__ = []
    stand_in.__spec__ = importlib.machinery.ModuleSpec(name, None)
    sys.modules[name] = stand_in
import torch
torch.set_num_threads(int(sys.argv[1]))
from pathlib import Path
import mmpose
from mmpose.apis import inference_topdown, init_model
import numpy as np
configs = Path(mmpose.__file__).parent / ".mim" / "configs" / "animal_2d_keypoint"
config = next(configs.rglob("td-hm_hrnet-w32_8xb64-210e_ap10k-256x256.py"))
model = init_model(str(config), None, device="cpu", cfg_options={"model.backbone.init_cfg": None})
def one(file):
    width, height = SIZES[file]
    (found,) = inference_topdown(model, file, np.array([[0, 0, width, height]], np.float32))
    return found.pred_instances.keypoints
SIZES = json.loads(sys.argv[3])
serve(lambda files: [one(file) for file in files], json.loads(sys.argv[2]))
"""
TRANSFORMERS_SIDE = """
import sys, torch
torch.set_num_threads(int(sys.argv[1]))
import numpy as np
from PIL import Image
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation
from transformers import VitPoseImageProcessor
width = {"S": 384, "B": 768}[sys.argv[4]]
backbone = VitPoseBackboneConfig(hidden_size=width, num_hidden_layers=12,
    num_attention_heads=12, image_size=[256, 192], out_indices=[12])
model = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=17,
    use_simple_decoder=False)).eval()
processor = VitPoseImageProcessor(size={"height": 256, "width": 192})
@torch.inference_mode()
def one(file):
    image = Image.open(file).convert("RGB")
    boxes = [[[0.0, 0.0, float(image.width), float(image.height)]]]
    inputs = processor(image, boxes=boxes, return_tensors="pt")
    return processor.post_process_pose_estimation(model(**inputs), boxes=boxes)
serve(lambda files: [one(file) for file in files], json.loads(sys.argv[2]))
"""
# Beside a CPU build of torch torchvision's own operators are missing; its import looks for them.
# The runner reads and cuts in a thread of its own beside the network, as it does for its users.
DEEPLABCUT_SIDE = """
import logging, os, sys, torch
os.environ |= {"DLClight": "True", "MPLBACKEND": "Agg"}
for op in ("nms", "qnms"):
    torch.library.define(f"torchvision::{op}", "(Tensor dets, Tensor scores, float iou) -> Tensor")
torch.set_num_threads(int(sys.argv[1]))
from deeplabcut.pose_estimation_pytorch.apis.utils import get_inference_runners
from deeplabcut.pose_estimation_pytorch.modelzoo import load_super_animal_config
# without a detector's name it makes a bottom-up model of the whole picture of it
config = load_super_animal_config("superanimal_quadruped", "hrnet_w32", max_individuals=1,
    device="cpu", detector_name="fasterrcnn_resnet50_fpn_v2")
assert len(config["metadata"]["bodyparts"]) == 39
runner, _ = get_inference_runners(config, snapshot_path=None, batch_size=int(sys.argv[4]),
    device="cpu")
SIZES = json.loads(sys.argv[3])
crop, _ = runner.preprocessor(json.loads(sys.argv[2])[0], {"bboxes": [[0, 0, 300, 200]]})
assert crop.shape == (1, 3, 256, 256), crop.shape
def points_of(files):
    found = runner.inference(
        [(file, {"bboxes": [[0, 0, *SIZES[file]]]}) for file in files])  # x, y, width, height
    assert found[0]["bodyparts"].shape == (1, 39, 3), found[0]["bodyparts"].shape
    return found
serve(points_of, json.loads(sys.argv[2]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", required=True, type=Path, help="folder for the peers")
    parser.add_argument("--pictures", type=Path, help="folder of .jpg files")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="crops at a time, on our side")
    parser.add_argument("--sides", default="ours,mmpose,deeplabcut,transformers")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    if args.smoke:
        args.count, args.rounds = 4, 1
    sides = args.sides.split(",")
    # threads that an idle side leaves spinning would be time of another's
    os.environ |= {"OMP_NUM_THREADS": str(args.threads), "OMP_WAIT_POLICY": "PASSIVE"}
    if "ours" in sides:
        give_openvino(args.work)
    with tempfile.TemporaryDirectory() as folder:
        files = pictures(args, Path(folder))
        pythons = {side: install(args.work, side) for side in sides if side != "ours"}
        compare(args, files, start(args, files, sides, pythons, Path(folder)))


def pictures(args: argparse.Namespace, folder: Path) -> list[str]:
    if args.pictures and not args.smoke:
        found = sorted(args.pictures.glob("*.jpg"))
        step = max(len(found) // args.count, 1)
        return [str(path) for path in found[::step][: args.count]]
    from PIL import Image

    from tetrapose import synth

    files = []
    for index in range(args.count):
        files.append(str(folder / f"{index:03d}.jpg"))
        Image.fromarray(synth.render(index, seed=1, size=(640, 480)).image).save(files[-1])
    return files


def install(work: Path, side: str) -> Path:
    """The interpreter of a peer's environment, made where it is not whole."""
    folder = work / side
    python, stamp = folder / "bin" / "python", folder / ".whole"
    if not stamp.exists():
        print(f"installing {side} into {folder} (minutes)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        for words in INSTALL[side]:
            subprocess.run([python, "-m", "pip", "-q", *words], check=True)
        stamp.touch()
    return python


def give_openvino(work: Path) -> None:
    """OpenVINO where our processes find it, if it is not part of this environment."""
    from importlib import util

    if util.find_spec("openvino") is not None:
        return
    folder = work / "openvino"
    if not (folder / ".whole").exists():
        print(f"installing openvino into {folder}", flush=True)
        words = ["install", "-q", "--no-deps", "--target", folder, "openvino", "openvino-telemetry"]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True)
        (folder / ".whole").touch()
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [*filter(None, [os.environ.get("PYTHONPATH")]), str(folder.resolve())]
    )


def start(
    args: argparse.Namespace,
    files: list[str],
    sides: list[str],
    pythons: dict[str, Path],
    folder: Path,
) -> dict[str, subprocess.Popen]:
    """A process a way, in the order in which they will take turns."""
    from tetrapose import images

    told = [json.dumps(files), json.dumps({file: images.read_size(file) for file in files})]
    ways: dict[str, subprocess.Popen] = {}
    if "mmpose" in sides:
        ways[NAMES["mmpose"]] = peer(args, pythons["mmpose"], MMPOSE_SIDE, told)
    for side, script, variants in (
        ("deeplabcut", DEEPLABCUT_SIDE, ("1", "8")),
        ("transformers", TRANSFORMERS_SIDE, ("S", "B")),
    ):
        for variant in variants if side in sides else ():
            words = [*told, variant]
            ways[NAMES[side].format(variant)] = peer(args, pythons[side], script, words)
    for name, flips in OURS.items() if "ours" in sides else ():
        model = random_model(name, folder)
        for flip in flips:
            for backend in BACKENDS:
                words = [str(model), backend, str(flip == "flip test"), str(args.batch)]
                ways[f"ours {name} {backend}, {flip}"] = launch(
                    [sys.executable, __file__, "ours", str(args.threads), told[0], *words]
                )
    return ways


def peer(args: argparse.Namespace, python: Path, script: str, words: list[str]) -> subprocess.Popen:
    return launch([str(python), "-c", LOOP + script, str(args.threads), *words])


def launch(words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def random_model(name: str, folder: Path) -> Path:
    """A model of ours with random weights, as its published kin are set up."""
    import torch
    from torch.nn.init import kaiming_normal_

    from tetrapose import skeletons
    from tetrapose.codecs import Heatmap
    from tetrapose.models.hrnet import hrnet_w32
    from tetrapose.models.vitpose import vitpose
    from tetrapose.weights import card

    torch.manual_seed(0)
    skeleton = skeletons.load("ap10k")
    if name == "HRNet-W32":
        builder, arguments = "tetrapose.models.hrnet:hrnet_w32", {}
        network = hrnet_w32(len(skeleton))
        codec = Heatmap(len(skeleton), input_size=(256, 256))
    else:
        builder = "tetrapose.models.vitpose:vitpose"
        arguments = {"size": name[-1].lower(), "head": "classic", "input_size": [192, 256]}
        network = vitpose(len(skeleton), **arguments)  # type: ignore[arg-type]
        codec = Heatmap(
            len(skeleton), input_size=(192, 256), decoder="dark_udp", grid="centres", window=True
        )
    for module in network.modules():  # maps with peaks, as trained ones have, not a plain of noise
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            kaiming_normal_(module.weight)
    described = card.describe(
        builder, arguments, skeleton=skeleton, crop={"padding": 1.25}, codec=codec,
        normalisation={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    )  # fmt: skip
    file = folder / f"{name.lower()}.safetensors"
    card.save(file, network, described, dtype=torch.float32)
    return file


def ours() -> None:
    """Our side's process: the whole of Predictor.stream, reading and computing side by side."""
    import cv2
    import torch

    from tetrapose.cli import keep_freed_memory
    from tetrapose.inference.cutting import Item
    from tetrapose.inference.predictor import load

    threads, files, model, backend, flip, batch = sys.argv[2:]
    keep_freed_memory()  # as every tetrapose command does
    torch.set_num_threads(int(threads))
    cv2.setNumThreads(1)
    predictor = load(
        model, flip=flip == "True", batch_size=int(batch), device="cpu", backend=backend
    )
    names = json.loads(files)
    list(predictor.stream(map(Item, names[: int(batch)])))
    print(
        f"{predictor.backend} {predictor.protocol['precision']} {predictor.note}", file=sys.stderr
    )
    print("ready", flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        list(predictor.stream(map(Item, names)))
        print(time.perf_counter() - began, flush=True)


def compare(args: argparse.Namespace, files: list[str], ways: dict[str, subprocess.Popen]) -> None:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for name, process in ways.items():
        assert process.stdout is not None
        if "ready" not in map(str.strip, process.stdout):  # peers greet before it
            sys.exit(f"{name} did not start")
    for _ in range(args.rounds):
        for name, process in ways.items():
            process.stdin.write("go\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            line = process.stdout.readline().strip()  # type: ignore[union-attr]
            taken[name].append(len(files) / float(line))
    for process in ways.values():
        process.stdin.close()  # type: ignore[union-attr]
        process.wait()
    print(f"{len(files)} pictures, {args.threads} threads, {args.rounds} rounds, {machine()}")
    print(f"{'pictures/s':48}{'median':>9}{'least':>9}{'most':>9}")
    for name, rates in taken.items():
        print(f"{name:48}{statistics.median(rates):9.2f}{min(rates):9.2f}{max(rates):9.2f}")
    if args.smoke:
        print("a smoke run: these figures mean nothing")


def machine() -> str:
    from tetrapose.inference.backends import processor

    return processor()


if __name__ == "__main__":
    if sys.argv[1:2] == ["ours"]:
        ours()
    else:
        main()
