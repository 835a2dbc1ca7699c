"""``tetrapose label-free run``: one method on one preset, from sets to a run folder with a result.

  tetrapose label-free run menagerie root=DIR
  tetrapose label-free run menagerie root=DIR method=two_looks seed=1 steps=8000 every=400
  tetrapose label-free run animal_pose_halves root=DIR --show

A preset says which sets, which of their labels are shown, and what is held out; method=NAME chooses
how to learn, field=value changes one value (--show prints what was composed). The run folder
(runs/label_free/NAME) gets config.yaml, splits/, curves.csv and .png, last.ckpt and best.ckpt, and
at the end model.safetensors and result.json. The same command goes on where it was stopped; with a
result.json there is nothing left to do.
"""

from __future__ import annotations

import argparse
from typing import Any

HELP = "run one method on one preset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("preset", nargs="?", metavar="PRESET", help="--list names them")
    parser.add_argument("overrides", nargs="*", metavar="GROUP=NAME|field=value")
    parser.add_argument("--show", action="store_true", help="print the composed config and stop")
    parser.add_argument("--list", action="store_true", help="list presets and methods")


def run(args: argparse.Namespace) -> int:
    """Compose, build, train, write the result."""
    from tetrapose.errors import UserError

    if args.list:
        for kind in ("preset", "method"):
            for name, line in choices(kind).items():
                print(f"{kind} {name:24} {line}")
        return 0
    if args.preset is None:
        raise UserError("which preset? tetrapose label-free run --list names them")
    config = compose(args.preset, args.overrides)
    if args.show:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config, resolve=False))
        return 0
    return _run(config)


def choices(kind: str) -> dict[str, str]:
    """Presets or methods that ship, with the line that says what each is."""
    from importlib import resources

    folder = resources.files("tetrapose.configs").joinpath("label_free", kind)
    found = {}
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".yaml"):
            lines = file.read_text(encoding="utf-8").splitlines()
            told = [line[2:] for line in lines if line.startswith("# ")]
            plain = [line for line in told if not line.startswith(("@package", "tetrapose "))]
            found[file.name[:-5]] = plain[0] if plain else ""
    return found


def compose(preset: str, overrides: list[str]) -> Any:
    """The run's config; a UserError names a wrong preset, method or field."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from tetrapose.commands.train import _missing, _quoted
    from tetrapose.errors import UserError

    _known("preset", preset)
    given = [f"label_free/preset={preset}"]
    for one in overrides:
        if one.startswith("method="):
            name = one.removeprefix("method=")
            _known("method", name)
            given += [f"label_free/method={name}", f"method_name={name}"]
        else:
            given.append(_quoted(one))
    try:
        with initialize_config_module("tetrapose.configs", version_base="1.3"):
            config = hydra_compose("label_free", overrides=given)
        missing = _missing(OmegaConf.to_container(config, resolve=False))
        if missing:
            raise UserError(f"missing: {', '.join(f'{key}=...' for key in missing)}")
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        text = str(cause).split("\n\n")[0].replace("\n", " ")
        raise UserError(f"{' '.join(text.split())} (--show prints the fields)") from error
    return config


def _known(kind: str, name: str) -> None:
    from difflib import get_close_matches

    from tetrapose.errors import UserError

    there = choices(kind)
    if name not in there:
        near = get_close_matches(name, there, n=1) or there
        raise UserError(f"no {kind} {name!r}; there is {', '.join(near)}")


def _run(config: Any) -> int:
    import json
    import sys
    from pathlib import Path

    import lightning as L

    from tetrapose.commands.train import _as_yaml
    from tetrapose.training.folder import claimed
    from tetrapose.training.labelfree.run import RESULT, carry_out
    from tetrapose.training.labelfree.step import processes

    folder = Path(config.run_dir)
    file = folder / RESULT
    with claimed(folder, _as_yaml(config), overwrite=config.overwrite):
        if file.exists():
            print(f"{folder} has its result already", file=sys.stderr)
            result = json.loads(file.read_text(encoding="utf-8"))
        else:
            L.seed_everything(config.seed, verbose=False)
            result = carry_out(setup_of(config))
    if processes()[0]:
        return 0  # the first of several processes speaks for all
    kinds = result["test"]["pck"]["0.1"]
    told = ", ".join(f"{kind} {value:.3f}" for kind, value in kinds.items() if value is not None)
    print(f"{config.name}: PCK@0.1 on the test part: {told}; {file}")
    bad = sum(len(rows) for rows in result["unreadable"].values())
    if bad:
        print(f"{bad} animals were left out: their pictures cannot be decoded", file=sys.stderr)
    return 1 if bad else 0


def setup_of(config: Any) -> Any:
    """All parts of a run from its config."""
    from pathlib import Path

    from tetrapose.commands.train import _make, _network, _plain
    from tetrapose.data.partial import open_partial
    from tetrapose.training.labelfree.run import Crops, Pace, Setup
    from tetrapose.training.labelfree.step import Start
    from tetrapose.training.start import start_from
    from tetrapose.weights.backbone import is_backbone

    data = config.data
    partial = open_partial(
        _plain(data.sets), Path(config.run_dir) / "splits", labelling=_make(data.labels),
        skeleton=data.skeleton, near=data.near, shares=str(data.shares), seed=config.seed,
    )  # fmt: skip
    skeleton = partial.labelled.skeleton
    fresh, network = (_make(_network(config), num_keypoints=len(skeleton)) for _ in range(2))
    network.load_state_dict(fresh.state_dict())  # they differ by what ``start`` brings alone
    if config.start:
        for line in start_from(network, config.start, skeleton):
            print(line)
        if str(config.start).startswith("imagenet:") or is_backbone(config.start):
            fresh.load_state_dict(network.state_dict())
    codec = _make(config.codec, num_keypoints=len(skeleton))
    start = Start(network, fresh, codec, skeleton, tuple(partial.taught.tolist()))
    plain = _plain(config)
    builder, _, function = plain["model"]["_target_"].rpartition(".")
    arguments = {k: v for k, v in plain["model"].items() if not k.startswith("_")}
    return Setup(
        folder=Path(config.run_dir),
        step=_method(config, start),
        codec=codec,
        partial=partial,
        crops=Crops(
            tuple(config.input_size), padding=config.padding, judged=config.judged_padding,
            changes=[_make(one) for one in config.changes], peek=config.peek,
        ),
        pace=Pace(
            config.steps, config.every, batch=config.batch, pool_batch=config.pool_batch,
            workers=config.loading.workers,
        ),
        optimizer=_make(config.optimizer),
        scheduler=_make(config.scheduler) if config.scheduler.get("_target_") else None,
        trainer=_trainer(config),
        strong=_make(config.strong),
        seed=config.seed,
        clip=config.clip,
        about={
            "name": config.name,
            "preset": config.preset,
            "method": config.method_name,
            "settings": {k: v for k, v in plain["method"].items() if not k.startswith("_")},
            "labels": plain["data"]["labels"],
            "model": plain["model"],
            "start": str(config.start) if config.start else None,
            "lr": config.optimizer.lr,
        },
        architecture={
            "builder": f"{builder}:{function}",
            "arguments": {"num_keypoints": len(skeleton), **arguments},
        },
    )  # fmt: skip


def _method(config: Any, start: Any) -> Any:
    """The method by its name: arguments go by keyword, the start before them."""
    from tetrapose.commands.train import _plain
    from tetrapose.errors import UserError

    values = dict(_plain(config.method))
    module, _, name = str(values.pop("_target_")).rpartition(".")
    import importlib

    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return getattr(importlib.import_module(module), name)(start, **values)
    except TypeError as error:
        raise UserError(f"method.{' '.join(str(error).split())}") from None


def _trainer(config: Any) -> Any:
    """What makes the Trainer; several devices share each step's batch."""
    import functools

    from tetrapose.commands.train import _make
    from tetrapose.errors import UserError
    from tetrapose.training.fit import _quiet, best_precision

    precision = str(config.trainer.precision)
    if precision == "auto":
        precision = best_precision()
        precision = "32-true" if precision == "16-mixed" else precision
    if precision.startswith("16"):
        raise UserError("trainer.precision=16-mixed: its scaled gradients overflow by design, "
                        "which is a bad step here; take bf16-mixed or 32-true")  # fmt: skip
    config.trainer.precision = precision
    more = {}
    if config.trainer.devices not in (1, "1") and config.trainer.strategy == "auto":
        from lightning.pytorch.strategies import DDPStrategy

        # each turn of a step leaves the other networks without a gradient
        more["strategy"] = DDPStrategy(find_unused_parameters=True)
    return _quiet(functools.partial(_make(config.trainer), **more))
