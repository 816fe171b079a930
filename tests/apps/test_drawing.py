"""The panel of scores: within the frame, readable, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from actionrnn.apps.drawing import draw_panel, make_panel

ROWS = [
    ("walk", 0.91),
    ("a label much too long for any panel of this world " * 3, 0.06),
    ("日本", 0),
]


@pytest.mark.parametrize(
    ("width", "height"), [(16, 16), (64, 48), (180, 144), (320, 240), (240, 320), (1920, 1080)]
)
def test_the_panel_lies_within_the_frame(width: int, height: int) -> None:
    frame = np.full((height, width, 3), 128, np.uint8)
    panel = make_panel(ROWS, width, height, note="25 frames/s")
    drawn = draw_panel(frame, panel)
    assert drawn.shape == frame.shape and (frame == 128).all()
    changed = np.argwhere((drawn != 128).any(axis=2))
    assert len(changed) > 20
    if height >= 240:
        assert changed[:, 0].min() > height / 2  # the upper half is left free
    if height >= 48:
        assert drawn.max() > 200 and drawn.min() < 60  # light letters on a dark ground


def test_a_longer_bar_for_a_higher_score() -> None:
    frame = np.full((480, 640, 3), 128, np.uint8)
    blue = []
    for score in (0.2, 0.8):
        drawn = draw_panel(frame, make_panel([("a", 0.9), ("b", score)], 640, 480)).astype(int)
        blue.append(int((drawn[..., 2] - drawn[..., 0] > 80).sum()))
    assert blue[1] > 3 * blue[0] > 0


def test_without_scores_there_is_hardly_anything() -> None:
    frame = np.zeros((120, 160, 3), np.uint8)
    assert draw_panel(frame, make_panel([], 160, 120)).shape == frame.shape
