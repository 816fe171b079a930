"""Stored features become padded batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from actionrnn.datasets.recordings import IGNORE, Clip, Recording
from actionrnn.datasets.sequences import Piece, load_sequences, pad
from actionrnn.errors import FeatureError
from actionrnn.features.provenance import Features, VideoFile
from actionrnn.features.store import FeatureStore
from tests.tiny import tiny_provenance

LENGTHS = {"run/1": 3, "bend/1": 1, "run/2": 5}
LABELS = ("bend", "run")
PROVENANCE = tiny_provenance()


def make_clip(key: str) -> Clip:
    return Recording.trimmed(Path(f"{key}.avi"), key, key.partition("/")[0], key).clips[0]


CLIPS = [make_clip(key) for key in LENGTHS]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Clips of 3, 1 and 5 steps, with values that float16 holds exactly."""
    store = FeatureStore.create(tmp_path / "store", PROVENANCE)
    rng = np.random.default_rng(0)
    for index, (key, length) in enumerate(LENGTHS.items()):
        values = rng.integers(1, 100, (length, 4)).astype(np.float32)
        video = VideoFile(f"{key}.avi", 1, f"{index}" * 64)
        store.write(key, Features(values, np.arange(length) / 4, PROVENANCE, video))
    return store


def whole(index: int, length: int) -> Piece:
    return Piece(index, np.arange(length))


def test_values_targets_and_fingerprints_follow_the_clips(store: FeatureStore) -> None:
    sequences = load_sequences(store, CLIPS, LABELS)
    assert len(sequences) == 3
    assert [len(values) for values in sequences.values] == [3, 1, 5]
    assert sequences.targets.tolist() == [1, 0, 1]
    assert sequences.fingerprints == ("0" * 12, "1" * 12, "2" * 12)
    for clip, values in zip(sequences.clips, sequences.values, strict=True):
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, store.read(clip.key).values)


def test_a_batch_is_padded_with_zeros_behind_each_sequence(store: FeatureStore) -> None:
    sequences = load_sequences(store, CLIPS, LABELS)
    batch = sequences.batch([[whole(2, 5)], [whole(1, 1)]])
    assert batch.values.shape == (2, 5, 4)
    assert batch.lengths.tolist() == [5, 1]
    assert batch.targets.tolist() == [[1] * 5, [0, *[IGNORE] * 4]]
    assert batch.pieces.tolist() == [[0] * 5, [1, *[-1] * 4]]
    assert batch.piece_targets.tolist() == [1, 0]
    for row, length, index in zip(batch.values, batch.lengths.tolist(), [2, 1], strict=True):
        np.testing.assert_array_equal(row[:length], sequences.values[index])
        assert not row[length:].any()


def test_pieces_of_a_passage_follow_each_other(store: FeatureStore) -> None:
    sequences = load_sequences(store, CLIPS, LABELS)
    lead, last = Piece(1, np.arange(1), counted=False), Piece(2, np.array([0, 3]))
    batch = sequences.batch([[whole(0, 3), lead, last]])
    expected = [*sequences.values[0], *sequences.values[1], *sequences.values[2][[0, 3]]]
    np.testing.assert_array_equal(batch.values[0], np.stack(expected))
    assert batch.targets.tolist() == [[1, 1, 1, IGNORE, 1, 1]]
    assert batch.pieces.tolist() == [[0, 0, 0, -1, 1, 1]]
    assert batch.piece_targets.tolist() == [1, 1]


def test_rows_are_joined_and_padded_to_the_longest_only() -> None:
    one, two = np.full((1, 3), 1, np.float32), np.full((2, 3), 2, np.float32)
    values, lengths = pad([[one, two], [two]])
    assert values.dtype == torch.float32
    assert values.tolist() == [[[1.0] * 3, [2.0] * 3, [2.0] * 3], [[2.0] * 3, [2.0] * 3, [0.0] * 3]]
    assert lengths.tolist() == [3, 2]


def test_a_subset_keeps_the_order_that_is_asked_for(store: FeatureStore) -> None:
    sequences = load_sequences(store, CLIPS, LABELS)
    part = sequences.subset([CLIPS[2], CLIPS[0]])
    assert [clip.key for clip in part.clips] == ["run/2", "run/1"]
    assert [len(values) for values in part.values] == [5, 3]
    assert part.targets.tolist() == [1, 1]
    assert part.fingerprints == ("2" * 12, "0" * 12)


def test_a_subset_leaves_out_clips_that_could_not_be_used(store: FeatureStore) -> None:
    sequences = load_sequences(store, CLIPS, LABELS)
    part = sequences.subset([make_clip("run/failed"), CLIPS[1]])
    assert [clip.key for clip in part.clips] == ["bend/1"]


def test_a_missing_entry_is_refused(store: FeatureStore) -> None:
    with pytest.raises(FeatureError, match=r"run/9\.safetensors: no such entry"):
        load_sequences(store, [*CLIPS, make_clip("run/9")], LABELS)


def test_an_entry_without_frames_is_refused(store: FeatureStore) -> None:
    store.write("run/1", Features(np.empty((0, 4), np.float32), np.empty(0), PROVENANCE))
    with pytest.raises(FeatureError, match=r"run/1\.safetensors: has no frames"):
        load_sequences(store, CLIPS, LABELS)


def test_values_come_from_the_files_when_they_are_used(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "store", PROVENANCE)
    for key in LENGTHS:
        store.write(key, Features(np.ones((2, 4), np.float32), np.arange(2.0), PROVENANCE))
    sequences = load_sequences(store, CLIPS, LABELS).subset(CLIPS[1:]).subset(CLIPS[2:])
    store.path_of("run/2").write_bytes(store.path_of("run/2").read_bytes()[:-70])
    with pytest.raises(FeatureError, match="is damaged"):
        sequences.batch([[whole(0, 2)]])


def test_a_damaged_head_is_refused(store: FeatureStore) -> None:
    store.path_of("run/1").write_bytes(bytes(2000))
    with pytest.raises(FeatureError, match=r"run/1\.safetensors: is damaged"):
        load_sequences(store, CLIPS, LABELS)
