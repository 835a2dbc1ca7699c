"""A list of addresses served on this machine with faults of every kind: is all accounted for?

python benchmarks/triplets_download.py [--count 2000] [--share 0.3]

The server is that of the tests (tests/triplets/misbehaving.py): slow, silent, cut off, of the wrong
type, redirected in circles and to private places, 404, 410, 429, 503, too long, endless, a picture
bomb, closed by robots.txt, opted out, connections reset. Prints a row a reason and the speed, and
ends with status 1 if a good address is lost, a loss has another reason than it should, or what is
kept is not what was served.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "triplets"))

from misbehaving import picture, web  # pyright: ignore[reportMissingImports]
from test_triplet_download import QUICK, list_of  # pyright: ignore[reportMissingImports]

from tetrapose.triplets import fetched

# a busy machine answers late: what is slow has to be slower than that
PATIENT = replace(QUICK, connect=5, silence=4, answer=6)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--share", type=float, default=0.3, help="of faulty addresses")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, web(slow=15.0) as site:
        urls, due = list_of(site.root, given.count, given.share)
        pack = Path(folder) / "list.pack"
        started, busy = time.monotonic(), time.process_time()
        answers = fetched.fetch_into(pack, urls, PATIENT)
        spent, busy = time.monotonic() - started, time.process_time() - busy
        faults = []
        for answer, reason in zip(answers, due, strict=True):
            right = answer.reason.startswith(reason) and bool(answer.reason) == bool(reason)
            if right and not reason:
                number = int(answer.url.rpartition("/")[2].removesuffix(".jpg"))
                form = "PNG" if "mislabelled" in answer.url else "JPEG"
                right = fetched.picture(pack, answer) == picture(number, form=form)
            if not right:
                faults.append(f"{answer.url}: {answer.reason!r} where {reason!r} was due")
    for reason, count in sorted(Counter(a.reason.partition(":")[0] for a in answers).items()):
        print(f"{reason or 'kept':18} {count:6,}")
    asked = sum(site.asked.values())
    print(
        f"{len(urls):,} addresses, {asked:,} requests in {spent:.1f} s: {len(urls) / spent:.0f}"
        f" addresses/s; {busy:.1f} s of processor for client and server together"
    )
    print("\n".join(faults[:20]) or "every address is accounted for")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
