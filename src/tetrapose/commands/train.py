"""Train a network on labelled pictures.

  tetrapose train dataset.root=DIR/animal_pose
  tetrapose train model=hrnet_w32 codec=heatmap dataset=custom dataset.train=coco:labels.json
  tetrapose train experiment=small_128 dataset.root=DIR/animal_pose trainer.max_epochs=2
  tetrapose train experiment=finder dataset.root=DIR dataset.menagerie=DIR

Everything is a field; GROUP=NAME chooses a ready-made part and field=value changes one value
(--show prints what was composed). The run folder (runs/NAME) gets the composed config, curves,
last.ckpt and best.ckpt, and at the end model.safetensors with its card. The same command goes on
where it was stopped.
"""

from __future__ import annotations

import argparse
import functools
from typing import Any

HELP = "train a network on labelled pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("overrides", nargs="*", metavar="GROUP=NAME|field=value")
    parser.add_argument("--show", action="store_true", help="print the composed config and stop")
    parser.add_argument("--list", action="store_true", help="list groups and their choices")


def run(args: argparse.Namespace) -> int:
    """Compose, build the parts, train, write the model."""
    if args.list:
        for group, names in _groups().items():
            print(f"{group:20} {', '.join(names)}")
        return 0
    config = compose(args.overrides)
    if args.show:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config, resolve=False))
        return 0
    return _train(config)


def compose(overrides: list[str]) -> Any:
    """The run's config, checked against TrainConfig; a UserError names a wrong group or field."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from tetrapose.configs.schema import TrainConfig
    from tetrapose.errors import UserError

    try:
        with initialize_config_module("tetrapose.configs", version_base="1.3"):
            config = hydra_compose("train", overrides=[_quoted(one) for one in overrides])
        missing = _missing(OmegaConf.to_container(config, resolve=False))
        if missing:
            raise UserError(f"missing: {', '.join(f'{key}=...' for key in missing)}")
        OmegaConf.merge(OmegaConf.structured(TrainConfig), config)
        if config.checkpoint_path and not _names_a_network(overrides):
            from tetrapose.commands.train_start import network_of_card

            taken = network_of_card(config.checkpoint_path)
            if taken is not None:
                OmegaConf.update(config, "model", taken, merge=False)
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        text = str(cause).split("\n\n")[0].replace("\n", " ")
        raise UserError(
            f"{' '.join(text.split())} (tetrapose train --list shows groups)"
        ) from error
    return config


def _names_a_network(overrides: list[str]) -> bool:
    """Whether the command line says which network, itself or by an experiment."""
    keys = [one.partition("=")[0].lstrip("+~") for one in overrides]
    return any(key.split(".")[0] in ("model", "experiment", "head") for key in keys)


def _missing(values: Any, path: str = "") -> list[str]:
    """Fields still at ???; OmegaConf's own search stumbles over what interpolates them."""
    if isinstance(values, dict):
        found = [_missing(value, f"{path}.{key}" if path else key) for key, value in values.items()]
        return [name for names in found for name in names]
    return [path] if values == "???" else []


def _quoted(override: str) -> str:
    """A path needs no quotes: a value outside Hydra's grammar is taken as the text that it is."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, equals, value = override.partition("=")
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        parsed = None
    if not equals or (parsed is not None and not parsed.is_sweep_override()):
        return override
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


def _groups() -> dict[str, list[str]]:
    from importlib import resources

    root = resources.files("tetrapose.configs")
    folders = sorted((f for f in root.iterdir() if f.is_dir()), key=lambda f: f.name)
    groups = {
        folder.name: sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml"))
        for folder in folders
    }
    return {name: choices for name, choices in groups.items() if choices}


def _train(config: Any) -> int:
    from pathlib import Path

    from tetrapose.training.folder import claimed

    folder = Path(config.run_dir)
    with claimed(folder, _as_yaml(config), overwrite=config.overwrite):
        return _trained(config, folder)


def _trained(config: Any, folder: Any) -> int:
    import sys
    from dataclasses import replace

    import lightning as L

    from tetrapose.commands.train_finder import is_finder, train_finder
    from tetrapose.training.fit import Plan, best_precision, fit
    from tetrapose.training.folder import finish

    L.seed_everything(config.seed, verbose=False)
    if config.trainer.precision == "auto":
        config.trainer.precision = best_precision()
    plan = Plan(
        folder=folder,
        trainer=_make(config.trainer),
        metric=_make(config.metric),
        callbacks=[_make(one) for one in config.callbacks.values()],
        loggers=[_make(one) for one in config.logger.values()],
        batch_size=config.dataset.batch_size,
        workers=config.dataset.workers,
        seed=config.seed,
    )
    if is_finder(config):
        return train_finder(_plain(config), _make, plan)
    parts, train, val, truth, draws = _build(config)
    plan = replace(plan, truth=truth, draws=draws)
    problems = [*train.pose_set.problems, *(val.pose_set.problems if val else ())]
    left_out = [problem for problem in problems if problem.left_out]
    module = fit(parts, train, val, plan)
    path = finish(folder, module, train, {**_plain(config), "model": _network(config)})
    left_out_pictures = sorted(module.unreadable)
    for problem in left_out:
        print(f"left out: {problem}", file=sys.stderr)
    for row in left_out_pictures:
        picture = train.pose_set.path(int(train.pose_set.image_index[row]))
        print(f"left out: {picture}: cannot be decoded", file=sys.stderr)
    print(f"{module.skipped} steps skipped; model: {path}")
    return 1 if left_out or left_out_pictures else 0


def _build(config: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Parts, crop sets, the validation set as it is scored, and the draws of each row."""
    from tetrapose.commands.train_sets import training_sets, with_cache
    from tetrapose.data import open_set
    from tetrapose.data.crops import CropDataset
    from tetrapose.data.mix import onto
    from tetrapose.training.start import start_from

    data = config.dataset
    train, draws = training_sets(_plain(data))
    truth = open_set(data.val, split=_plain(data.val_split)) if data.val else None
    val = truth and onto(truth, train.skeleton)
    points = len(train.skeleton)
    model = _make(_network(config), num_keypoints=points)
    if config.checkpoint_path:
        for line in start_from(model, config.checkpoint_path, train.skeleton):
            print(line)
    parts = _make(
        config.lit_module,
        model=model,
        codec=_make(config.codec, num_keypoints=points),
        skeleton=train.skeleton,
        loss=_make(config.loss) if config.loss.get("_target_") else None,
        optimizer=_make(config.optimizer),
        scheduler=_make(config.scheduler) if config.scheduler.get("_target_") else None,
        image_changes=[_make(one) for one in config.train_augmentations.image],
        seed=config.seed,
    )
    shared = {
        "size": tuple(config.input_size), "padding": config.padding, "seed": config.seed,
        "warp": parts.codec.warp,
    }  # fmt: skip

    def crops(pose_set: Any, changes: Any, name: str) -> CropDataset:
        dataset = CropDataset(
            pose_set,
            changes=[_make(one) for one in changes.all],
            target_changes=[_make(one) for one in changes.target],
            **shared,
        )
        return with_cache(dataset, data.get("cache"), name)

    return (
        parts,
        crops(train, config.train_augmentations, "train"),
        crops(val, config.test_augmentations, "val") if val is not None else None,
        truth,
        draws,
    )


def _network(config: Any) -> dict[str, Any]:
    """The model, with the head around it where the codec brings one (configs/head)."""
    model, head = _plain(config.model), _plain(config.get("head"))
    return {**head, "network": model, "_recursive_": False} if head else model


def _make(config: Any, **more: Any) -> Any:
    """Instantiate one part; objects in ``more`` never pass through Hydra's containers."""
    from hydra.utils import instantiate

    plain = dict(_plain(config))
    wanted_partial = plain.pop("_partial_", False)
    part = instantiate({**plain, "_partial_": True, "_convert_": "all"})
    part = functools.partial(part.func, **_tuples(part.keywords), **more)
    return part if wanted_partial else part()


def _tuples(arguments: dict[str, Any]) -> dict[str, Any]:
    """Hydra hands tuples out as lists; parts are declared with tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}


def _plain(config: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def _as_yaml(config: Any) -> str:
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(config, resolve=True)
