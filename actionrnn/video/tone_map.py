"""HDR pixels become those of a standard picture, which is what backbones were trained on.

A PQ or HLG picture that is taken for a standard one is grey and pale. Light is computed as
ITU-R BT.2100 says, in units of diffuse white (203 cd/m2, ITU-R BT.2408). Its highlights, up to
1000 cd/m2, are rolled off to white by the curve of ITU-R BT.2390, applied to the largest of red,
green and blue, so that hues stay. BT.2020's colours become BT.709's (ITU-R BT.2087), coded for a
display of gamma 2.4 (ITU-R BT.1886).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

PQ, HLG = 16, 18
"""Transfer characteristics as ITU-T H.273 numbers them."""

HDR_NAMES = {PQ: "PQ", HLG: "HLG"}

WHITE_NITS = 203.0
PEAK_NITS = 1000.0  # usual for PQ; of the display for which HLG's system gamma is 1.2
_GAMMA = 2.4

_BT2020_PRIMARIES = 9
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)
_BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)

_LEVELS = 2**16
_LINES_AT_ONCE = 64  # keeps what is worked on in the processor's cache


def tone_mapped(rgb: NDArray[np.uint16], transfer: int, primaries: int) -> NDArray[np.uint8]:
    """A standard picture of an HDR one, both (H, W, 3).

    Args:
        rgb: coded values, 0 to 65535.
        transfer: `PQ` or `HLG`.
        primaries: H.273's number; those of BT.2020 are converted to BT.709's.
    """
    mapped = np.empty(rgb.shape, np.uint8)
    to_light, to_gain, to_code = _light_table(transfer), _gain_table(), _code_table()
    for top in range(0, len(rgb), _LINES_AT_ONCE):
        light = to_light[rgb[top : top + _LINES_AT_ONCE]]
        if transfer == HLG:
            # a scene's light becomes a display's: the system gamma of 1.2, applied to luminance
            light *= (PEAK_NITS / WHITE_NITS) * (light @ _BT2020_LUMINANCE)[..., None] ** 0.2
        light *= to_gain[_places(light.max(axis=2, keepdims=True) * (WHITE_NITS / PEAK_NITS))]
        if primaries == _BT2020_PRIMARIES:
            light = light @ _BT2020_TO_BT709.T
        mapped[top : top + _LINES_AT_ONCE] = to_code[_places(light)]
    return mapped


def _places(light: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Where light of 0 to 1 lies in a table of its roots, which spreads what is dark."""
    within = np.clip(light, 0, 1)
    places: NDArray[np.uint16] = (np.sqrt(within) * np.float32(_LEVELS - 1)).astype(np.uint16)
    return places


def _roots() -> NDArray[np.float64]:
    return np.arange(_LEVELS) / (_LEVELS - 1)


@cache
def _light_table(transfer: int) -> NDArray[np.float32]:
    """The light of each coded value: PQ's in units of white, HLG's of the scene, 0 to 1."""
    coded = _roots()
    if transfer == PQ:
        return np.asarray(_pq_to_nits(coded) / WHITE_NITS, np.float32)
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    light = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)
    return np.asarray(light, np.float32)


@cache
def _gain_table() -> NDArray[np.float32]:
    """What light is multiplied by, for each root of a pixel's largest part of the peak."""
    nits = PEAK_NITS * np.maximum(_roots(), 1 / _LEVELS) ** 2
    # BT.2390, section 5.4.1, with the peak's PQ code as 1
    peak = _nits_to_pq(PEAK_NITS)
    coded, largest = _nits_to_pq(nits) / peak, _nits_to_pq(WHITE_NITS) / peak
    knee = 1.5 * largest - 0.5
    t = np.maximum(coded - knee, 0) / (1 - knee)
    rolled = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * largest
    )
    shown = _pq_to_nits(np.where(coded < knee, coded, rolled) * peak)
    return np.asarray(shown / nits, np.float32)


@cache
def _code_table() -> NDArray[np.uint8]:
    """The 8-bit code of each root of light."""
    return np.rint(255 * _roots() ** (2 / _GAMMA)).astype(np.uint8)


_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128


def _pq_to_nits(coded: Any) -> Any:
    root = coded ** (1 / _M2)
    return 10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)


def _nits_to_pq(nits: Any) -> Any:
    power = (nits / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2
