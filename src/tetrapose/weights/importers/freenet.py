"""FreeNet: a teacher ("base") and a student ("adaptation network"), HRNet-W32 both.

``checkpoint.pth`` of a run holds ``teacher_model`` and ``student_model``; best-oks.pth and
best-pck.pth hold the student alone, bare. Without a choice the student is taken: the released
scores are its own. Trained on crops without padding and scored with 1.25, which is taken over;
cells stand as in HRNet.
Source: github.com/yzrs/FreeNet, eval_ap10k.py, eval_ap10k_animalpose.py, train_utils/ssl_utils.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tetrapose.weights.files import WeightsError
from tetrapose.weights.importers.common import WRAPPERS, Choice, Network, unwrap
from tetrapose.weights.importers.convolutional import network

PARTS = {"student": "student_model", "teacher": "teacher_model"}


def read(content: Mapping[str, Any], path: Path, choice: Choice) -> Network:
    """The student's network, or the one that was chosen."""
    wanted = PARTS.get(choice.part or "student", choice.part or "")
    both = [key for key in PARTS.values() if key in content]
    if both and wanted not in content:
        raise WeightsError(f"{path}: has no {wanted!r}; there are: {', '.join(both)}")
    if choice.part == "teacher" and not both:
        raise WeightsError(
            f"{path}: holds one network and does not say whose; import it without --part"
        )
    note = f"the {wanted} of a file with {' and '.join(both)}" if both else "the file's one network"
    tensors = unwrap(content, path, (wanted, *WRAPPERS))
    return network(tensors, path, size=(256, 256), notes=(note,))
