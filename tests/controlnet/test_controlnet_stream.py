"""The order of triplets: every one once an epoch, exact from any place on, dealt out fairly."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest
import tiny_sd
from hypothesis import given
from hypothesis import strategies as st

from tetrapose.controlnet.loader import batch_of, load
from tetrapose.controlnet.stock import Stock, open_stock
from tetrapose.controlnet.stream import (
    Order,
    Position,
    batches,
    dropped,
    held_out,
    noise_seed,
    shuffled,
    stream,
)
from tetrapose.errors import UserError
from tetrapose.triplets import shards
from tetrapose.triplets.library import Library


def made_up(shard_sizes, sizes=((64, 64),)) -> Stock:
    """A stock without files: the order needs none."""
    count = sum(shard_sizes)
    return Stock(
        files=tuple(f"{i}.tar" for i in range(len(shard_sizes))),  # type: ignore[arg-type]
        shard=np.repeat(np.arange(len(shard_sizes)), shard_sizes),
        keys=tuple(f"key{i}" for i in range(count)),
        sizes=np.array([sizes[i % len(sizes)] for i in range(count)]).reshape(-1, 2),
        skeleton=np.zeros(count, dtype=np.int64),
        skeletons=("animal_pose",),
        places=np.zeros((count, 4, 2), dtype=np.int64),
        style=tiny_sd.STYLE,
    )


@pytest.fixture
def library(tiny_library):
    return tiny_library


def copied(library, folder):
    """A library whose files may be spoilt."""
    import shutil

    return shutil.copytree(library, folder / "copy")


KINDS = st.tuples(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 99),
)


@given(KINDS)
def test_an_epoch_holds_every_triplet_once_in_batches_of_one_size(kind):
    shard_sizes, size, window, seed = kind
    stock = made_up(shard_sizes, ((64, 64), (64, 128), (128, 64)))
    order = Order(seed, size, window)
    for epoch in (0, 3):
        dealt = batches(stock, order, epoch)
        assert sorted(np.concatenate(dealt).tolist()) == list(range(len(stock)))
        for rows in dealt:
            assert 1 <= len(rows) <= size
            assert len({tuple(one) for one in stock.sizes[rows].tolist()}) == 1


@given(KINDS, st.integers(0, 12))
def test_from_any_place_on_the_stream_is_the_same(kind, passed):
    shard_sizes, size, window, seed = kind
    stock = made_up(shard_sizes)
    order = Order(seed, size, window)
    whole = list(islice(stream(stock, order), passed + 6))
    at = whole[passed - 1][0] if passed else Position()
    again = list(islice(stream(stock, order, at), 6))
    for (here, rows), (there, others) in zip(whole[passed:], again, strict=True):
        assert here == there
        assert rows.tolist() == others.tolist()


def test_windows_keep_a_shard_together_and_shuffle_within():
    stock = made_up([50] * 8)
    rows = shuffled(stock, Order(1, 4, window=2), 0)
    for first in range(0, 400, 100):
        assert len(set(stock.shard[rows[first : first + 100]].tolist())) == 2
    assert rows.tolist() != sorted(rows.tolist())
    assert rows.tolist() != shuffled(stock, Order(1, 4, window=2), 1).tolist()
    assert rows.tolist() != shuffled(stock, Order(2, 4, window=2), 0).tolist()


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_an_epoch_without_overlap(world):
    stock = made_up([7, 5, 9])
    each = len(batches(stock, Order(0, 2), 0)) // world
    seen = []
    for rank in range(world):
        order = Order(0, 2, rank=rank, world=world)
        some = list(islice(stream(stock, order), each + 1))
        assert [at.epoch for at, _ in some] == [0] * each + [1]
        seen += np.concatenate([rows for _, rows in some[:each]]).tolist()
    assert len(seen) == len(set(seen)) >= len(stock) - 2 * world


def test_too_few_batches_for_the_processes_is_told():
    with pytest.raises(UserError, match=r"3 triplets make 1 batches, too few for 2 processes"):
        next(stream(made_up([3]), Order(0, 4, rank=1, world=2)))


def test_captions_are_left_out_by_key_and_epoch():
    keys = [f"k{i}" for i in range(4000)]
    first = [dropped(key, 0, 7, 0.1) for key in keys]
    assert 0.08 < np.mean(first) < 0.12
    assert first == [dropped(key, 0, 7, 0.1) for key in keys]
    second = [dropped(key, 1, 7, 0.1) for key in keys]
    assert 0.002 < np.mean(np.array(first) & np.array(second)) < 0.025  # no key is always out
    assert not any(dropped(key, 0, 7, 0.0) for key in keys)
    assert all(dropped(key, 0, 7, 1.0) for key in keys)


def test_held_out_triplets_do_not_depend_on_the_order_and_are_few():
    stock = made_up([20, 20])
    rows = held_out(stock, 3)
    assert len(rows) == 3
    turned = Stock(**{**stock.__dict__, "keys": stock.keys[::-1]})
    assert {turned.keys[i] for i in held_out(turned, 3)} == {stock.keys[i] for i in rows}
    assert len(held_out(made_up([9]), 4)) == 0
    assert len(held_out(made_up([25]), 4)) == 2


def test_noise_differs_by_place_and_process():
    seeds = {
        noise_seed(s, Position(e, b), r, 2)
        for s in (0, 1) for e in (0, 1) for b in (1, 2) for r in (0, 1)
    }  # fmt: skip
    assert len(seeds) == 16


@given(st.integers(1, 5), st.integers(5, 60), st.integers(0, 99))
def test_processes_together_draw_and_read_what_one_does(world, count, seed):
    stock = made_up([count], sizes=[(64, 64), (64, 128)])
    alone = list(islice(stream(stock, Order(seed, 1)), count - count % world))
    ours = [
        list(islice(stream(stock, Order(seed, 1, 16, rank, world)), count // world))
        for rank in range(world)
    ]
    for number, (after, rows) in enumerate(alone):
        place, mine = ours[number % world][number // world]
        assert rows.tolist() == mine.tolist()
        draws = noise_seed(seed, place, number % world, world)
        assert draws == noise_seed(seed, after, 0, 1)


def test_a_stock_shows_what_the_shards_hold(library, tmp_path):
    triplets = [t for path in Library(library).shards() for t in shards.read(path)]
    for keep in (None, tmp_path / "tables", tmp_path / "tables"):  # read, kept, from the table
        stock = open_stock([library], keep=keep)
        assert stock.keys == tuple(t.key for t in triplets)
        assert stock.style == tiny_sd.STYLE
        assert stock.skeletons == ("animal_pose",)
        for row, triplet in enumerate(triplets):
            assert stock.read(row, 0) == triplet.original_image
            assert stock.read(row, 1) == triplet.conditioning_image
            assert stock.caption(row) == triplet.caption
            assert stock.points(row) == triplet.points
            assert stock.sizes[row].tolist() == triplet.points["size"]
    assert len(list((tmp_path / "tables").iterdir())) == len(stock.files)


def test_a_table_of_another_file_or_a_damaged_one_is_not_used(library, tmp_path):
    lib = copied(library, tmp_path)
    keep = tmp_path / "tables"
    before = open_stock([lib], keep=keep)
    for table in keep.iterdir():
        table.write_bytes(table.read_bytes()[:50])
    assert open_stock([lib], keep=keep).keys == before.keys
    first, second = Library(lib).shards()[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises(UserError, match="come twice"):
        open_stock([lib], keep=keep)


@pytest.mark.parametrize(
    "spoil, told",
    [
        (lambda about: about.update(finished=False), "is not finished"),
        (lambda about: about["identity"].update(style="animal_controlnet-v0"), "at version 1"),
        (lambda about: about["identity"].update(style="crayon-v1"), "no pose style 'crayon-v1'"),
        (
            lambda about: about["skeletons"]["animal_pose"]["keypoints"].reverse(),
            "means other points by the skeleton animal_pose",
        ),
    ],
)
def test_a_library_that_does_not_fit_is_told(library, tmp_path, spoil, told):
    lib = copied(library, tmp_path)
    about = json.loads((lib / "library.json").read_text())
    spoil(about)
    (lib / "library.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=told):
        open_stock([lib])


def test_the_expected_skeleton_and_style_are_demanded(library, tmp_path):
    assert len(open_stock([library], skeleton="animal_pose", style=tiny_sd.STYLE)) == 12
    with pytest.raises(UserError, match="stand on animal_pose, not on ap10k"):
        open_stock([library], skeleton="ap10k")
    with pytest.raises(UserError, match="where openpose-v1 is due"):
        open_stock([library], style="openpose-v1")
    with pytest.raises(UserError, match="no library of triplets is given"):
        open_stock([])
    with pytest.raises(UserError, match="no library of triplets"):
        open_stock([tmp_path])


def test_shards_that_are_cut_off_or_gone_are_told(library, tmp_path):
    lib = copied(library, tmp_path)
    first, *others = Library(lib).shards()
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="000000.tar"):
        open_stock([lib])
    for path in (first, *others):
        path.unlink()
    with pytest.raises(UserError, match="holds no shards"):
        open_stock([lib])


def test_batches_are_what_the_order_says_with_workers_or_without(library):
    stock = open_stock([library])
    order = Order(3, 4)
    wanted = list(islice(stream(stock, order), 5))
    for workers in (0, 2):
        loader = load(stock, order, drop=0.5, start=Position(), workers=workers)
        for (after, rows), batch in zip(wanted, islice(loader, 5), strict=True):
            assert batch.after == after
            assert list(batch.rows) == rows.tolist()
            assert batch.pictures.shape == batch.poses.shape == (len(rows), 3, 64, 64)
            for row, caption in zip(batch.rows, batch.captions, strict=True):
                out = dropped(stock.keys[row], after.epoch, 3, 0.5)
                assert caption == ("" if out else stock.caption(row))


def test_a_triplet_that_cannot_be_decoded_is_left_out_and_told(library, tmp_path):
    lib = copied(library, tmp_path)
    stock = open_stock([lib])
    start = int(stock.places[1, 0, 0])
    with open(stock.files[0], "r+b") as file:
        file.seek(start)
        file.write(b"\0" * 400)
    batch = batch_of(stock, np.arange(3))
    assert batch.rows == (0, 2)
    assert len(batch.unreadable) == 1
    assert batch.unreadable[0].startswith(stock.keys[1])
