"""Label-free methods side by side: tables in which each method has equal steps from equal starts.

  python benchmarks/label_free.py --root DIR --out runs/label_free
  python benchmarks/label_free.py --root DIR --out runs/tiny --tables menagerie --size 64 \\
      --first 400 --steps 600 --pictures 600 --seeds 0 --methods supervised freenet two_looks
  python benchmarks/label_free.py --step-time --size 64 --batch 8

DIR/menagerie is drawn where it is not there; DIR/animal_pose is the official layout with train.txt,
train_web.txt and val.txt. For each table and seed a first stage learns from the labels alone, with
the same start for all; then each method goes STEPS steps on from it, supervised too, and `all`: the
same with every label shown. The network that did best on the validation part's labelled points is
scored on the test part. What is done is not done again; a run that was stopped goes on.

--step-time runs nothing of that: it takes the time of a FreeNet step before feedback has begun and
with it (every second step by default), against the order of forwards of the released code with the
same network, batch and precision, in turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

BY_SPECIES = "+data.labels.options.by=species"
TENTH = "+data.labels.options.share=10%"
TABLES: dict[str, tuple[str, ...]] = {  # the preset, and what is set besides
    "menagerie": ("menagerie",),
    "menagerie_species": ("menagerie", BY_SPECIES),
    "menagerie_10": ("menagerie", TENTH),
    "animal_pose": ("animal_pose_halves",),
    "animal_pose_species": ("animal_pose_halves", BY_SPECIES),
    "animal_pose_10": ("animal_pose_halves", TENTH),
    **{
        f"few_{share}": ("animal_pose_few", f"data.labels.options.share={share}%")
        for share in (5, 10, 20)
    },
}
METHODS = (
    "supervised", "pseudo_labels", "fixmatch", "uda", "mean_teacher", "freenet",
    "freenet_no_parts", "freenet_no_feedback", "freenet_one_network", "scarcenet", "two_looks",
    "average", "all",
)  # fmt: skip
# what stands for a method: labels alone with the averaged weights that two_looks answers with
AS = {"all": ["supervised"], "average": ["two_looks", "method.weight=0"]}
KINDS = ("overall", "labelled", "unlabelled")
THRESHOLDS = ("0.1", "0.2")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tables", nargs="+", default=["menagerie", "animal_pose"], choices=TABLES)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--first", type=int, default=4000, help="steps of the common first stage")
    parser.add_argument("--steps", type=int, default=6000, help="steps of each method after it")
    parser.add_argument("--size", type=int, default=128, help="pixels a side")
    parser.add_argument("--batch", type=int, default=16, help="labelled, and unlabelled, animals")
    parser.add_argument("--pictures", type=int, default=3000, help="menagerie pictures to draw")
    parser.add_argument("--checks", type=int, default=10, help="validations a run")
    parser.add_argument("--step-time", action="store_true")
    parser.add_argument("--set", nargs="+", default=[], help="for every run, field=value")
    parser.add_argument("--first-set", nargs="+", default=[], help="for first stages alone")
    parser.add_argument("--then-set", nargs="+", default=[], help="for the runs after them")
    args = parser.parse_args()
    if args.step_time:
        print(json.dumps(step_time(args.size, args.batch), indent=1))
        return
    if args.root is None or args.out is None:
        parser.error("--root and --out are due")
    for table in args.tables:
        if table.startswith("menagerie"):
            draw(args.root / "menagerie", args.pictures, args.size)
        made = {
            (method, seed): run(table, method, seed, args)
            for seed in args.seeds
            for method in args.methods
        }
        text = told(table, made, args)
        (args.out / f"{table}.md").write_text(text, encoding="utf-8")
        print(text, flush=True)


def draw(folder: Path, count: int, size: int) -> None:
    """The menagerie's pictures, half as large again as the crops; a drawn folder stays."""
    if (folder / "union24.json").exists():
        return
    side = str(max(96, size * 3 // 2))
    tetrapose(
        "synth", str(folder), "--count", str(count), "--size", side, "--skeleton", "union24",
        "--animals", "1..2",
    )  # fmt: skip


def run(table: str, method: str, seed: int, args: argparse.Namespace) -> dict:
    """One method of a table and seed, after the first stage it starts from."""
    whole = method == "all"
    about = [
        f"root={args.root}", f"seed={seed}", f"input_size=[{args.size},{args.size}]",
        f"batch={args.batch}", f"pool_batch={args.batch}", *args.set,
    ]  # fmt: skip
    if whole:
        about.append("data.labels.whole=true")
    preset, *besides = TABLES[table]
    about += besides
    base = args.out / table / f"seed_{seed}"
    first = base / ("first_all" if whole else "first")
    pace = [f"steps={args.first}", f"every={max(args.first // args.checks, 1)}"]
    label_free(preset, first, "supervised", [*about, *pace, *args.first_set])
    pace = [f"steps={args.steps}", f"every={max(args.steps // args.checks, 1)}"]
    start = f"start={first / 'model.safetensors'}"
    chosen, *more = AS.get(method, [method])
    return label_free(preset, base / method, chosen, [*about, *pace, *args.then_set, start, *more])


def label_free(preset: str, folder: Path, method: str, about: list[str]) -> dict:
    """A run's result, from its folder where it is there."""
    result = folder / "result.json"
    if not result.exists():
        tetrapose("label-free", "run", preset, f"run_dir={folder}", f"method={method}", *about)
    return json.loads(result.read_text(encoding="utf-8"))


def told(table: str, made: dict[tuple[str, int], dict], args: argparse.Namespace) -> str:
    """The table as Markdown: means and, with several seeds, the least and most of them."""
    heads = [f"{kind} @{t}" for t in THRESHOLDS for kind in KINDS]
    lines = [
        f"{table}: {args.size} px, {args.first} first steps, {args.steps} each after, batch "
        f"{args.batch} + {args.batch}, seeds {' '.join(map(str, args.seeds))}; PCK by the "
        "square root of the area, test part",
        "",
        f"| method | {' | '.join(heads)} | seconds a run |",
        "|---" * (len(heads) + 2) + "|",
    ]
    for method in args.methods:
        results = [made[method, seed] for seed in args.seeds]
        cells = [
            spread([r["test"]["pck"][t][kind] for r in results])
            for t in THRESHOLDS
            for kind in KINDS
        ]
        seconds = f"{statistics.mean(r['seconds'] for r in results):.0f}"
        lines.append(f"| {method} | {' | '.join(cells)} | {seconds} |")
    return "\n".join([*lines, ""])


def spread(values: list[float | None]) -> str:
    """``0.512 (0.500-0.520)``."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean = f"{statistics.mean(known):.3f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.3f}-{max(known):.3f})"


def tetrapose(*words: str) -> None:
    """The command line, in a process of its own; stops here when it fails."""
    subprocess.run([sys.executable, "-m", "tetrapose", *words], check=True)


def step_time(size: int, batch: int, *, rounds: int = 5) -> dict:
    """Seconds of one step, ours and in the released order, in turns.

    The least of the rounds counts: whatever else the machine does only adds to a step.
    """
    import torch

    from tetrapose.training.labelfree.freenet import FreeNet

    made: dict = {}
    for phase, step in (("before feedback", 0), ("with feedback", 500)):
        ours, released = stepper(size, batch, step), released_stepper(size, batch, step)
        times: dict[str, list[float]] = {"ours": [], "released": []}
        for round_ in range(rounds + 1):
            for name, one in (("ours", ours), ("released", released)):
                took = timed(one)
                if round_:  # the first warms up
                    times[name].append(took)
        least = {name: min(values) for name, values in times.items()}
        made[phase] = {**least, "ratio": least["ours"] / least["released"], "rounds": times}
    # a step between two of feedback is one from before it
    lazy = FreeNet(parts(size, batch)[0]).lazy
    mean = (made["with feedback"]["ours"] + (lazy - 1) * made["before feedback"]["ours"]) / lazy
    made["mean once feedback has begun"] = {
        "ours": mean,
        "ratio": mean / made["with feedback"]["released"],
    }
    made["run"] = {
        "size": size, "batch": batch, "threads": torch.get_num_threads(),
        "clock": "processor time" if not torch.cuda.is_available() else "wall",
    }  # fmt: skip
    return made


def timed(step: Callable[[], None]) -> float:
    """Seconds of a step: of the processor where there is no GPU, since others may use it too."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
        began = time.perf_counter()
        step()
        torch.cuda.synchronize()
        return time.perf_counter() - began
    began = time.process_time()
    step()
    return time.process_time() - began


def parts(size: int, batch: int):
    """Network, codec, views of a batch, and skeleton: the same for both."""
    import torch

    from tetrapose import skeletons
    from tetrapose.codecs import Heatmap
    from tetrapose.models.small import small
    from tetrapose.training.labelfree.step import Start, Views

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    skeleton = skeletons.load("union24")
    k = len(skeleton)
    codec = Heatmap(k, (size, size))
    networks = [small(k).to(device).to(memory_format=torch.channels_last) for _ in range(2)]

    def views() -> Views:
        weak = torch.rand(batch, 3, size, size, device=device)
        return Views(
            weak, torch.rand_like(weak), torch.rand(batch, k, 2, device=device) * size,
            torch.ones(batch, k, device=device), torch.full((batch, k), 2, device=device),
            torch.arange(batch), torch.ones(batch, dtype=torch.bool, device=device),
        )  # fmt: skip

    start = Start(networks[0], networks[1], codec, skeleton, (True,) * k)
    return start, views(), views()


def stepper(size: int, batch: int, step: int) -> Callable[[], None]:
    """One step of this package's FreeNet with its optimizers."""
    import torch

    from tetrapose.training.labelfree.freenet import FreeNet
    from tetrapose.training.labelfree.step import Moment

    start, labelled, pool = parts(size, batch)
    method = FreeNet(start)
    made = {
        name: torch.optim.AdamW(method.networks[name].parameters(), lr=1e-5, fused=True)
        for name in method.trained
    }
    method.networks.train()

    def once() -> None:
        for name, losses in method.turns(labelled, pool, Moment(step, 1000)):
            torch.stack(list(losses.values())).sum().backward()
            made[name].step()
            made[name].zero_grad()

    return once


def released_stepper(size: int, batch: int, step: int) -> Callable[[], None]:
    """One step in the order of FreeNet's released code, with the same losses.

    Source: train_utils/ssl_utils.py (github.com/yzrs/FreeNet): the student on weak pictures without
    gradient; the teacher on strong and on weak ones, labelled and not, with gradient; the student
    on strong ones; its step; the student on strong labelled ones anew; the teacher's step.
    """
    import torch

    from tetrapose.training.labelfree import feedback, thresholds
    from tetrapose.training.labelfree.freenet import Schedule
    from tetrapose.training.labelfree.step import (
        demand_maps,
        drawn_at,
        labels,
        look,
        mean_square,
        peaks,
    )

    start, labelled, pool = parts(size, batch)
    teacher, student = start.network.train(), start.fresh.train()
    codec = demand_maps(start.codec)
    first, second = (
        torch.optim.AdamW(n.parameters(), lr=1e-5, fused=True) for n in (student, teacher)
    )
    groups = thresholds.groups_of(start.skeleton, released=True)
    down, begin, complete = Schedule().steps(1000)
    weak, strong = (
        torch.cat([getattr(one, view) for one in (labelled, pool)]) for view in ("weak", "strong")
    )

    def once() -> None:
        with torch.no_grad():
            look(student, weak)
        strong_teacher, weak_teacher = look(teacher, strong), look(teacher, weak)
        out = look(student, strong)
        target, shown = labels(codec, labelled)
        cells, sure = peaks(weak_teacher[batch:])
        kept = thresholds.part_aware(sure, groups, thresholds.shares_at(step, down))
        old = mean_square(out[:batch], target, shown)
        loss = old + mean_square(out[batch:], drawn_at(codec, cells), kept.float())
        loss.backward()
        first.step()
        first.zero_grad()
        with torch.no_grad():
            new = mean_square(look(student, labelled.strong), target, shown)
        loss = mean_square(weak_teacher[:batch], target, shown)
        gain = feedback.ramp(step, begin, complete)
        if gain:
            middle = feedback.middling(sure, *feedback.cut_points(sure, peaks(out[batch:])[1]))
            guess = drawn_at(codec, peaks(strong_teacher[batch:])[0])
            fed = mean_square(strong_teacher[batch:], guess, middle.float())
            loss = loss + gain * feedback.signal(old, new) * fed
        loss.backward()
        second.step()
        second.zero_grad()

    return once


if __name__ == "__main__":
    main()
