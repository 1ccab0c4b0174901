"""Data sets for the benchmarks, made by fixed recipes; those from files read the folder DQCORE_DATA."""

from __future__ import annotations

import io
import itertools
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def folder() -> Path:
    """Return the folder of real data, or raise with the reason."""
    if "DQCORE_DATA" not in os.environ:
        raise FileNotFoundError("set DQCORE_DATA to the folder that holds the real data sets")
    return Path(os.environ["DQCORE_DATA"])


def image_patches(n: int, seed: int = 0) -> NDArray[np.float32]:
    """Return n random 8 x 8 x 3 windows of CIFAR-10 images, mean removed, unit norm: low-rank, clustered."""
    from PIL import Image

    with np.load(folder() / "cifar10_jpeg_8k.npz", allow_pickle=False) as data:
        jpeg, offsets = data["jpeg"].tobytes(), data["offsets"]
    images = np.stack(
        [
            np.asarray(Image.open(io.BytesIO(jpeg[a:b])).convert("RGB"))
            for a, b in itertools.pairwise(offsets)
        ]
    )
    rng = np.random.default_rng(seed)
    blocks: list[NDArray[np.float32]] = []
    found = 0
    while found < n:
        m = min(200_000, (n - found) * 3 // 2 + 1000)
        i = rng.integers(0, len(images), m)
        r, c = rng.integers(0, images.shape[1] - 7, (2, m))
        rows = r[:, None, None] + np.arange(8)[:, None]
        cols = c[:, None, None] + np.arange(8)[None, :]
        patches = images[i[:, None, None], rows, cols].reshape(m, 192).astype(np.float32) / 255
        patches -= patches.mean(axis=1, keepdims=True)
        norm = np.linalg.norm(patches, axis=1)
        keep = norm > 0.3
        blocks.append(patches[keep] / norm[keep, None])
        found += len(blocks[-1])
    return np.concatenate(blocks)[:n]
