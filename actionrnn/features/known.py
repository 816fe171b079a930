"""What is known of a backbone without loading it: which network and weights its name means.

A network that was converted for an engine is kept under the checksum of its weights. Where that is
known, too, features are computed without the weights' file and without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from actionrnn.config import BackboneConfig
from actionrnn.features.preprocess import Preprocessing

BUNDLED = "efficientnet_lite0"
BUNDLED_PREPROCESSING = Preprocessing(
    resize=256, crop=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)
BUNDLED_SHA256 = "a3433a6d9914b4cc0589ed21ac596c4c84f1e997cc671e1da8aa3618edbdaa37"
"""Stands for its weights in stores and models since version 0.1."""
_FOLDED_SHA256 = "19bfba2eac083bff40050b8410e0a28d419c4afd13668ddf21df75364a23d401"
"""Of the same weights as tensors: their last bits depended on torch's build once."""
INT8 = "int8"
"""The precision that makes another network of it: its features fit each other alone."""
IMPORTED = "imported/"
"""Begins the name of what computed features elsewhere."""


@dataclass(frozen=True)
class Known:
    """Which features a backbone computes."""

    weights_sha256: str
    preprocessing: Preprocessing


def is_imported(name: str) -> bool:
    """Whether a backbone's name means features that were computed elsewhere."""
    return name.startswith(IMPORTED)


def recorded_sha256(of_tensors: str) -> str:
    """What stores and models say of weights whose tensors have this checksum."""
    return BUNDLED_SHA256 if of_tensors == _FOLDED_SHA256 else of_tensors


def find_known(config: BackboneConfig, trained_with: Known | None = None) -> Known | None:
    """What a configuration means; None: only its weights can tell.

    Args:
        trained_with: of the features that a model was trained on, where the configuration is that
            of the model.
    """
    if config.weights != "default":  # a file, which may have changed
        return None
    if trained_with is not None:
        return trained_with
    if config.name != BUNDLED:
        return None
    preprocessing = replace(
        BUNDLED_PREPROCESSING, resize_mode=config.resize_mode, modality=config.modality
    )
    return Known(BUNDLED_SHA256, preprocessing)
