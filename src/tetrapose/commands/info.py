"""Versions, machine and shipped parts: what a bug report needs."""

from __future__ import annotations

import argparse
import json
from typing import Any

HELP = "versions, machine and shipped parts, as a bug report needs them"
PACKAGES = (
    "torch", "torchvision", "lightning", "hydra-core", "numpy", "opencv-python-headless",
    "pillow", "av", "safetensors", "onnxruntime",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    facts = gather()
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    for key, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {version}" for name, version in value.items())
        print(f"{key:12} {value}")
    return 0


def gather() -> dict[str, Any]:
    """The facts as plain values; nothing here fails for want of an optional package."""
    import os
    import platform
    from importlib import metadata, resources

    from tetrapose import __version__, skeletons

    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = "not installed"
    weights = resources.files("tetrapose.weights")
    return {
        "tetrapose": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "device": _device(),
        "allocator": "tcmalloc" if "tcmalloc" in os.environ.get("LD_PRELOAD", "") else "system",
        "skeletons": ", ".join(skeletons.available()),
        "models": ", ".join(
            sorted(f.name[:-12] for f in weights.iterdir() if f.name.endswith(".safetensors"))
        ),
        "packages": packages,
    }


def _device() -> str:
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported: {error}"
    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return f"cpu ({torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads)"
