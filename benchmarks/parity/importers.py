"""Compare imported models with the systems that wrote the files: outputs from equal random weights.

    python -m venv peers && peers/bin/pip install transformers timm mmpose ...
    peers/bin/python benchmarks/parity/importers.py write transformers timm mmpose --to checkpoints
    python benchmarks/parity/importers.py compare checkpoints

``write`` runs where the peers are installed and needs nothing of tetrapose: each network of theirs
gets random weights, is saved as its system saves it, and its output for a random picture is kept.
``compare`` imports each file as the command does and puts the same picture through ours; the
largest difference must stay below 1e-4 of the largest output. Exit status 1 when any differs.

mmpose 1.3 imports mmcv's compiled operations, which these networks do not use; a stand-in is made.
timm wants torchvision beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LIMIT = 1e-4
SKELETONS = {17: "ap10k", 20: "animal_pose", 39: "awa_pose"}


def scramble(model: nn.Module, seed: int) -> nn.Module:
    """Weights and statistics that keep activations of a size with their inputs."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        if name.endswith("running_var") or (value.ndim == 1 and name.endswith("weight")):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.ndim < 2:
            value.uniform_(-0.2, 0.2, generator=generator)
        else:
            bound = (3 / value[0].numel()) ** 0.5
            value.uniform_(-bound, bound, generator=generator)
    return model.eval()


def picture(size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(1, 3, size[1], size[0], generator=generator)


def keep(folder: Path, name: str, content: Any, output: Tensor, how: dict[str, Any]) -> None:
    torch.save(content, folder / f"{name}.pth")
    torch.save({"output": output, **how}, folder / f"{name}.expected")
    print(f"wrote {name}: {tuple(output.shape)}", flush=True)


@torch.no_grad()
def write_transformers(folder: Path) -> None:
    from transformers import (  # type: ignore[import-not-found]
        VitPoseBackboneConfig,
        VitPoseConfig,
        VitPoseForPoseEstimation,
    )

    size = (192, 256)
    for experts, simple in ((1, False), (1, True), (6, False)):
        backbone = VitPoseBackboneConfig(
            hidden_size=384, num_hidden_layers=12, num_attention_heads=12, num_experts=experts,
            part_features=96 if experts > 1 else 0, image_size=(256, 192),
        )  # fmt: skip
        config = VitPoseConfig(backbone_config=backbone, num_labels=17, use_simple_decoder=simple)
        model = scramble(VitPoseForPoseEstimation(config), seed=3)
        more = {"dataset_index": torch.tensor([3])} if experts > 1 else {}
        output = model(picture(size), **more).heatmaps
        choice = {"expert": "ap10k", "own_head": True} if experts > 1 else {}
        name = f"transformers_{'expert' if experts > 1 else 'simple' if simple else 'classic'}"
        how = {"kind": "huggingface", "size": size, "choice": choice}
        keep(folder, name, model.state_dict(), output, how)


@torch.no_grad()
def write_timm(folder: Path) -> None:
    # torchvision's wheels for CUDA do not import beside a torch for CPUs until these are declared
    for op in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):
            torch.library.define(
                f"torchvision::{op}", "(Tensor dets, Tensor scores, float threshold) -> Tensor"
            )
    import timm  # type: ignore[import-not-found]

    size = (128, 128)
    for name in ("resnet18", "resnet50", "hrnet_w18", "hrnet_w32"):
        model = scramble(timm.create_model(name, pretrained=False), seed=4)
        if name.startswith("resnet"):
            output = model.forward_features(picture(size))
        else:
            features = timm.create_model(
                name, pretrained=False, features_only=True, feature_location="",
                out_indices=(1, 2, 3, 4),
            ).eval()  # fmt: skip
            features.load_state_dict(model.state_dict(), strict=False)
            output = features(picture(size))[0]
        how = {"kind": "timm", "size": size, "choice": {}}
        keep(folder, f"timm_{name}", model.state_dict(), output, how)
        if (
            name == "hrnet_w32"
        ):  # what DeepLabCut 3 puts around it (models/model.py, simple_head.py)
            head = scramble(nn.ConvTranspose2d(32, 39, 1), seed=5)
            state = {f"backbone.model.{k}": v for k, v in features.state_dict().items()}
            state |= {
                f"heads.bodypart.heatmap_head.deconv_layers.0.{k}": v
                for k, v in head.state_dict().items()
            }
            how = {"kind": "deeplabcut", "size": size, "choice": {}, "order": "superanimal"}
            keep(folder, "deeplabcut", {"model": state, "metadata": {}}, head(output), how)


class Anything(types.ModuleType):
    """Has every function that is asked for, and none that does anything."""

    def __getattr__(self, name: str) -> Any:
        return None if name.startswith("__") else print


@torch.no_grad()
def write_mmpose(folder: Path) -> None:
    try:
        import mmcv._ext  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        sys.modules["mmcv._ext"] = Anything("mmcv._ext")
    for name in ("torchvision", "torchvision.transforms"):  # for its pictures of heatmaps alone
        sys.modules.setdefault(name, Anything(name))
    from mmengine.config import Config  # type: ignore[import-not-found]
    from mmpose.models import build_pose_estimator  # type: ignore[import-not-found]
    from mmpose.utils import register_all_modules  # type: ignore[import-not-found]

    register_all_modules()
    root = Path(sys.modules["mmpose"].__file__).parent / ".mim/configs/animal_2d_keypoint"  # type: ignore[arg-type]
    size = (256, 256)
    for name in ("ap10k/td-hm_hrnet-w32_8xb64-210e_ap10k-256x256",
                 "ap10k/td-hm_res50_8xb64-210e_ap10k-256x256",
                 "animalpose/td-hm_hrnet-w32_8xb64-210e_animalpose-256x256"):  # fmt: skip
        config = Config.fromfile(root / "topdown_heatmap" / f"{name}.py")
        config.model.backbone.init_cfg = None
        config.model.test_cfg = {}
        model = scramble(build_pose_estimator(config.model), seed=6)
        output = model(picture(size), None, mode="tensor")
        short = "mmpose_" + name.rpartition("td-hm_")[2].split("_8xb64")[0].replace("-", "_")
        how = {"kind": "mmpose", "size": size, "choice": {}}
        if "animalpose" in name:
            short, how = f"{short}_animal_pose", {**how, "order": "mmpose"}
        content = {"meta": {"mmpose_version": "1.3.2"}, "state_dict": model.state_dict()}
        keep(folder, short, content, output, how)


@torch.no_grad()
def compare(folder: Path) -> bool:
    from tetrapose import skeletons
    from tetrapose.training.start import start_from
    from tetrapose.weights import card
    from tetrapose.weights.importers import Meaning, import_file
    from tetrapose.weights.importers.common import Choice
    from tetrapose.weights.importers.orders import MMPOSE_ANIMAL_POSE, SUPERANIMAL

    good = True
    for path in sorted(folder.glob("*.pth")):
        expected = torch.load(path.with_suffix(".expected"), weights_only=True)
        theirs, size = expected["output"], tuple(expected["size"])
        backbone = expected["kind"] == "timm"
        skeleton = None if backbone else skeletons.load(SKELETONS[theirs.shape[1]])
        done = import_file(
            expected["kind"], path, folder / "out.safetensors",
            choice=Choice(size=size, **expected["choice"]), meaning=Meaning(skeleton=skeleton),
        )  # fmt: skip
        if skeleton is not None:
            ours = card.load(done.path).model(picture(size))
            order = {"mmpose": MMPOSE_ANIMAL_POSE, "superanimal": SUPERANIMAL}
            names = order.get(expected.get("order", ""), skeleton.names)
            theirs = theirs[:, [names.index(name) for name in skeleton.names]]
        else:
            ours = features_of(done, start_from, picture(size))
        worst = float((ours - theirs).abs().max() / theirs.abs().max())
        assert theirs.std() > 1e-3, f"{path.stem}: these weights give next to nothing to compare"
        fits = worst <= LIMIT
        good &= fits
        print(f"{path.stem:34}{tuple(theirs.shape)!s:22}difference {worst:.1e}  {fits}", flush=True)
    return good


def features_of(done: Any, start_from: Any, images: Tensor) -> Tensor:
    """What goes into the head of a network that was started from an imported backbone."""
    import importlib

    from tetrapose import skeletons

    module, _, name = done.network.builder.partition(":")
    model = getattr(importlib.import_module(module), name)(17, **done.network.arguments).eval()
    start_from(model, done.path, skeletons.load("ap10k"))
    kept: list[Tensor] = []
    head = model.deconv_layers if hasattr(model, "deconv_layers") else model.final_layer
    head.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    model(images)
    return kept[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    write = actions.add_parser("write")
    write.add_argument("peers", nargs="+", choices=("transformers", "timm", "mmpose"))
    write.add_argument("--to", type=Path, required=True)
    actions.add_parser("compare").add_argument("folder", type=Path)
    args = parser.parse_args()
    if args.action == "compare":
        return 0 if compare(args.folder) else 1
    args.to.mkdir(parents=True, exist_ok=True)
    for peer in args.peers:
        {"transformers": write_transformers, "timm": write_timm, "mmpose": write_mmpose}[peer](
            args.to
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
