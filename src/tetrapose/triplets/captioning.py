"""The captioner of a build: the settings' captions, its network opened when it is first asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetrapose.triplets import captions
from tetrapose.triplets.rows import Captioned, Facts


class Captions:
    """Writes captions by settings; keeps the network from part to part."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = captions.from_dict(settings)
        self._describer: Any = None

    def __call__(self, pictures: Sequence[np.ndarray], facts: Sequence[Facts]) -> list[Captioned]:
        """A caption for each picture (H, W, 3) uint8 RGB; empty without an origin if none is."""
        if self._settings.wants_model and self._describer is None:
            import torch

            from tetrapose.triplets.describing import open_describer

            device = "cuda" if torch.cuda.is_available() else "cpu"
            self._describer = open_describer(self._settings, device=device)
        return captions.caption_all(
            facts, self._settings, pictures=pictures.__getitem__, describer=self._describer
        )


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with every default, as plain values; UserError for what there is not."""
    return captions.from_dict(settings).to_dict()
