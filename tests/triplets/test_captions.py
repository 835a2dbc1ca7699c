"""Captions: what is cleaned away, how the mix is drawn, and a tiny network's words."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapose import skeletons
from tetrapose.errors import UserError
from tetrapose.structures import Instances
from tetrapose.triplets import captions
from tetrapose.triplets.captions import CaptionSettings, caption_all, clean
from tetrapose.triplets.rows import Facts

SKELETON = skeletons.load("ap10k")


def fact(key: str = "k", text: str = "", species: tuple[str, ...] = ("dog",)) -> Facts:
    n = max(len(species), 1)
    points = np.full((n, len(SKELETON), 2), np.nan)
    blank = Instances(points, np.zeros(points.shape[:2], np.uint8), np.zeros((n, 4)))
    return Facts(key, text, species, blank, SKELETON, (512, 512))


@pytest.mark.parametrize(
    "text, words",
    [
        ("A brown dog runs on grass.", "A brown dog runs on grass."),
        ("A dog &amp; a cat &lt;b&gt;asleep&lt;/b&gt;", "A dog & a cat asleep"),
        ('<a href="http://x.org/1">Two horses</a> near a <br/>fence', "Two horses near a fence"),
        ("Cow in a field https://example.com/p?id=3 today", "Cow in a field today"),
        ("see www.pets.example/dog for a sleeping dog", "see for a sleeping dog"),
        ("mail me@pets.example about the black kitten", "mail about the black kitten"),
        ("my sleepy #dog on the sofa #cute #dogsofinstagram #love", "my sleepy dog on the sofa"),
        ("Happy dog 🐶🐕 at the beach 🏖️!!!", "Happy dog at the beach!"),
        ("IMG_2041.JPG a horse behind a gate", "a horse behind a gate"),
        ("DSC01234 two sheep on a hill", "two sheep on a hill"),
        ("P1010203 - cat by the window", "cat by the window"),
        ("big-brown-dog_running.jpg", "big brown dog running"),
        ("x" * 500 + " a dog sleeps", "a dog sleeps"),
        ("a3f9c01b22de44aa.png", ""),
        ("Labrador puppy stock photo. Royalty-free image", "Labrador puppy. image"),
        ("Siamese cat on a chair | Shutterstock", "Siamese cat on a chair"),
        ("Portrait of a tiger © John Smith", "Portrait of a tiger"),
        ("Ein Hund läuft über die Straße", "Ein Hund läuft über die Straße"),
        ("草原を走る黒い馬", "草原を走る黒い馬"),
        ("собака лежит на траве", "собака лежит на траве"),
        ("zero\u200bwidth\u202e dog \x07bell here", "zero width dog bell here"),
        ("dog", ""),
        ("123 456 789", ""),
        ("", ""),
        ("   \n\t ", ""),
        ("\ud800 a lone surrogate dog", "a lone surrogate dog"),
    ],
)
def test_what_is_cleaned_away(text, words):
    assert clean(text) == words


@given(st.text(max_size=200))
@settings(max_examples=80)
def test_cleaning_twice_changes_nothing(text):
    once = clean(text, least_words=1)
    assert clean(once, least_words=1) == once
    assert "\n" not in once
    assert once == once.strip()


@given(st.lists(st.sampled_from(
    ["dog", "#cute", "http://a.b/c", "&amp;", "<b>", "IMG_0001", "🐶", "...", "x.jpg", "©",
     "|", "-", "stock photo", "@me", "(", ")", "a", "cat.", "red-fox.png"]),
    max_size=12))  # fmt: skip
@settings(max_examples=80)
def test_cleaning_twice_changes_nothing_of_what_the_web_writes(parts):
    once = clean(" ".join(parts), least_words=1)
    assert clean(once, least_words=1) == once
    assert not any(sign in once for sign in "<>#@©🐶|")
    assert "http" not in once


def test_long_texts_end_with_a_sentence_or_a_word():
    text = "A dog runs over the field. " * 3 + "It barks at nothing in particular " * 20
    short = clean(text, most_chars=100)
    assert short == ("A dog runs over the field. " * 3).strip()
    words = clean("word " * 100, most_chars=52)
    assert words == " ".join(["word"] * 10)
    assert len(clean("黒い馬が草原を走る" * 50, most_chars=80)) == 80


def test_a_text_is_never_run_out_of_time():
    for hostile in ("#" * 20000, "<" * 20000, "a@" * 10000, "." * 20000, "(" * 20000, "0-" * 10000,
                    "www." * 5000, "# a " * 5000, "IMG_" * 5000):  # fmt: skip
        clean(hostile)


def test_the_mix_is_drawn_by_key_in_its_shares():
    facts = [fact(f"key {i}", "A dog runs on green grass") for i in range(1200)]
    plan = CaptionSettings(mix={"text": 3, "template": 1}, dropout=0.1)
    said = caption_all(facts, plan)
    origins = Counter(one.origin for one in said)
    assert origins["dropped"] / 1200 == pytest.approx(0.1, abs=0.045)
    assert origins["text"] / 1200 == pytest.approx(0.9 * 0.75, abs=0.045)
    assert origins["template"] / 1200 == pytest.approx(0.9 * 0.25, abs=0.045)
    assert all((one.caption == "") == (one.origin == "dropped") for one in said)
    # by key alone: order, company and repetition do not matter
    assert caption_all(facts[::-7], plan) == said[::-7]
    other = caption_all(facts, replace(plan, seed=1))
    assert sum(a.origin != b.origin for a, b in zip(said, other, strict=True)) > 240


def test_where_the_drawn_origin_says_nothing_the_next_speaks():
    plan = CaptionSettings()
    (one,) = caption_all([fact(text="IMG_1234.JPG")], plan)
    assert (one.origin, "dog" in one.caption) == ("template", True)
    (none,) = caption_all([fact(text="IMG_1234.JPG")], replace(plan, otherwise=("text",)))
    assert (none.caption, none.origin) == ("", "")
    (animal,) = caption_all([fact(species=())], plan)
    assert "an animal" in animal.caption


class Parrot:
    name, version = "parrot", "1"

    def __init__(self, words: str = "a bird that talks") -> None:
        self.words, self.batches = words, []

    def describe(self, pictures):
        self.batches.append([int(picture[0, 0, 0]) for picture in pictures])
        return [self.words] * len(pictures)


def test_the_network_sees_in_batches_only_what_it_is_to_describe():
    facts = [fact(f"key {i}", "A dog runs on green grass") for i in range(50)]
    plan = CaptionSettings(mix={"text": 1, "model": 1}, model="parrot", batch=8)
    parrot = Parrot()
    pictures = [np.full((4, 4, 3), i, np.uint8) for i in range(50)]
    said = caption_all(facts, plan, pictures=pictures.__getitem__, describer=parrot)
    seen = [i for batch in parrot.batches for i in batch]
    assert seen == [i for i, one in enumerate(said) if one.origin == "parrot"]
    assert 15 < len(seen) < 35
    assert {len(batch) for batch in parrot.batches[:-1]} == {8}
    mute = caption_all(facts, plan, pictures=pictures.__getitem__, describer=Parrot("🐶"))
    assert {one.origin for one in mute} == {"text"}
    with pytest.raises(UserError, match="parrot"):
        caption_all(facts, plan)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"mix": {"poem": 1}}, "poem"),
        ({"mix": {"text": 0}}, "one of them above"),
        ({"mix": {"text": -1, "template": 2}}, "0 or more"),
        ({"mix": {"model": 1}}, "model to be named"),
        ({"dropout": 1.5}, "0..1"),
        ({"otherwise": ["prose"]}, "prose"),
        ({"batch": 0}, "batch"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_settings_that_cannot_be_are_told(values, words):
    with pytest.raises(UserError, match=words):
        captions.from_dict(values)


def test_settings_survive_being_written():
    plan = CaptionSettings(mix={"text": 1, "template": 2.5}, otherwise=("template",), seed=4)
    assert captions.from_dict(plan.to_dict()) == plan


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BLIP of a few thousand random weights, saved as any published one."""
    transformers = pytest.importorskip("transformers", reason="tetrapose[captions] is missing")
    import torch

    folder = tmp_path_factory.mktemp("blip")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[DEC]",
        "a",
        "dog",
        "cat",
        "on",
        "grass",
    ]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 16}  # fmt: skip
    config = transformers.BlipConfig(
        text_config={
            **small, "vocab_size": len(words), "encoder_hidden_size": 16, "bos_token_id": 5,
            "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0, "max_position_embeddings": 32,
        },
        vision_config={**small, "image_size": 32, "patch_size": 16},
        projection_dim=8, image_text_hidden_size=8,
    )  # fmt: skip
    torch.manual_seed(1)
    model = transformers.BlipForConditionalGeneration(config)
    model.save_pretrained(folder)
    pixels = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    transformers.BlipProcessor(pixels, tokenizer).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_tiny_network_describes_the_same_alone_and_in_a_batch(blip):
    from tetrapose.triplets.describing import digest, open_describer

    plan = CaptionSettings(mix={"model": 1}, model=str(blip), most_tokens=5)
    network = open_describer(plan)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (40 + i, 50, 3), dtype=np.uint8) for i in range(3)]
    together = network.describe(pictures)
    assert together == [network.describe([picture])[0] for picture in pictures]
    assert network.describe([]) == []
    assert all(isinstance(text, str) for text in together)
    assert network.name == blip.name
    version = digest(network.model)
    assert version == network.version
    network.model.state_dict()["text_decoder.cls.predictions.bias"][0] += 1.0
    assert digest(network.model) != version
    said = caption_all(
        [fact("a"), fact("b")], plan, pictures=pictures.__getitem__, describer=network
    )
    assert [one.origin in (blip.name, "template") for one in said] == [True, True]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_is_no_image_to_text_model_is_told_in_one_line(tmp_path):
    pytest.importorskip("transformers", reason="tetrapose[captions] is missing")
    from tetrapose.triplets.describing import open_describer

    (tmp_path / "config.json").write_text("{}")
    plan = CaptionSettings(mix={"model": 1}, model=str(tmp_path))
    with pytest.raises(UserError, match="image-to-text") as caught:
        open_describer(plan)
    assert "\n" not in str(caught.value)
