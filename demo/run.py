"""The tour of `make demo`: draw animals, predict, measure, learn, and one page that shows it.

Every step is a command that you can type yourself; it is printed before it runs. If a step fails,
the demo stops there with that step's message.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from story import Steps, tell

CAT = Path(__file__).resolve().parent / "cat.png"
MADE = ("drawn", "lessons", "seen", "measured", "learned")


def run(steps: Steps, step: str, *words: str) -> None:
    """Run ``tetrapose WORDS`` and note it; the demo ends here if that fails."""
    # the demo's network is so small that a second thread costs more than it brings
    alone = {"OMP_NUM_THREADS": "1"} if words[0] == "train" else {}
    line = shlex.join([*(f"{key}={value}" for key, value in alone.items()), "tetrapose", *words])
    print(f"\n$ {line}", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tetrapose", *words], check=False, env={**os.environ, **alone}
    )
    if done.returncode:
        sys.exit(f"demo: stopped, for this command ended with status {done.returncode}: {line}")
    steps.lines.setdefault(step, []).append(line)
    steps.seconds[step] = steps.seconds.get(step, 0) + time.monotonic() - began


def main() -> None:
    """All steps and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="demo_out", metavar="DIR")
    out = Path(parser.parse_args().out)
    for name in MADE:
        shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    steps = Steps(out)
    drawn, lessons, learned = out / "drawn", out / "lessons", out / "learned"

    cores = str(min(os.cpu_count() or 1, 8))
    run(
        steps, "draw", "synth", str(drawn), "--count", "32", "--seed", "11", "--size", "320",
        "--animals", "1..2", "--skeleton", "quadruped", "--workers", cores,
    )  # fmt: skip
    truth = drawn / "quadruped.json"
    run(
        steps, "photo", "predict", os.path.relpath(CAT), "--threshold", "0.6",
        "--out", str(out / "seen"),
    )  # fmt: skip
    run(
        steps, "predict", "predict", str(drawn / "images"), "--boxes", str(truth),
        "--out", str(out / "seen" / "drawn"),
    )  # fmt: skip
    measured = out / "measured"
    measured.mkdir()
    run(
        steps, "measure", "evaluate", "--data", f"menagerie:{drawn}",
        "--json", str(measured / "default.json"), "--html", str(measured / "default.html"),
    )  # fmt: skip
    run(
        steps, "learn", "synth", str(lessons), "--count", "480", "--seed", "1", "--animals", "1",
        "--size", "160", "--skeleton", "quadruped", "--workers", cores,
    )  # fmt: skip
    run(
        steps, "learn", "train", "experiment=demo", f"dataset.train=menagerie:{lessons}",
        f"dataset.val=menagerie:{drawn}", f"run_dir={learned}",
    )  # fmt: skip
    model = str(learned / "model.safetensors")
    run(
        steps, "learned", "predict", str(drawn / "images"), "--boxes", str(truth), "--model", model,
        "--out", str(out / "seen" / "learned"),
    )  # fmt: skip
    run(
        steps, "learned", "evaluate", "--model", model, "--data", f"menagerie:{drawn}",
        "--json", str(measured / "learned.json"),
    )  # fmt: skip

    index = out / "index.html"
    index.write_text(tell(steps), encoding="utf-8")
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"\nDone in {minutes} min {seconds} s. Open this page in a browser:\n{index.resolve()}")


if __name__ == "__main__":
    main()
