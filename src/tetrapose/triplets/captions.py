"""The caption of a triplet: the source's text cleaned, a model's words, or one made of the points.

Which of them a triplet gets is drawn by its key, so that a library made again has the same captions
wherever its parts were made.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

import numpy as np

from tetrapose.errors import UserError
from tetrapose.triplets import wording
from tetrapose.triplets.rows import Captioned, Facts

ORIGINS = ("text", "model", "template")
TEMPLATE_VERSION = "1"  # of the rules in wording.py: goes up when they say other things
TEXT_VERSION = "1"  # of the rules of ``clean``


@dataclass(frozen=True)
class CaptionSettings:
    """How captions are chosen and cleaned.

    ``mix`` gives the share of each of ``ORIGINS``; a triplet for which the drawn one says nothing
    takes the next of them in ``otherwise``. ``dropout`` is the share of captions left empty, as
    guidance without a text is learned from. A source's text counts from ``least_words`` words on
    and is cut at ``most_chars``. ``model`` names an image-to-text model of transformers (a folder
    or a repository), ``prompt`` what it is asked, for those that are asked; ``batch`` pictures are
    described at a time. ``seed`` draws anew.
    """

    mix: Mapping[str, float] = field(default_factory=lambda: {"text": 1.0})
    otherwise: tuple[str, ...] = ("text", "template")
    dropout: float = 0.0
    least_words: int = 3
    most_chars: int = 300
    model: str = ""
    prompt: str = ""
    batch: int = 8
    most_tokens: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        faults = [
            f"{name!r} is none of {', '.join(ORIGINS)}"
            for name in dict.fromkeys((*self.mix, *self.otherwise))
            if name not in ORIGINS
        ]
        if any(share < 0 for share in self.mix.values()) or not sum(self.mix.values()) > 0:
            faults.append("the shares of the mix are 0 or more, one of them above")
        if not 0 <= self.dropout <= 1:
            faults.append(f"dropout lies in 0..1, not {self.dropout}")
        for name in ("least_words", "most_chars", "batch", "most_tokens"):
            if getattr(self, name) < 1:
                faults.append(f"{name} is 1 or more, not {getattr(self, name)}")
        if self.mix.get("model", 0) > 0 and not self.model:
            faults.append("a share of model wants a model to be named")
        if faults:
            raise UserError(f"captions: {'; '.join(faults)}")

    @property
    def wants_model(self) -> bool:
        """Whether the network is asked at all."""
        return bool(self.model) and (self.mix.get("model", 0) > 0 or "model" in self.otherwise)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in ``library.json``."""
        return {**asdict(self), "mix": dict(self.mix), "otherwise": list(self.otherwise)}


def from_dict(values: Mapping[str, Any]) -> CaptionSettings:
    """Settings of plain values; UserError with every unknown name."""
    known = [one.name for one in fields(CaptionSettings)]
    odd = [name for name in values if name not in known]
    if odd:
        raise UserError(f"captions: no setting {', '.join(odd)}; there is {', '.join(known)}")
    plain = dict(values)
    if "otherwise" in plain:
        plain["otherwise"] = tuple(plain["otherwise"])
    return CaptionSettings(**plain)


class Describer(Protocol):
    """A network that puts pictures into words; see ``describing.py``."""

    name: str
    version: str

    def describe(self, pictures: Sequence[np.ndarray]) -> list[str]:
        """One text for each picture (H, W, 3) uint8 RGB."""
        ...


def caption_all(
    facts: Sequence[Facts],
    settings: CaptionSettings,
    *,
    pictures: Callable[[int], np.ndarray] | None = None,
    describer: Describer | None = None,
) -> list[Captioned]:
    """A caption for each triplet; the network sees those that are to have its words, in batches.

    ``pictures`` gives the triplet's picture (H, W, 3) uint8 RGB by its place in ``facts``. An empty
    ``caption`` has the origin "dropped" where drop-out left it so, and "" where nothing could be
    said (``no_caption``).
    """
    said: list[Captioned | None] = [None] * len(facts)
    todo: list[int] = []
    for i, fact in enumerate(facts):
        order = _order(fact.key, settings)
        if not order:
            said[i] = Captioned("", "dropped")
            continue
        said[i] = _without_network(fact, order, settings)
        if said[i] is None:
            todo.append(i)
    if todo and (describer is None or pictures is None):
        raise UserError(f"captions: the mix wants the model {settings.model!r}, which is not open")
    for start in range(0, len(todo), settings.batch):
        some = todo[start : start + settings.batch]
        assert describer is not None
        assert pictures is not None
        texts = describer.describe([pictures(i) for i in some])
        for i, text in zip(some, texts, strict=True):
            words = clean(text, least_words=1, most_chars=settings.most_chars)
            if words:
                said[i] = Captioned(words, describer.name, describer.version)
            else:
                rest = [origin for origin in _order(facts[i].key, settings) if origin != "model"]
                said[i] = _without_network(facts[i], rest, settings)
    return [one or Captioned("", "") for one in said]


def _order(key: str, settings: CaptionSettings) -> list[str]:
    """What is tried for a key, first one first; nothing where drop-out leaves it empty."""
    if chance(key, settings.seed, "dropout") < settings.dropout:
        return []
    shares = np.array([settings.mix.get(origin, 0.0) for origin in ORIGINS])
    drawn = chance(key, settings.seed, "mix") * shares.sum()
    first = ORIGINS[min(int((np.cumsum(shares) <= drawn).sum()), len(ORIGINS) - 1)]
    usable = [o for o in settings.otherwise if o != "model" or settings.wants_model]
    return list(dict.fromkeys((first, *usable)))


def _without_network(
    fact: Facts, order: Sequence[str], settings: CaptionSettings
) -> Captioned | None:
    """The first of ``order`` that says something; None where the network comes first of those."""
    for origin in order:
        if origin == "model":
            return None
        if origin == "text":
            text = clean(
                fact.text, least_words=settings.least_words, most_chars=settings.most_chars
            )
            if text:
                return Captioned(text, "text", TEXT_VERSION)
        else:
            return template(fact, seed=settings.seed)
    return Captioned("", "")


def template(fact: Facts, *, seed: int = 0) -> Captioned:
    """A sentence from species, posture and view, in one of a few forms by the triplet's key."""
    count = len(fact.instances)
    species = fact.species if len(fact.species) == count else fact.species[:1] * max(count, 1)
    variant = int(chance(fact.key, seed, "template") * 1000)
    readings = wording.read(fact.instances, fact.skeleton)
    return Captioned(
        wording.sentence(species or [""] * max(count, 1), readings, variant),
        "template",
        TEMPLATE_VERSION,
    )


def chance(key: str, seed: int, what: str) -> float:
    """A number in 0..1 that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{what}\0{seed}\0{key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


TAG = re.compile(r"</?[a-zA-Z][^<>]{0,300}>|<!--.*?-->", re.DOTALL)
# of one word at a time, so that no text takes long
ADDRESS = re.compile(r"://|^\W*www\.|[\w.+-]@[\w-]+\.\w|\w\.(?:com|net|org)\b", re.I)
PICTURE_NAME = re.compile(r"\.(?:jpe?g|png|gif|webp|tiff?|bmp|heic|cr2|nef|arw|dng)\b", re.I)
MOST_READ = 4000  # characters of a text; what follows is not looked at
LONGEST_WORD = 100  # characters; longer ones are codes, unless the script has no spaces
CAMERA_NAME = re.compile(
    r"\b(?:(?:_?DSC[FN_]?|IMG|_MG|PICT?|DCIM|CIMG|MVC|SANY|HPIM|SAM|GOPR|PXL|IMAGE|PHOTO|PIC"
    r"|SCREENSHOT|P)[-_ ]?\d{3,}[-_\d]*|\d{2,}[-_]\d{2,}[-_\d]*|[0-9a-f]{12,}|\d{5,})\b",
    re.I,
)
HASHTAGS = re.compile(r"(?:^|(?<=\s))(?:[#@][\w-]+[\s,]*){2,}|(?:[#@][\w-]+[\s,]*)+$")
PHRASES = re.compile(
    r"\b(?:royalty[- ]free|stock (?:photo|photograph|image|picture|vector|footage)s?"
    r"|(?:shutterstock|getty images|istock(?:photo)?|alamy|depositphotos|dreamstime|flickr)\b"
    r"|all rights reserved|image (?:may contain|result for)|photo by [^,.|]*"
    r"|click to (?:enlarge|zoom)|free download|high[- ]res(?:olution)?)|[©®™]\s*[^,.|-]*",
    re.I,
)
HELD = "'\"’“”,.!?;:()&%-–—/+°€$£"  # of what is neither letter nor digit


def clean(text: str, *, least_words: int = 3, most_chars: int = 300) -> str:
    """A text of the web as a caption, "" where too little is left.

    Without mark-up, addresses, rows of hashtags (a single one in a sentence loses its sign), emoji
    and other signs, names of cameras' files and sellers' phrases; a file's name that is made of
    words becomes them. At least ``least_words`` words of letters; longer texts end with the last
    sentence or word within ``most_chars``. Cleaning twice changes nothing.
    """
    text, before = text[:MOST_READ], None
    for _ in range(4):  # what is taken out may join what is left
        if text == before:
            break
        before = text
        text = _cleaned_once(text)
    text = _cut(text, most_chars)
    return text if len(re.findall(r"[^\W\d_]+", text)) >= least_words or _wide(text) else ""


def _wide(text: str) -> bool:
    """Whether a text is in a script without spaces and long enough to be a sentence."""
    return sum(unicodedata.east_asian_width(c) == "W" for c in text) >= 4


def _cleaned_once(text: str) -> str:
    text = html.unescape(html.unescape(text))
    text = TAG.sub(" ", text)
    text = unicodedata.normalize("NFC", text)
    text = " ".join(filter(None, map(_worded, text.split())))
    text = HASHTAGS.sub(" ", text)
    text = CAMERA_NAME.sub(" ", text)
    text = PHRASES.sub(" ", text)
    kept = [c if _is_text(c) else " " for c in text]
    text = " ".join("".join(kept).split())
    text = re.sub(r"\(\s*\)|([,.;:!?/&+-])(?:\s*[,;:/&+-])+", r"\1", text)
    text = re.sub(r"([!?.])[!?.]*\1", r"\1", text)
    text = re.sub(r"\s+([,.;:!?)])", r"\1", text)
    return " ".join(text.split()).strip(" ,;:-–—/&+|'\"")


def _worded(token: str) -> str:
    """A word of the text, what a file's name spells, or "" for an address or a code."""
    if ADDRESS.search(token) or (len(token) > LONGEST_WORD and not _wide(token)):
        return ""
    return _file_words(token) if PICTURE_NAME.search(token) else token


def _is_text(sign: str) -> bool:
    if "\ufe00" <= sign <= "\ufe0f":  # says how an emoji before it is drawn
        return False
    kind = unicodedata.category(sign)
    return kind[0] in "L" or kind in ("Nd", "Mn", "Mc") or sign in HELD


def _file_words(name: str) -> str:
    """What a file is called: brown-dog_2.jpg gives "brown dog", codes give ""."""
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    words = re.findall(r"[^\W\d_]{3,}", re.sub(r"[-_+%.]|\d+", " ", stem))
    spelled = [word for word in words if re.search(r"[aeiouyäöüáéíóú]", word, re.I)]
    return " ".join(spelled) if len(spelled) >= 2 else ""


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    head = text[:most]
    ends = [found.end() for found in re.finditer(r"[.!?](?=\s)", head)]
    if ends and ends[-1] >= most / 2:
        return head[: ends[-1]]
    return head.rsplit(" ", 1)[0].strip(" ,;:-–—/&+|'\"") if " " in head else head
