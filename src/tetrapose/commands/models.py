"""Networks: which there are, how large, how fast, and which weights exist for them.

  tetrapose models
  tetrapose models hrnet_w32
  tetrapose models hrnet_w32 vitpose_b --measure --size 192 256 --batch 8 --threads 2

Each is a configuration of `tetrapose train model=NAME`. GFLOPs are counted by torch with a
multiplication and an addition as two; papers print GMACs, which count them as one, as GFLOPs. Both
are of one picture of --size (width, height), and so are the pictures a second of --measure: random
weights, float32, prepared as for prediction, the network alone without reading and decoding.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

HELP = "networks, their size, cost and speed, and the weights there are"
KEYPOINTS = 17  # that sizes and costs are given for, as papers do
GROUPS = 5  # of a finder
# the networks of published files, by their names in weights/zoo.yaml
PUBLISHED = (
    (r"hrnet_w32|freenet_.*", "hrnet_w32"),
    (r"hrnet_w48", "hrnet_w48"),
    (r"resnet(18|50|101|152)", "simple_baseline_{}"),
    (r"vitpose_(?:plus_)?([sblh])(?:_.*)?", "vitpose_{}"),
)
KEPT_SIZE = (192, 256)  # at which costs are kept, in model_costs.yaml
MULTIPLE = 32  # that the sides of every network's input divide by
LEAST = 64


@dataclass(frozen=True)
class Network:
    """A configuration of a network: builder "module:function", arguments, what its file says."""

    name: str
    builder: str
    arguments: Mapping[str, Any]
    words: str


@dataclass(frozen=True)
class Cost:
    """What is counted of a network: ``flops`` of one picture; the rest as in Facts."""

    parameters: int
    flops: int
    strides: tuple[int, ...]
    outputs: int


@dataclass(frozen=True)
class Facts:
    """What is known of a network without running it.

    ``stride``: input pixels a cell of each output. ``outputs``: how many are taught in training.
    ``weights``: names that `checkpoint_path` or `--model` take; ``published``: those that
    `tetrapose weights fetch` takes.
    """

    name: str
    words: str
    builder: str
    arguments: Mapping[str, Any]
    parameters: int
    gmacs: float
    gflops: float
    input_size: tuple[int, int]
    strides: tuple[int, ...]
    outputs: int
    weights: tuple[str, ...]
    published: tuple[str, ...]
    pictures_per_second: float | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; one alone in detail")
    parser.add_argument(
        "--size", nargs=2, type=int, default=[192, 256], metavar=("W", "H"),
        help=f"of a picture in pixels, multiples of {MULTIPLE} (default: 192 256)",
    )  # fmt: skip
    parser.add_argument(
        "--measure", action="store_true", help="run each network here: pictures a second"
    )
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="pictures at once (8)")
    parser.add_argument("--threads", type=int, metavar="N", help="of the processor (default: all)")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(args: argparse.Namespace) -> int:
    """Print what is known of the networks."""
    import json
    from dataclasses import replace

    size = _checked(args)
    networks = _chosen(args.names)
    rows = []
    for network in networks:
        facts = facts_of(network, size)
        if args.measure:
            speed = measure(network, size, batch=args.batch, threads=args.threads)
            facts = replace(facts, pictures_per_second=speed)
        rows.append(facts)
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    elif len(args.names) == 1:
        print(_detail(rows[0]))
    else:
        print(_table(rows))
    return 0


def available() -> dict[str, Network]:
    """Every configuration of the group ``model`` by its name."""
    from importlib import resources

    import yaml

    folder = resources.files("tetrapose.configs") / "model"
    found = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".yaml"):
            continue
        text = file.read_text(encoding="utf-8")
        arguments = yaml.safe_load(text)
        module, _, function = arguments.pop("_target_").rpartition(".")
        lines = [line.lstrip("# ") for line in text.splitlines() if line.startswith("#")]
        name = file.name.removesuffix(".yaml")
        found[name] = Network(name, f"{module}:{function}", arguments, " ".join(lines))
    return found


def facts_of(network: Network, size: tuple[int, int]) -> Facts:
    """Parameters, cost and strides, and the weights there are."""
    cost = _kept_costs().get(network.name) if size == KEPT_SIZE else None
    cost = cost or count(network, size)
    return Facts(
        name=network.name,
        words=network.words,
        builder=network.builder,
        arguments=dict(network.arguments),
        parameters=cost.parameters,
        gmacs=cost.flops / 2e9,
        gflops=cost.flops / 1e9,
        input_size=size,
        strides=cost.strides,
        outputs=cost.outputs,
        weights=weights_of(network),
        published=published_of(network.name),
    )


def count(network: Network, size: tuple[int, int]) -> Cost:
    """What one picture of ``size`` (width, height) costs; no memory for weights or pictures."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = _hollow(network)
    parameters = sum(p.numel() for p in model.parameters())
    _leave_norms_out(model)
    width, height = size
    images = torch.empty(2, 3, height, width, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        found = model.train()(images)  # in training, where every output shows
    taught = found if isinstance(found, tuple) else (found,)
    levels = taught[-1] if isinstance(taught[-1], list) else [taught[-1]]
    return Cost(
        parameters=parameters,
        flops=counter.get_total_flops() // len(images),
        strides=tuple(width // level.shape[-1] for level in levels),
        outputs=len(taught),
    )


@cache
def _kept_costs() -> dict[str, Cost]:
    """Counted before, at KEPT_SIZE: to count them all takes seconds."""
    from importlib import resources

    import yaml

    text = (resources.files("tetrapose.commands") / "model_costs.yaml").read_text(encoding="utf-8")
    return {
        name: Cost(**{**row, "strides": tuple(row["strides"])})
        for name, row in yaml.safe_load(text).items()
    }


def weights_of(network: Network) -> tuple[str, ...]:
    """Names of weights that fit the network: shipped models, and backbones to start from."""
    import json

    from tetrapose.weights import files, imagenet

    found = []
    for card in sorted(files.shipped_folder().glob("*.json")):
        content = json.loads(card.read_text(encoding="utf-8"))
        made = content.get("architecture") if isinstance(content, dict) else None
        if made and made["builder"] == network.builder and _same(network, made["arguments"]):
            found.append(card.stem)
    variant = network.arguments.get("variant")
    backbone = f"efficientnet_lite{variant}" if variant is not None else network.name
    if backbone in imagenet.FILES:
        found.append(f"{imagenet.PREFIX}{backbone}")
    return tuple(found)


def published_of(name: str) -> tuple[str, ...]:
    """Names of the zoo's files for the network of that name."""
    from tetrapose.weights import zoo

    return tuple(one for one in zoo.entries() if network_of(one) == name)


def network_of(entry: str) -> str | None:
    """The network that a file of the zoo is for, by its name."""
    import re

    for pattern, name in PUBLISHED:
        match = re.search(rf"(?:^|_)(?:{pattern})(?:_|$)", entry)
        if match:
            return name.format(*match.groups())
    return None


def measure(
    network: Network, size: tuple[int, int], *, batch: int, threads: int | None, seconds: float = 2
) -> float:
    """Pictures a second of the network alone: the median of three runs or more."""
    import time

    import torch

    from tetrapose.inference.fusing import fuse

    if threads is not None:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = fuse(_built(network)).to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    images = torch.rand(batch, 3, size[1], size[0], device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    taken: list[float] = []
    with torch.inference_mode():
        model(images)
        while len(taken) < 3 or sum(taken) < seconds:
            start = time.perf_counter()
            model(images)
            if device == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
    return batch / sorted(taken)[len(taken) // 2]


def _checked(args: argparse.Namespace) -> tuple[int, int]:
    """The size as asked for; a UserError where a number is none that a network takes."""
    from tetrapose.errors import UserError

    width, height = args.size
    if any(side % MULTIPLE or side < LEAST for side in (width, height)):
        raise UserError(
            f"--size {width} {height}: both must be multiples of {MULTIPLE} and at least {LEAST}"
        )
    for name in ("batch", "threads"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UserError(f"--{name} must be 1 or more, not {getattr(args, name)}")
    return width, height


def _chosen(names: Sequence[str]) -> list[Network]:
    from difflib import get_close_matches

    from tetrapose.errors import UserError

    networks = available()
    for name in names:
        if name not in networks:
            near = get_close_matches(name, networks, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(networks)}"
            raise UserError(f"no network {name!r}; {hint}")
    return [networks[name] for name in names or networks]


def _hollow(network: Network) -> nn.Module:
    """The network, its weights without memory."""
    from pathlib import Path

    from tetrapose.weights.card import build_network

    architecture = {"builder": network.builder, "arguments": dict(network.arguments)}
    return build_network(architecture, Path(f"model={network.name}"), **_outputs(network))


def _leave_norms_out(model: nn.Module) -> None:
    """Batch norms count no operations, and to follow their shapes is most of the time."""
    from torch import nn

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())


def _built(network: Network) -> nn.Module:
    """The network with random weights."""
    return _function(network)(**network.arguments, **_outputs(network))


def _function(network: Network) -> Any:
    import importlib

    module, _, name = network.builder.partition(":")
    return getattr(importlib.import_module(module), name)


def _outputs(network: Network) -> dict[str, int]:
    """How many outputs it is built for: a finder counts groups, all others keypoints."""
    import inspect

    first = next(iter(inspect.signature(_function(network)).parameters))
    return {first: GROUPS if first == "num_groups" else KEYPOINTS}


def _same(network: Network, arguments: Mapping[str, Any]) -> bool:
    """Whether a card's arguments build this network, however many outputs it has."""
    import inspect

    def settled(given: Mapping[str, Any]) -> dict[str, Any]:
        bound = inspect.signature(_function(network)).bind_partial(**given)
        bound.apply_defaults()
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in bound.arguments.items()}
        return {k: v for k, v in plain.items() if k not in ("num_keypoints", "num_groups")}

    return settled(network.arguments) == settled(arguments)


def _table(rows: Sequence[Facts]) -> str:
    measured = any(row.pictures_per_second is not None for row in rows)
    wide = max(len(row.name) for row in rows)
    titles = f"{'network':{wide}}  parameters   GMACs  GFLOPs  stride"
    titles += "  pictures/s" if measured else ""
    lines = [f"{titles}  weights"]
    for row in rows:
        line = f"{row.name:{wide}}  {row.parameters / 1e6:8.2f} M  {row.gmacs:6.2f}  "
        line += f"{row.gflops:6.2f}  {_strides(row):>6}"
        line += f"  {row.pictures_per_second:10.1f}" if measured else ""
        fetched = [f"{len(row.published)} to fetch"] if row.published else []
        lines.append(f"{line}  {', '.join([*row.weights, *fetched]) or '-'}")
    width, height = rows[0].input_size
    lines.append(
        f"\nat {width} x {height} pixels, {KEYPOINTS} keypoints; a multiply-add is 1 MAC, 2 FLOPs"
        " (papers print MACs as FLOPs)"
    )
    return "\n".join(lines)


def _detail(row: Facts) -> str:
    width, height = row.input_size
    lines = {
        "network": row.name,
        "": row.words,
        "built by": row.builder,
        "arguments": ", ".join(f"{k}={v}" for k, v in row.arguments.items()) or "none",
        "parameters": f"{row.parameters:,}",
        "cost": f"{row.gmacs:.2f} GMACs, {row.gflops:.2f} GFLOPs at {width} x {height} pixels",
        "stride": _strides(row),
        "taught at": f"{row.outputs} outputs" if row.outputs > 1 else "its output",
        "weights": ", ".join(row.weights) or "none here",
        "to fetch": ", ".join(row.published) or "none",
        "to train": f"tetrapose train model={row.name} ...",
    }
    if row.pictures_per_second is not None:
        lines["speed"] = f"{row.pictures_per_second:.1f} pictures a second here"
    return "\n".join(f"{key:11} {value}" for key, value in lines.items())


def _strides(row: Facts) -> str:
    return ", ".join(str(stride) for stride in row.strides)
