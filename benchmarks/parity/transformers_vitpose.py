"""Compare vitpose with VitPoseForPoseEstimation of transformers: plain ones and merged experts.

    python benchmarks/parity/transformers_vitpose.py --install peer    # once: an environment
    peer/bin/python benchmarks/parity/transformers_vitpose.py

Theirs gets random weights, which are renamed for ours (loaded with strict names); of a ViTPose++
network with six experts each expert is merged into plain weights in turn: its rows stand below
those of the shared part in every block's last layer. Heatmaps of the same random picture may differ
by 1e-4 of the largest value at most. Exit status 1 when any network differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEYPOINTS = 17
EXPERTS = 6
LIMIT = 1e-4
# channels, blocks, heads, channels of an expert (usyd-community/vitpose-plus-* on Hugging Face)
SIZES = {
    "s": (384, 12, 12, 96), "b": (768, 12, 12, 192), "l": (1024, 24, 16, 256),
    "h": (1280, 32, 16, 320),
}  # fmt: skip


def theirs(size: str, *, simple: bool, experts: int = 1) -> Any:
    from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

    channels, depth, heads, part = SIZES[size]
    backbone = VitPoseBackboneConfig(
        image_size=[256, 192],
        hidden_size=channels,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        num_experts=experts,
        part_features=part if experts > 1 else 0,
        out_features=[f"stage{depth}"],
    )
    config = VitPoseConfig(
        backbone_config=backbone, num_labels=KEYPOINTS, use_simple_decoder=simple, scale_factor=4
    )
    return VitPoseForPoseEstimation(config).eval()


def scramble(model: Any, seed: int) -> None:
    """Every tensor random, at a size that keeps activations alive through all blocks."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        drawn = torch.rand(value.shape, generator=generator)
        if "position_embeddings" in name:
            value.copy_(drawn - 0.5)
        elif value.ndim > 1:
            value.copy_((2 * drawn - 1) * (3 / value[0].numel()) ** 0.5)
        elif name.endswith("bias") or name.endswith("running_mean"):
            value.copy_(drawn - 0.5)
        else:
            value.copy_(drawn + 0.5)


def renamed(state: Mapping[str, Any], expert: int | None = None) -> dict[str, Any]:
    """Their tensors under the names of models.vitpose, with one expert merged."""
    import torch

    fixed = {
        "backbone.embeddings.patch_embeddings.projection": "backbone.patch_embed.proj",
        "backbone.embeddings.position_embeddings": "backbone.pos_embed",
        "backbone.layernorm": "backbone.last_norm",
        "head.deconv1": "keypoint_head.deconv_layers.0",
        "head.batchnorm1": "keypoint_head.deconv_layers.1",
        "head.deconv2": "keypoint_head.deconv_layers.3",
        "head.batchnorm2": "keypoint_head.deconv_layers.4",
        "head.conv": "keypoint_head.final_layer",
        ".attention.output.dense": ".attn.proj",
        ".layernorm_before": ".norm1",
        ".layernorm_after": ".norm2",
        "backbone.encoder.layer.": "backbone.blocks.",
    }
    ours: dict[str, Any] = {}
    for name, value in state.items():
        for old, new in fixed.items():
            name = name.replace(old, new)
        ours[name] = value
    for name in [name for name in ours if ".attention.attention.query." in name]:
        parts = [ours.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        ours[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    if expert is not None:
        for name in [name for name in ours if ".mlp.fc2." in name]:
            own = ours[name.replace("fc2", f"experts.{expert}")]
            ours[name] = torch.cat((ours[name], own))
    return {name: value for name, value in ours.items() if ".experts." not in name}


def compare(size: str, *, simple: bool, experts: int = 1) -> bool:
    import torch

    from tetrapose.models.vitpose import vitpose

    peer = theirs(size, simple=simple, experts=experts)
    scramble(peer, seed=1)
    mine = vitpose(KEYPOINTS, size=size, head="simple" if simple else "classic").eval()
    images = torch.randn(1, 3, 256, 192, generator=torch.Generator().manual_seed(2))
    good = True
    for expert in range(experts) if experts > 1 else [None]:
        mine.load_state_dict(renamed(peer.state_dict(), expert), strict=True)
        index = None if expert is None else torch.tensor([expert])
        with torch.no_grad():
            a, b = mine(images), peer(images, dataset_index=index).heatmaps
        assert b.isfinite().all(), f"{size}: these weights overflow and compare nothing"
        assert b.std() > 1e-2, f"{size}: these weights give next to nothing to compare"
        difference = float((a - b).abs().max() / b.abs().max())
        good &= difference <= LIMIT
        kind = "simple" if simple else "classic"
        what = "" if expert is None else f", expert {expert} of {experts} merged"
        count = sum(p.numel() for p in mine.parameters())
        print(f"vitpose_{size} {kind:8} {count:>11,} parameters, difference {difference:.1e}{what}")
    return good


def same_count(size: str, *, simple: bool) -> bool:
    """Too large to run for a comparison: the names and shapes must agree."""
    import torch

    from tetrapose.models.vitpose import vitpose

    with torch.device("meta"):
        mine = vitpose(KEYPOINTS, size=size, head="simple" if simple else "classic")
        peer = theirs(size, simple=simple)
    want = {name: tuple(value.shape) for name, value in renamed(peer.state_dict()).items()}
    have = {name: tuple(value.shape) for name, value in mine.state_dict().items()}
    counts = [sum(p.numel() for p in model.parameters()) for model in (mine, peer)]
    kind = "simple" if simple else "classic"
    print(f"vitpose_{size} {kind:8} {counts[0]:>11,} parameters here, {counts[1]:,} there")
    return want == have and counts[0] == counts[1]


def install(folder: Path) -> None:
    """An environment with tetrapose of this checkout and transformers."""
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "-c", str(root / "constraints" / "tested.txt")]
    subprocess.run([*pip, "-e", str(root), "transformers>=5"], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install", type=Path, metavar="DIR", help="make the environment and stop")
    args = parser.parse_args()
    if args.install:
        install(args.install)
        return 0
    checks = [compare("s", simple=False), compare("s", simple=True)]
    checks.append(compare("s", simple=False, experts=EXPERTS))
    checks.append(compare("b", simple=False))
    checks += [same_count(size, simple=simple) for size in "lh" for simple in (False, True)]
    return 0 if all(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
