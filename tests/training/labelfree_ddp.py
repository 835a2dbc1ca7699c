"""A script that the test of several processes runs, its number of processes beside its folder.

For each method it gives what the first process saw: losses by interval, weights at the end.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import labelfree_parts as made
import torch
from lightning.pytorch.strategies import DDPStrategy

from tetrapose.training.labelfree.freenet import FreeNet
from tetrapose.training.labelfree.run import learn
from tetrapose.training.labelfree.scarcenet import Made, ScarceNet
from tetrapose.training.labelfree.step import processes
from tetrapose.training.labelfree.two_looks import TwoLooks

METHODS = {
    "freenet": lambda start: FreeNet(start, schedule=(0.5, 0.3, 0.5), base_rate=1.0),
    "two_looks": TwoLooks,
    "scarcenet": lambda start: ScarceNet(start, made=Made(looks=2, padding=1.0)),
}


def seen(out: Path, count: int) -> dict[str, Any]:
    """Run every method on ``count`` processes; each of them gets here."""
    found = {}
    data = made.partial(out / "pictures")
    for name, make in METHODS.items():
        more: dict[str, Any] = {"devices": count}
        if count > 1:
            more["strategy"] = DDPStrategy(
                find_unused_parameters=True, process_group_backend="gloo"
            )
        # without norms: batch statistics are each process's own, as in every such run
        step = make(made.start(norm=False))
        fitted = learn(made.setup(out / name, step, data, trainer=more, steps=4))
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in fitted.history.rows]
        state = fitted.module.networks.state_dict()
        weights = {k: v.flatten().tolist() for k, v in state.items()}
        found[name] = {"rows": rows, "weights": weights}
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    out, count = Path(sys.argv[1]), int(sys.argv[2])
    found = seen(out, count)
    if processes()[0] == 0:
        (out / "seen.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
