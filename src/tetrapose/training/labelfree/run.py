"""One label-free run: sets, network and method in, a folder with its result out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from tetrapose.codecs import Heatmap
from tetrapose.data.crops import Change, CropDataset
from tetrapose.data.partial import Partial
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet
from tetrapose.training.ended import not_as_done
from tetrapose.training.fit import HARMLESS
from tetrapose.training.labelfree.callbacks import History, Judge, Keeper, placed, plot
from tetrapose.training.labelfree.figures import CHOICE, figures
from tetrapose.training.labelfree.module import Feed, LabelFreeModule, Learning
from tetrapose.training.labelfree.pairs import in_order, loader, unlabelled
from tetrapose.training.labelfree.step import Prepares, Step, processes, together
from tetrapose.training.labelfree.strong import Strong
from tetrapose.training.module import MEAN, STD
from tetrapose.weights import card as cards

FORMAT = "tetrapose label-free 1"
RESULT = "result.json"
POOL_SEED = 500_000  # added to a run's seed: the same row is another sight in either batch


@dataclass(frozen=True)
class Pace:
    """How long and in what portions: ``steps`` in intervals of ``every``; batches of both kinds.

    ``every`` steps there is a validation and a checkpoint: a run that is killed loses no more.
    """

    steps: int
    every: int
    batch: int = 16
    pool_batch: int = 16
    workers: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.every < 1 or self.steps % self.every:
            raise UserError(
                f"steps={self.steps}, every={self.every}: whole intervals are due, as steps=4000 "
                "every=200"
            )
        if self.batch < 1 or self.pool_batch < 1:
            raise UserError(f"batch={self.batch}, pool_batch={self.pool_batch}: from 1 on")


@dataclass(frozen=True)
class Crops:
    """How crops are cut: ``size`` (width, height), box ``padding`` in training and ``judged``.

    ``peek`` lets changes of the pool's crops look at its hidden labels, as FreeNet's half-body
    crops did.
    """

    size: tuple[int, int]
    padding: float = 1.25
    judged: float = 1.25
    changes: Sequence[Change] = ()
    peek: bool = False


@dataclass(frozen=True)
class Setup:
    """All that a run is made of; ``about`` is what its result says of it beside the figures."""

    folder: Path
    step: Step
    codec: Heatmap
    partial: Partial
    crops: Crops
    pace: Pace
    optimizer: Callable[..., torch.optim.Optimizer]
    trainer: Callable[..., L.Trainer]
    scheduler: Callable[..., Any] | None = None
    strong: Strong = Strong()
    seed: int = 0
    clip: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    architecture: Mapping[str, Any] = field(default_factory=dict)
    callbacks: Sequence[L.Callback] = ()


def carry_out(setup: Setup) -> dict[str, Any]:
    """Train to the end, on from ``last.ckpt`` if there is one; the result, also in result.json.

    The network that did best on the validation part's labelled points is scored on the test part,
    and written as model.safetensors. A folder with a result is left as it is.
    """
    file = setup.folder / RESULT
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    fitted = learn(setup)
    return _finished(setup, fitted)


@dataclass(frozen=True)
class Fitted:
    """What training leaves behind."""

    module: LabelFreeModule
    history: History
    keeper: Keeper


def learn(setup: Setup) -> Fitted:
    """Train to the last step, on from ``last.ckpt`` if there is one."""
    demand(setup)
    setup.folder.mkdir(parents=True, exist_ok=True)
    partial = setup.partial
    val = _crops(setup, partial.val)
    module = LabelFreeModule(
        Learning(
            setup.step, setup.codec, partial.labelled.skeleton, setup.optimizer, setup.pace.steps,
            scheduler=setup.scheduler, strong=setup.strong, seed=setup.seed, clip=setup.clip,
        ),
        Feed(
            train=lambda: feed(setup),
            val=lambda: in_order(val, batch=2 * setup.pace.batch, workers=setup.pace.workers),
        ),
    )  # fmt: skip
    history = History(setup.folder)
    keeper = Keeper(setup.folder, f"val/{CHOICE}")
    trainer = setup.trainer(
        max_epochs=setup.pace.steps // setup.pace.every,
        callbacks=[*setup.callbacks, Judge(val, partial.val_shown), history, keeper],
        logger=False,
        default_root_dir=setup.folder,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    last = setup.folder / "last.ckpt"
    with warnings.catch_warnings(), not_as_done():
        for known in HARMLESS:
            warnings.filterwarnings("ignore", known)
        trainer.fit(module, ckpt_path=str(last) if last.exists() else None, weights_only=True)
    return Fitted(module, history, keeper)


def demand(setup: Setup) -> None:
    """Raise UserError for what a method cannot work with; say what it can work without."""
    partial, step = setup.partial, setup.step
    if step.needs_pool and not len(partial.pool):
        raise UserError(
            "there are no unlabelled pictures: this method learns from them; give the preset a "
            "pool (data.labels.pool=all), or take method=supervised"
        )
    if not len(partial.val) or not len(partial.test):
        raise UserError("the validation or the test part has no animal; change data.shares")
    never = partial.counts()["never_labelled"]
    if never and not processes()[0]:
        import sys

        print(
            f"no label shows {', '.join(never)}: nothing is learnt of it, and no method guesses it",
            file=sys.stderr,
        )


def feed(setup: Setup) -> dict[str, Any]:
    """Loaders of labelled batches and, where the method wants it, of the pool's."""
    pace, seed = setup.pace, setup.seed
    shared = {"steps": pace.every, "workers": pace.workers}
    labelled = _crops(setup, setup.partial.labelled, training=True, seed=seed)
    loaders = {"labelled": loader(labelled, batch=pace.batch, seed=seed, **shared)}
    if setup.step.needs_pool:
        other = seed + POOL_SEED
        peek = setup.crops.peek
        partial = setup.partial
        hidden = partial.known if setup.step.keeps_shown else unlabelled(partial.pool)
        pool = partial.pool if peek else hidden
        if isinstance(setup.step, Prepares):
            peek, pool = False, setup.step.prepare(unlabelled(pool), setup.folder)
        crops = _crops(setup, pool, training=True, seed=other, targets=(hide,) if peek else ())
        loaders["pool"] = loader(crops, batch=pace.pool_batch, seed=other, **shared)
    return loaders


def hide(
    keypoints: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Every label away, after the crop's changes have seen it."""
    return np.full_like(keypoints, np.nan), np.zeros_like(weights)


def _crops(
    setup: Setup, pose_set: PoseSet, *, training: bool = False, seed: int = 0, targets: Any = ()
) -> CropDataset:
    crops = setup.crops
    return CropDataset(
        pose_set, size=crops.size, padding=crops.padding if training else crops.judged,
        changes=crops.changes if training else (), target_changes=targets, seed=seed,
        warp=setup.codec.warp,
    )  # fmt: skip


def _finished(setup: Setup, fitted: Fitted) -> dict[str, Any]:
    module, history, keeper = fitted.module, fitted.history, fitted.keeper
    test = _crops(setup, setup.partial.test)
    together()  # nobody reads the best before the first process has named it
    best = setup.folder / "best.ckpt"
    if best.exists():
        module.load_state_dict(cards.load_checkpoint(best)["state_dict"])
    names = [name for name in setup.step.networks if name != setup.step.answer]
    found = {
        name: judged(setup, module, name, test, setup.partial.test_shown)
        for name in [setup.step.answer, *names]
    }
    result = {
        "format": FORMAT,
        **setup.about,
        "seed": setup.seed,
        "steps": setup.pace.steps,
        "batch": [setup.pace.batch, setup.pace.pool_batch],
        "input_size": list(setup.crops.size),
        "chosen": {
            "by": f"val/{CHOICE}",
            "step": keeper.best_step,
            "value": keeper.best if keeper.best_step else None,
        },
        "answer": setup.step.answer,
        "test": found[setup.step.answer],
        "other_networks": {name: found[name]["pck"] for name in names},
        "data": setup.partial.counts(),
        "seconds": round(history.seconds, 1),
        "skipped": module.skipped,
        "unreadable": {name: sorted(rows) for name, rows in module.unreadable.items()},
    }
    if processes()[0] == 0:
        card = cards.describe(
            str(setup.architecture["builder"]),
            setup.architecture["arguments"],
            skeleton=setup.partial.labelled.skeleton,
            codec=setup.codec,
            normalisation={"mean": list(MEAN), "std": list(STD)},
            crop={"padding": setup.crops.judged},
            training={"label_free": dict(setup.about), "steps": setup.pace.steps},
            scores={"protocol": "test part, labelled boxes, flip test", **_scores(result)},
        )
        cards.save(setup.folder / "model.safetensors", module.answer, card)
        plot(history.rows, setup.folder / "curves.png")
        write_json(setup.folder / RESULT, result)
    return result


def judged(
    setup: Setup, module: LabelFreeModule, name: str, data: CropDataset, shown: np.ndarray
) -> dict[str, Any]:
    """The figures of one network on a part."""
    network = module.networks[name].eval()
    outputs = []
    batches = in_order(data, batch=2 * setup.pace.batch, workers=setup.pace.workers)
    device = next(network.parameters()).device
    with torch.inference_mode():
        for batch in batches:
            pictures = batch["image"].to(device).float() / 255
            outputs.append((batch["index"], *module.decoded(network, pictures)))
    points, scores = placed(outputs, data)
    return figures(data.pose_set, shown, points, scores)


def _scores(result: Mapping[str, Any]) -> dict[str, float]:
    kinds = result["test"]["pck"]["0.1"]
    return {f"test/pck_0.1_{kind}": value for kind, value in kinds.items() if value is not None}


def write_json(path: Path, values: Any) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
