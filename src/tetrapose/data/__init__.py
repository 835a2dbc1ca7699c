"""Datasets in, columns out: ``open_set`` and one module a format."""

from __future__ import annotations

import importlib
import inspect
import re
from difflib import get_close_matches
from importlib import resources
from types import ModuleType
from typing import Any

from tetrapose.data.reading import About, Split
from tetrapose.errors import UserError
from tetrapose.structures import PoseSet


def available() -> tuple[str, ...]:
    """Names of the formats: the modules of this package that carry an ``ABOUT``."""
    files = resources.files(__name__).iterdir()
    return tuple(
        sorted(
            file.name[:-3]
            for file in files
            if file.name.endswith(".py") and "\nABOUT = " in file.read_text(encoding="utf-8")
        )
    )


def open_set(spec: str, *, split: Split | None = None, **options: Any) -> PoseSet:
    """A labelled set in columns, from ``NAME:WHERE[,option=value ...]``.

    - ``animal_pose:FOLDER`` the official layout, keypoints.json and images/
    - ``akd_cats:FOLDER`` keypoint annotations with relative coordinates and images/
    - ``coco:FILE.json[:IMAGES]`` COCO keypoints; IMAGES is the pictures' folder, where it is not
      found beside the file
    - ``menagerie:FOLDER`` what ``tetrapose synth`` wrote; with several skeletons in it,
      ``menagerie:FOLDER/NAME.json``
    - ``animal_pose_xml:FOLDER`` Animal-Pose's first release, an XML file an animal
    - ``tigdog:FOLDER,animal=horse`` TigDog's MATLAB files; ``tigdog_coco:FILE.json,animal=horse``
      FreeNet's form of them
    - ``stanford_extra:FOLDER`` StanfordExtra_v12.json and Images/
    - ``badja:FOLDER`` videos of quadrupeds on DAVIS' frames; ``awa_pose:FOLDER`` 39 points, pickles
      read as plain values
    - ``deeplabcut:FOLDER`` a project; ``sleap:FILE.slp[:IMAGES]``; ``yolo:FOLDER`` with data.yaml
    - ``table:FILE.csv[:IMAGES]`` or ``.parquet``: a line for each keypoint
    - ``packed:FOLDER`` what ``tetrapose datasets pack`` wrote; with several sets in it,
      ``packed:FOLDER/NAME.json``
    - boxes without keypoints: ``coco_animals:FILE.json``, ``stanford_dogs:FOLDER``,
      ``tsinghua_dogs:FOLDER``, ``oxford_pet:FOLDER``

    Options are keywords of the reader, as ``,boxes=xyxy`` or ``,sizes=true``, or given as
    ``options`` here. ``split`` is a text file of picture names, one a line, or several such files,
    given here or as ``,split=FILE``; a bare name is also looked for in the set's folder. Entries
    that cannot be used are left out and stand in ``problems``; a set that cannot be opened at all,
    or a split that matches nothing, raises UserError.
    """
    name, where, given = parse_spec(spec)
    within = given.pop("split", None)
    if within and split:
        raise UserError(f"{spec}: its split is given twice, in the set and beside it")
    split = within or split
    module = _module(name)
    allowed = [
        key for key in inspect.signature(module.read).parameters if key not in ("root", "split")
    ]
    options = {**given, **options}
    for key in options:
        if key not in allowed:
            raise UserError(f"{spec}: {name} has no option {key!r}; it has {', '.join(allowed)}")
    pose_set = module.read(where, split=split, **options)
    if not len(pose_set):
        told = [str(problem) for problem in pose_set.problems if problem.left_out]
        more = f"; and {len(told) - 1} more" if len(told) > 1 else ""
        raise UserError(
            f"{spec}: no animal left: {told[0]}{more}" if told else f"{spec}: no animals"
        )
    return pose_set


def parse_spec(spec: str) -> tuple[str, str, dict[str, Any]]:
    """``"coco:a.json,boxes=xyxy"`` -> ("coco", "a.json", {"boxes": "xyxy"})."""
    name, colon, rest = spec.partition(":")
    if not colon or not rest:
        shown = ", ".join(available())
        raise UserError(f"{spec!r}: a set is written NAME:FOLDER, with NAME one of {shown}")
    where, *pairs = re.split(r",(?=\w+=)", rest)
    plain = {"true": True, "false": False}
    options: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key == "split":  # may stand several times
            options.setdefault(key, []).append(value)
        else:
            options[key] = plain.get(value.lower(), value)
    return name, where, options


def about(name: str) -> About:
    """Origin, licence, layout and traps of a format."""
    return _module(name).ABOUT


def options(name: str) -> tuple[str, ...]:
    """What may follow a format's place, as ``,option=value``."""
    return tuple(key for key in inspect.signature(_module(name).read).parameters if key != "root")


def _module(name: str) -> ModuleType:
    names = available()
    if name not in names:
        begun = [one for one in names if name and one.startswith(name)]
        near = begun or get_close_matches(name, names, n=1) or names
        raise UserError(f"no data format {name!r}; there is {', '.join(near)}")
    return importlib.import_module(f"tetrapose.data.{name}")
