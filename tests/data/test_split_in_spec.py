"""A set that carries its split inside its written form."""

from __future__ import annotations

import pytest

from tetrapose.data import open_set, parse_spec
from tetrapose.errors import UserError


def test_a_split_stands_in_the_spec_once_or_several_times(tiny_animal_pose):
    (tiny_animal_pose / "one.txt").write_text("a.jpg\n")
    (tiny_animal_pose / "two.txt").write_text("b.jpg\nc.jpeg\n")
    spec = f"animal_pose:{tiny_animal_pose}"
    assert parse_spec(f"{spec},split=one.txt")[2] == {"split": ["one.txt"]}
    assert open_set(f"{spec},split=one.txt").files == open_set(spec, split="one.txt").files
    both = open_set(f"{spec},split=one.txt,split=two.txt,sizes=true")
    assert len(both.files) == 3
    assert both.sizes.all()


def test_a_split_given_twice_is_refused(tiny_animal_pose):
    spec = f"animal_pose:{tiny_animal_pose},split=one.txt"
    with pytest.raises(UserError, match="its split is given twice"):
        open_set(spec, split="two.txt")


def test_a_split_in_the_spec_that_is_not_there_is_told(tiny_animal_pose):
    with pytest.raises(UserError, match=r"split nine\.txt: no such file"):
        open_set(f"animal_pose:{tiny_animal_pose},split=nine.txt")
