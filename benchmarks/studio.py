"""How long the studio takes from a picture handed in to its points, with the models that ship.

  python benchmarks/studio.py PICTURES [--count 20] [--page]

Each picture is uploaded (checked, decoded, brought to what the page shows) and looked at, as the
page asks for it, without the network between. Seconds on the clock, and of the processor: what a
quiet core takes, however busy the machine is. One thread (OMP_NUM_THREADS).

With --page the same pictures are then chosen in the page itself, in a headless Chromium (the
tests' own driver): seconds on the clock from the file being chosen to its points being drawn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tetrapose.app.looking import Sight, shipped_models
from tetrapose.app.studio import Studio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--page", action="store_true")
    args = parser.parse_args()
    files = sorted(path for path in args.pictures.iterdir() if path.suffix == ".jpg")
    began, spent = time.perf_counter(), time.process_time()
    sight = Sight(shipped_models())
    sight.wait()
    print(_row("models loaded", time.perf_counter() - began, time.process_time() - spent))
    chosen = files[:: max(1, len(files) // args.count)][: args.count]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(folder=Path(folder), sight=sight)
        for path in chosen:
            began, spent = time.perf_counter(), time.process_time()
            id = studio.upload(path.read_bytes(), path.name)["id"]
            found = studio.find(id, {"skeleton": "union26"})
            clock, processor = time.perf_counter() - began, time.process_time() - spent
            rows.append((clock, processor, len(found["pose"]["animals"])))
    for name, one in (("middle", statistics.median), ("longest", max)):
        told = f"{name} of {len(rows)}, {sum(row[2] for row in rows)} animals"
        print(_row(told, one([row[0] for row in rows]), one([row[1] for row in rows])))
    if args.page:
        clock = sorted(in_the_page(sight, chosen))
        middle, longest = statistics.median(clock), clock[-1]
        print(f"in the page: middle of {len(clock)} {middle:.2f} s, longest {longest:.2f} s")
    sight.close()


def in_the_page(sight: Sight, files: list[Path]) -> list[float]:
    """Seconds from choosing each file to its points, where animals were found."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "app"))
    from driven_chromium import Chromium  # pyright: ignore[reportMissingImports]
    from studio_parts import serving  # pyright: ignore[reportMissingImports]

    out = []
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(folder=Path(folder), sight=sight)
        with serving(studio) as served:
            browser = Chromium()
            try:
                browser.open(served.address)
                browser.until("document.querySelector('#skeleton')?.options.length > 3")
                for path in files:
                    browser.run(
                        "studio.seconds = 0, document.querySelector('#notice').hidden = true"
                    )
                    browser.give("#open", path.resolve())
                    browser.until("!document.querySelector('#notice').hidden")
                    if seconds := browser.run("studio.seconds"):
                        out.append(seconds)
            finally:
                browser.close()
    return out


def _row(name: str, clock: float, processor: float) -> str:
    return f"{name:28} {clock:6.2f} s on the clock, {processor:6.2f} s of the processor"


if __name__ == "__main__":
    main()
