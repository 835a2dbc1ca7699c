"""How alike two piles of pictures are, and how well pictures fit their words, where weights are.

Each figure wants a network of others, which is never fetched: what is missing is said in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tetrapose.errors import UserError
from tetrapose.weights.files import fetched_folder, load_checkpoint

FEW = 2048  # pictures below which the distance of Frechet says little
SUBSETS, LARGEST = 100, 1000  # of the kernel distance, as in its source
INCEPTION = (
    "weights-inception-2015-12-05-6726825d.pth",  # of torch-fidelity's releases
    "pt_inception-2015-12-05-6726825d.pth",  # of pytorch-fid's, the same weights
)
CLIP = "clip"  # a folder beside them


def known_weights() -> tuple[Path | None, Path | None]:
    """Inception's file and CLIP's folder where they lie in the folder of fetched models."""
    folder = fetched_folder()
    files = [folder / name for name in INCEPTION if (folder / name).is_file()]
    return files[0] if files else None, folder / CLIP if (folder / CLIP).is_dir() else None


def no_inception() -> str:
    """What to do for FID and KID, in words."""
    return (
        f"FID, KID: left out; they need Inception's weights: put {INCEPTION[0]} (95 MB, releases of"
        f" toshas/torch-fidelity on GitHub) into {fetched_folder()}, or give --inception FILE"
    )


def no_clip() -> str:
    """What to do for the CLIP score, in words."""
    return (
        "CLIP score: left out; it needs a CLIP model (openai/clip-vit-base-patch16, say, as"
        f" transformers keeps it): put its folder at {fetched_folder() / CLIP}, or give --clip DIR"
    )


def frechet_distance(one: np.ndarray, two: np.ndarray) -> float:
    """The distance of two piles of features (N, D) and (M, D), each taken for a Gaussian.

    Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017.
    """
    means = one.mean(axis=0), two.mean(axis=0)
    spreads = [np.atleast_2d(np.cov(pile, rowvar=False)) for pile in (one, two)]
    root = _root(spreads[0])
    # the trace of a product's root is that of the symmetric product's
    cross = np.linalg.eigvalsh(root @ spreads[1] @ root)
    between = np.sqrt(np.clip(cross, 0, None)).sum()
    apart = float(np.square(means[0] - means[1]).sum())
    return max(apart + float(np.trace(spreads[0]) + np.trace(spreads[1]) - 2 * between), 0.0)


def kernel_distance(
    one: np.ndarray, two: np.ndarray, *, seed: int = 0, subsets: int = SUBSETS
) -> float:
    """The squared distance of two piles of features by a cubic kernel, unbiased; may be below 0.

    Mean over random subsets of at most 1000. Source: Binkowski et al., Demystifying MMD GANs, 2018.
    """
    size = min(len(one), len(two), LARGEST)
    if size < 2:
        raise UserError("the kernel distance needs two pictures or more on either side")
    draw = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        x = one[draw.choice(len(one), size, replace=False)]
        y = two[draw.choice(len(two), size, replace=False)]
        own = [_kernel(pile, pile) for pile in (x, y)]
        pairs = sum((table.sum() - np.trace(table)) / (size * (size - 1)) for table in own)
        values.append(pairs - 2 * _kernel(x, y).mean())
    return float(np.mean(values))


def inception(weights: str | Path) -> Callable[[np.ndarray], np.ndarray]:
    """Features (B, 2048) of pictures (B, 299, 299, 3) uint8 by Inception as FID is defined with.

    UserError for a file that is not of that network.
    """
    import torch

    from tetrapose.controlnet import inception as network

    held = load_checkpoint(weights)
    network.demand_inception(held, weights)

    def features(pictures: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float()
        with torch.no_grad():
            return network.features(held, batch).double().numpy()

    return features


def clip_scores(
    folder: str | Path, pictures: Iterator[np.ndarray], captions: Sequence[str]
) -> np.ndarray:
    """(N,) 100 times the cosine of each picture's and its caption's embedding, 0 at least.

    Source: Hessel et al., CLIPScore, 2021, with the weight 100 that is usual for generators.
    """
    import torch
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    where = Path(folder)
    if not where.is_dir():
        raise UserError(f"--clip {where}: no such folder; nothing is fetched")
    try:
        model: Any = CLIPModel.from_pretrained(str(where), use_safetensors=True).eval()
        words: Any = CLIPTokenizer.from_pretrained(str(where))
        prepare: Any = CLIPImageProcessor.from_pretrained(str(where))
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        line = " ".join(str(error).split())[:160]
        raise UserError(f"--clip {where}: cannot be loaded ({line})") from None
    longest = model.config.text_config.max_position_embeddings
    out = []
    for pixels, caption in zip(pictures, captions, strict=True):
        ids = words([caption], truncation=True, max_length=longest, return_tensors="pt")
        shown = prepare(images=[pixels], return_tensors="pt")
        with torch.no_grad():
            text = _vector(model.get_text_features(**ids))
            seen = _vector(model.get_image_features(**shown))
            cosine = torch.nn.functional.cosine_similarity(text, seen)
        out.append(100 * max(float(cosine), 0.0))
    return np.array(out)


def gathered(
    pictures: Iterator[np.ndarray], features: Callable[[np.ndarray], np.ndarray], batch: int = 16
) -> np.ndarray:
    """(N, D) features of pictures of any size, brought to 299 px by means of what pixels cover.

    The first tools took single pixels, so that details between them had no effect: figures of
    theirs differ a little. Source: Parmar et al., On Aliased Resizing, 2022.
    """
    rows, some = [], []
    for pixels in pictures:
        some.append(cv2.resize(pixels, (299, 299), interpolation=cv2.INTER_AREA))
        if len(some) == batch:
            rows.append(features(np.stack(some)))
            some = []
    if some:
        rows.append(features(np.stack(some)))
    return np.concatenate(rows) if rows else np.zeros((0, 1))


def _vector(found: Any) -> Any:
    """The embedding, which newer releases hand out as a part of an object."""
    return getattr(found, "pooler_output", found)


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _kernel(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return (one @ two.T / one.shape[1] + 1.0) ** 3
