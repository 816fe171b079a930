"""Passages: each clip once, each labelled step of a recording once, however they are cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.config import TrainConfig
from actionrnn.datasets.passages import (
    choose_steps,
    draw_passages,
    num_batches,
    num_steps_of,
    shuffled_batches,
    whole_passages,
    whole_recordings,
)
from actionrnn.datasets.recordings import IGNORE, Annotation, Clip, Recording
from actionrnn.datasets.sequences import Passage, Sequences
from tests.tiny import tiny_provenance


def recordings(parts: list[list[tuple[int, int]]]) -> Sequences:
    """Recordings of parts (target, length); the values tell recording and step."""
    clips, values, targets, times = [], [], [], []
    for number, lengths in enumerate(parts):
        step = 0
        for target, length in lengths:
            name = f"r{number}"
            recording = Recording(Path(f"{name}.avi"), name, name)
            clips.append(Clip(recording, Annotation(str(target), step, step + length)))
            steps = np.arange(step, step + length)
            values.append(np.stack([np.full(length, number), steps], axis=1).astype(np.float32))
            targets.append(target)
            times.append(steps.astype(np.float64))
            step += length
    prints = tuple(clip.key for clip in clips)
    arrays = tuple(values), np.array(targets), prints, tiny_provenance(), (), tuple(times)
    return Sequences(tuple(clips), *arrays)


def clips_of(lengths: list[int], groups: str, modality: str = "rgb") -> Sequences:
    made = tiny_provenance()
    made = replace(made, preprocessing=replace(made.preprocessing, modality=modality))
    clips = tuple(
        Recording.trimmed(Path(f"{i}.avi"), str(i), "a", group).clips[0]
        for i, group in enumerate(groups)
    )
    values = tuple(np.full((n, 1), i, np.float32) for i, n in enumerate(lengths))
    return Sequences(clips, values, np.zeros(len(clips), np.int64), ("",) * len(clips), made)


def seen(sequences: Sequences, passages: list[Passage]) -> list[tuple[int, int]]:
    """(index, step) of all that counts, sorted."""
    return sorted(
        (piece.index, int(step))
        for passage in passages
        for piece in passage
        if piece.counted and sequences.targets[piece.index] != IGNORE
        for step in piece.steps
    )


def test_chosen_steps_rise_and_keep_their_part() -> None:
    rng = np.random.default_rng(0)
    config = TrainConfig(crop_fraction=0.5, keep_fraction=0.5)
    for length in (1, 2, 7, 40):
        for _ in range(50):
            steps = choose_steps(length, config, rng)
            assert (np.diff(steps) > 0).all()
            assert 0 <= steps[0] <= steps[-1] < length
            assert len(steps) >= max(1, length // 4 - 1)
    assert choose_steps(9, TrainConfig(), rng).tolist() == list(range(9))


def test_batches_are_of_similar_lengths_and_hold_every_passage_once() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 1000)
    batches = shuffled_batches(lengths, 32, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == list(range(1000))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.6 * lengths.sum()  # random batches: twice the sum
    again = shuffled_batches(lengths, 32, np.random.default_rng(1))
    assert not np.array_equal(np.sort(batches[0]), np.sort(again[0]))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from("xyz")), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(0, 9),
)
def test_joined_clips_are_each_seen_once_beside_their_own_group(
    drawn: list[tuple[int, str]], join: int, seed: int
) -> None:
    sequences = clips_of([n for n, _ in drawn], "".join(group for _, group in drawn))
    config = TrainConfig(join_clips=join)
    passages = draw_passages(sequences, config, np.random.default_rng(seed))
    whole = [(i, step) for i, (n, _) in enumerate(drawn) for step in range(n)]
    assert seen(sequences, passages) == whole
    assert max(map(len, passages)) <= join
    sizes = Counter(group for _, group in drawn)
    for passage in passages:
        groups = {sequences.clips[piece.index].group for piece in passage}
        assert len(groups) == 1 or all(sizes[group] == 1 for group in groups)
    assert 1 <= num_batches(sequences, passages, 4) == -(-len(drawn) // 4)


def test_behind_a_seam_a_clip_begins_with_its_first_known_change() -> None:
    sequences = clips_of([5, 1, 5, 5], "aaaa", modality="both")
    passages = draw_passages(sequences, TrainConfig(join_clips=4), np.random.default_rng(0))
    joined = [piece for passage in passages for piece in passage[1:]]
    assert joined  # some clips were joined
    for passage in passages:
        assert passage[0].steps[0] == 0
    for piece in joined:
        length = sequences.lengths[piece.index]
        assert piece.steps.tolist() == ([0] if length == 1 else list(range(1, length)))


PARTS = st.lists(st.tuples(st.sampled_from([IGNORE, 0, 1]), st.integers(1, 12)), min_size=1)


@given(
    st.lists(PARTS, min_size=1, max_size=4),
    st.integers(1, 20),
    st.integers(0, 9),
    st.integers(0, 3),
    st.integers(0, 9),
)
def test_windows_cover_each_labelled_step_once_and_go_on_in_time(
    parts: list[list[tuple[int, int]]], window: int, warmup: int, delay: int, seed: int
) -> None:
    sequences = recordings(parts)
    config = TrainConfig(window_steps=window, state_warmup_steps=warmup)
    passages = draw_passages(sequences, config, np.random.default_rng(seed), delay)
    labelled = [
        (i, step)
        for i, (target, n) in enumerate(zip(sequences.targets, sequences.lengths, strict=True))
        if target != IGNORE
        for step in range(n)
    ]
    assert seen(sequences, passages) == labelled
    for passage in passages:
        values = sequences.batch([passage]).values[0].numpy()
        assert len(set(values[:, 0])) == 1  # one recording
        assert (np.diff(values[:, 1]) == 1).all()  # each step follows the one before
        counted = sum(len(piece.steps) for piece in passage if piece.counted)
        assert counted <= window
        # the state is led there by as many steps as there are, at most `state_warmup_steps`
        lead = next(i for i, piece in enumerate(passage) if piece.counted)
        num_lead = num_steps_of(passage[:lead])
        assert num_lead == min(warmup, values[num_lead, 1])
        # and a late answer sees as many steps behind the window, as far as the recording goes
        length = sum(n for _, n in parts[int(values[0, 0])])
        behind = length - 1 - values[num_lead + counted - 1, 1]
        assert num_steps_of(passage) - num_lead - counted == min(delay, behind)


def test_whole_passages_are_the_recordings() -> None:
    sequences = recordings([[(0, 2), (IGNORE, 3), (1, 1)], [(1, 4)]])
    batch = sequences.batch(whole_passages(sequences))
    assert batch.lengths.tolist() == [6, 4]
    assert batch.targets[0].tolist() == [0, 0, *[IGNORE] * 3, 1]
    trimmed = clips_of([2, 3], "ab")
    assert [num_steps_of(passage) for passage in whole_passages(trimmed)] == [2, 3]


def test_all_clips_of_a_group_become_one_recording() -> None:
    sequences = clips_of([4, 5, 6, 7], "abab")
    joined = whole_recordings(sequences)
    assert {key: sorted(piece.index for piece in one) for key, one in joined.items()} == {
        "a": [0, 2],
        "b": [1, 3],
    }
    assert {key: num_steps_of(one) for key, one in joined.items()} == {"a": 10, "b": 12}


def test_clips_that_are_their_own_groups_are_joined_with_each_other() -> None:
    sequences = clips_of([4, 5, 6, 7], "abcd")
    assert [num_steps_of(one) for one in whole_recordings(sequences).values()] == [22]
    config = TrainConfig(join_clips=4)
    passages = draw_passages(sequences, config, np.random.default_rng(0))
    assert len(passages) < 4
    one_copy = clips_of([4, 5, 6, 7, 4], "abcda")
    assert sorted(map(num_steps_of, whole_recordings(one_copy).values())) == [8, 18]


@pytest.mark.parametrize("join", [1, 3])
def test_the_same_generator_draws_the_same_passages(join: int) -> None:
    sequences = clips_of([4, 5, 6, 7], "aabb")
    config = TrainConfig(join_clips=join, crop_fraction=0.5)
    one, two = (draw_passages(sequences, config, np.random.default_rng(3)) for _ in range(2))
    assert [[p.steps.tolist() for p in a] for a in one] == [
        [p.steps.tolist() for p in a] for a in two
    ]
