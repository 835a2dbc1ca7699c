"""`tetrapose train codec=...`: each coding chosen by a field, trained, saved, loaded, used."""

from __future__ import annotations

import json
from pathlib import Path

import miniatures
import numpy as np
import pytest

from tetrapose.commands import train
from tetrapose.inference.predictor import load

TINY = [
    "dataset=custom", "dataset.batch_size=4", "dataset.workers=0", "input_size=[64,64]",
    "model=small", "model.channels=[8,8,8,8]", "model.blocks=[1,1,1,1]", "model.neck=8",
    "logger=none",
    "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=1", "trainer.precision=32-true",
    "trainer.enable_progress_bar=false", "trainer.max_epochs=1",
]  # fmt: skip


@pytest.mark.parametrize("codec", ("simcc", "udp", "signed", "heatmap_biased"))
def test_a_codec_is_chosen_by_its_field(codec: str, tmp_path: Path) -> None:
    labels = miniatures.coco(tmp_path / "coco")
    sets = [f"dataset.{part}=coco:{labels},skeleton=ap10k" for part in ("train", "val")]
    overrides = [*TINY, *sets, f"codec={codec}", f"run_dir={tmp_path / 'run'}"]
    assert train._train(train.compose(overrides)) == 0
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert card["codec"]["kind"] == {"udp": "heatmap", "heatmap_biased": "heatmap"}.get(
        codec, codec
    )
    builder = card["architecture"]["builder"].rpartition(":")[2]
    assert builder == ("simcc" if codec == "simcc" else "small")
    decoder = {"simcc": "argmax", "udp": "dark_udp", "signed": "dark"}.get(codec, "shift")
    assert f"flip test, {decoder}," in card["scores"]["protocol"]
    predictor = load(tmp_path / "run" / "model.safetensors")
    assert predictor.codec.warp == ("centres" if codec == "udp" else "borders")
    found = predictor.predict(labels.parent / "images" / "a.jpg")
    assert np.isfinite(found.keypoints).all()
    told = {1, 2} if codec == "signed" else {2}
    assert set(found.visibility.ravel().tolist()) <= told
