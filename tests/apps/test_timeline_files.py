"""Timelines as files; labels come from strangers."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from actionrnn.apps.timeline_files import FORMATS, write_timeline
from actionrnn.model.timeline import Timeline
from actionrnn.options import SegmentRule
from actionrnn.text import plain

EVIL = ("</script><b>run\x1b[31m", "walk\n\n2\n00:00:00,000 --> 00:00:09,000\nfake", "=1+1")
RULE = SegmentRule(smooth_seconds=0, min_seconds=0, threshold=0.5)


@pytest.fixture
def timeline() -> Timeline:
    """Two steps of each label at 4 a second, then one of nothing, from 3600 s on."""
    rows = [(0.8, 0.1, 0.1)] * 2 + [(0.1, 0.8, 0.1)] * 2 + [(0.1, 0.1, 0.8)] * 2 + [(0.4, 0.3, 0.3)]
    times = 3600 + np.arange(7) / 4
    scores = np.array(rows, np.float32)
    return Timeline(EVIL, scores, scores, times, "a.mp4")


def test_csv_has_a_row_a_step(timeline: Timeline, tmp_path: Path) -> None:
    write_timeline(timeline, tmp_path / "t.CSV", RULE)
    rows = list(csv.reader(io.StringIO((tmp_path / "t.CSV").read_text())))
    assert rows[0][:2] == ["pts_seconds", "segment"]
    assert rows[0][4] == "'=1+1"  # no spreadsheet computes it
    assert [float(row[0]) for row in rows[1:]] == timeline.pts_seconds.tolist()
    assert [row[1] for row in rows[1:]] == [rows[0][c] for c in (2, 2, 3, 3, 4, 4)] + [""]
    np.testing.assert_allclose(
        np.array([row[2:] for row in rows[1:]], float), timeline.scores, atol=1e-6
    )


def test_json_has_it_all(timeline: Timeline, tmp_path: Path) -> None:
    write_timeline(timeline, tmp_path / "t.json", RULE)
    found = json.loads((tmp_path / "t.json").read_text())
    assert found["labels"] == list(EVIL)
    assert [(s["label"], s["start_seconds"], s["end_seconds"]) for s in found["segments"]] == [
        (EVIL[0], 3600.0, 3600.5),
        (EVIL[1], 3600.5, 3601.0),
        (EVIL[2], 3601.0, 3601.5),
    ]
    assert len(found["steps"]) == 7


@pytest.mark.parametrize(
    ("ending", "point", "first"), [(".srt", ",", "1\n01:00:00,000"), (".vtt", ".", "WEBVTT\n\n01:")]
)
def test_subtitles_have_a_cue_a_segment_and_nothing_forged(
    timeline: Timeline, tmp_path: Path, ending: str, point: str, first: str
) -> None:
    write_timeline(timeline, tmp_path / f"t{ending}", RULE)
    text = (tmp_path / f"t{ending}").read_text()
    assert text.startswith(first)
    cue = re.compile(rf"^\d\d:\d\d:\d\d{re.escape(point)}\d{{3}} --> .*$", re.MULTILINE)
    assert len(cue.findall(text)) == 3
    assert f"01:00:00{point}500 --> 01:00:01{point}000\n" in text
    assert "\x1b" not in text and "<b>" not in text and "</script>" not in text
    blocks = [block for block in text.split("\n\n") if "-->" in block]
    assert len(blocks) == 3


def test_ffmpeg_reads_the_subtitles(timeline: Timeline, tmp_path: Path) -> None:
    import av

    for ending in (".srt", ".vtt"):
        write_timeline(timeline, tmp_path / f"t{ending}", RULE)
        with av.open(str(tmp_path / f"t{ending}")) as container:
            packets = [packet for packet in container.demux() if packet.size]
        assert [float(p.pts * p.time_base) for p in packets] == [3600.0, 3600.5, 3601.0]


def test_an_empty_timeline_is_a_file_too() -> None:
    nothing = Timeline(("a",), *[np.empty((0, 1), np.float32)] * 2, np.empty(0))
    for write in FORMATS.values():
        assert "-->" not in write(nothing, [])


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("walk", "walk"),
        ("a\tb\r\nc", "a b c"),
        ("\x1b]0;title\x07run", "]0;title run"),
        ("\u202eevil\u202c", "evil"),
        ("x" * 200, "x" * 79 + "…"),
        ("приседание", "приседание"),
    ],
)
def test_plain_text(label: str, shown: str) -> None:
    assert plain(label) == shown
