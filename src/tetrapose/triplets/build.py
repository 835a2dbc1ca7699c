"""Any pile of pictures to a library: the plan, its parts, and what is said at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.render.pose_styles import load_pose_style
from tetrapose.triplets import captioning, fetching, ledger, making, plan, running, scanning
from tetrapose.triplets.animals import Networks
from tetrapose.triplets.library import Library, claim, finish, locked, read_json
from tetrapose.triplets.manners import Manners
from tetrapose.triplets.running import Did, Tell
from tetrapose.triplets.settings import STEPS_VERSION, Settings
from tetrapose.triplets.sources import open_source
from tetrapose.triplets.timing import Clock

_BENCHES: dict[Path, making.Bench] = {}  # of this process, so that networks are opened once


@dataclass(frozen=True)
class Build:
    """The making of a library out of a plan; a ``running.Job``."""

    library: Library
    settings: Settings
    parts: int
    manners: Manners

    def scan(self, part: int) -> Did:
        """Fetch, check and hash the pictures of a part."""
        clock = Clock()
        if self.library.ledger(part).exists() and self.library.scan(part).exists():
            return Did(clock=clock)
        items = plan.read_places(self.library, part)
        fetching.fetch_part(self.library, part, items, self.manners, clock)
        scanning.scan_part(self.library, part, items, self.settings, clock)
        return Did(items=len(items), clock=clock)

    def judges(self) -> Callable[[int], Mapping[int, str]]:
        """Repeats of earlier pictures, over all parts."""
        judge = scanning.judge_of(self.library, self.settings.near, self.settings.like)
        return lambda part: scanning.judge_part(self.library, part, judge)

    def make(self, part: int, repeated: Mapping[int, str]) -> Did:
        """Write the shard and the table of a part."""
        clock = Clock()
        items = plan.read(self.library, part)
        bench = self._bench()
        count = making.make_part(self.library, part, items, bench, repeated, clock)
        fetching.forget(self.library, part)
        return Did(count, len(items), clock)

    def _bench(self) -> making.Bench:
        root = self.library.root
        if root not in _BENCHES:
            _BENCHES.clear()
            _BENCHES[root] = making.Bench(
                settings=self.settings,
                networks=Networks(self.settings),
                captions=captioning.Captions(self.settings.captions),
                skeletons=plan.skeletons_of(self.library),
            )
        return _BENCHES[root]


@dataclass(frozen=True)
class Built:
    """What a run came to: ``about`` is ``library.json``, ``done`` the parts made in this run."""

    about: Mapping[str, Any]
    done: int
    clock: Clock


Runner = Callable[..., Clock]


def build(
    specs: Sequence[str],
    out: str | Path,
    settings: Settings | None = None,
    *,
    workers: int = 1,
    manners: Manners | None = None,
    keep_work: bool = False,
    tell: Tell | None = None,
    runner: Runner | None = None,
) -> Built:
    """Make a library of triplets of sources, or go on with it; see ``open_source`` for the specs.

    The same specs and settings give the same shards to the byte, however often a run is stopped and
    with any number of workers; what addresses answer aside. ``manners`` are of asking hosts, and
    change nothing but the speed. ``runner`` does the parts of a job elsewhere, on a cluster say.
    Raises UserError for a folder of another run, and for what cannot be written.
    """
    ledger.need_arrow()
    settings = settings or Settings()
    _check(settings)
    running.check_workers(workers)
    sources = [open_source(spec) for spec in specs]
    whose = identity(specs, settings)
    library = Library(Path(out))
    with locked(library):
        about = claim(library, whose)
        if about["finished"]:
            return Built(about, 0, Clock())
        with running.crew(workers if runner is None else 1) as crew:  # on its way meanwhile
            try:
                planned = plan.write(library, sources, settings.part)
            except UserError:  # nothing was begun: the folder is free for another try
                library.about.unlink()
                raise
            mend(library)
            before = len(library.parts_written())
            asking = fetching.shared(manners or Manners(), workers)
            job = Build(library, settings, planned["parts"], asking)
            try:
                if runner is None:
                    clock = running.work(job, crew, tell)
                else:
                    clock = runner(job, workers=workers, tell=tell)
            finally:
                _BENCHES.clear()
        known = planned["skeletons"] | {
            name: skeletons.load(name).to_dict() for name in _others(settings)
        }
        about = about | {"listed": planned, "counts": ledger.counts(library), "skeletons": known}
        about["listed"] = {key: value for key, value in planned.items() if key != "skeletons"}
        finish(library, about, keep_work=keep_work)
    return Built(library.read_about(), planned["parts"] - before, clock)


def identity(specs: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Everything on which the bytes of a library's shards depend, as plain values."""
    return {
        "sources": list(specs),
        "settings": settings.to_dict() | {"captions": captioning.plain(settings.captions)},
        "style": load_pose_style(settings.style).label,
        "models": _digests(settings),
        "steps_version": STEPS_VERSION,
    }


def _check(settings: Settings) -> None:
    """Refuse what no part could be made with, before anything is written."""
    load_pose_style(settings.style)
    if settings.skeleton:
        skeletons.load(settings.skeleton)
    captioning.plain(settings.captions)


def _digests(settings: Settings) -> dict[str, str]:
    """Digests of the weights that take part, read from their cards."""
    if not settings.networks:
        return {}
    from tetrapose.inference.detectors import KNOWN
    from tetrapose.inference.exported import is_exported
    from tetrapose.weights import files

    out = {}
    if not is_exported(settings.model):
        out["model"] = _card(files.locate(settings.model))
    if settings.finder not in KNOWN and not Path(settings.finder).is_dir():
        finder = files.shipped_folder() / f"{settings.finder}{files.SUFFIX}"
        out["finder"] = _card(finder if finder.exists() else Path(settings.finder))
    return out


def _card(weights: Path) -> str:
    card = weights.with_suffix(".json")
    if not card.exists():
        raise UserError(f"{weights}: no such weights, or no card beside them")
    return str(read_json(card).get("sha256", ""))


def _others(settings: Settings) -> set[str]:
    """Skeletons that triplets may stand on besides those of labels."""
    names = {settings.skeleton} - {""}
    if settings.networks and not names:
        from tetrapose.weights import files

        names.add(read_json(files.locate(settings.model).with_suffix(".json"))["skeleton"]["name"])
    return names


def mend(library: Library) -> list[int]:
    """Parts whose shard is not as long as their table says are taken back; their numbers.

    So it is after a file system lost what it had promised to keep.
    """
    broken = []
    for part in library.parts_written():
        try:
            length = int(ledger.notes(library.ledger(part))["shard_bytes"])
        except (UserError, KeyError, ValueError):
            length = -1
        shard = library.shard(part)
        if length != (shard.stat().st_size if shard.exists() else 0):
            library.ledger(part).unlink()
            broken.append(part)
    return broken
