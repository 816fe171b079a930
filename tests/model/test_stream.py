"""Pushed in any way, a stream gives the numbers of `forward` on the whole, and never grows."""

from __future__ import annotations

import itertools
import json
import resource
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from actionrnn.config import Config, HeadConfig, Sampling
from actionrnn.errors import ConfigError, ModelError, VideoError
from actionrnn.features.backbone import Backbone
from actionrnn.model.heads import Head, read_out
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.stream import Stream
from actionrnn.video.frame import Frame
from actionrnn.video.sampling import choose_frames
from tests.old_files import in_old_form

LABELS = ("clap", "jump", "wave")
RATE_FPS = 8.0
HEADS = [
    pytest.param(
        HeadConfig(
            kind=kind, hidden_size=6, temporal_pooling=pooling, temporal_differences=diff
        ),
        id=f"{kind}-{pooling}",
    )
    for (kind, pooling), diff in zip(
        itertools.product(
            ("rnn_tanh", "lstm", "gru", "mean"), ("last", "running_mean", "exponential_mean")
        ),
        itertools.cycle([False, True, False, True, True]),
    )
]  # fmt: skip
HEADS += [
    pytest.param(
        HeadConfig(kind=kind, hidden_size=6, temporal_differences=diff, delay_steps=delay),
        id=f"{kind}-{delay} later",
    )
    for kind, diff, delay in (("gru", True, 1), ("lstm", False, 3), ("mean", True, 3))
]
VIEWS = ("rgb", "rgb_diff", "both")

MakeModel = Callable[..., Recognizer]


@pytest.fixture
def make_model(tiny_backbone: Backbone) -> MakeModel:
    def make(
        head: HeadConfig | None = None,
        views: Any = "rgb",
        rate_fps: float | None = RATE_FPS,
        backbone: Backbone = tiny_backbone,
    ) -> Recognizer:
        backbone = replace(backbone, preprocessing=replace(backbone.preprocessing, modality=views))
        config = Config(
            sampling=Sampling(rate_fps=rate_fps), head=head or HeadConfig(hidden_size=6)
        )
        torch.manual_seed(0)
        trained = Head(config.head, backbone.feature_size, len(LABELS))
        trained.set_normalisation(
            torch.randn(backbone.feature_size) / 9, torch.rand(backbone.feature_size) / 4 + 0.1
        )
        if trained.residual is not None:  # it starts as zeros
            torch.nn.init.normal_(trained.residual.weight, std=0.1)
        return Recognizer(backbone, trained.trained(), LABELS, config)

    return make


def at(rgb: np.ndarray, times: Any) -> Frame | list[Frame]:
    """A picture (H, W, 3), or several (n, H, W, 3), shown at these times."""
    if np.ndim(times) == 0:
        return Frame.from_array(rgb, times)
    return list(map(Frame.from_array, rgb, times))


def recording(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Pictures that change, at uneven times."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), np.uint8)
    frames = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return frames, rng.uniform(0, 9) + np.cumsum(rng.uniform(0.005, 0.12, count))


def offline(model: Recognizer, frames: np.ndarray, times: np.ndarray) -> np.ndarray:
    """`forward` on the features of the frames that the sampling chooses of all."""
    chosen = choose_frames(times, model.config.sampling)
    preprocessing = model.backbone.preprocessing
    squares = np.stack([preprocessing.square(frame) for frame in frames[chosen]])
    return read_out(Head.of(model.head), model.backbone.encode(preprocessing.views(squares))).now


def chunks(count: int, seed: int) -> Iterator[slice]:
    """One by one, all at once, or in pieces of random lengths, some of them empty."""
    rng = np.random.default_rng(seed)
    begin = 0
    while begin < count:
        length = {0: 1, 1: count}.get(seed, int(rng.integers(0, 9)))
        yield slice(begin, begin + length)
        begin += length


def push_all(stream: Stream, frames: np.ndarray, times: np.ndarray, seed: int = 0) -> np.ndarray:
    parts = [stream.push(at(frames[part], times[part])) for part in chunks(len(frames), seed)]
    return np.concatenate(parts)


def push_to_the_end(
    stream: Stream, frames: np.ndarray, times: np.ndarray, seed: int = 0
) -> np.ndarray:
    return np.concatenate([push_all(stream, frames, times, seed), stream.finish()])


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("seed", range(8))
def test_any_chunking_gives_the_numbers_of_the_whole(
    make_model: MakeModel, head: HeadConfig, seed: int
) -> None:
    head = replace(head, multi_label=bool(np.random.default_rng(seed).integers(2)))
    model, (frames, times) = make_model(head, VIEWS[seed % 3]), recording(seed)
    streamed = push_to_the_end(model.stream(), frames, times, seed)
    np.testing.assert_allclose(streamed, offline(model, frames, times), atol=1e-4)


@pytest.mark.parametrize("rate_fps", [None, 1, 25, 60])
@pytest.mark.parametrize("views", VIEWS)
def test_at_every_rate(make_model: MakeModel, rate_fps: float | None, views: str) -> None:
    model, (frames, times) = make_model(views=views, rate_fps=rate_fps), recording(1)
    streamed = push_all(model.stream(), frames, times, seed=3)
    np.testing.assert_allclose(streamed, offline(model, frames, times), atol=1e-4)


@pytest.mark.parametrize("delay", [0, 1, 3, 1000])
def test_the_steps_have_the_times_of_their_frames(make_model: MakeModel, delay: int) -> None:
    model, (frames, times) = make_model(HeadConfig(hidden_size=6, delay_steps=delay)), recording(2)
    wanted = times[choose_frames(times, model.config.sampling)].tolist()
    stream, found = model.stream(), []
    for frame, seconds in zip(frames, times, strict=True):
        scores = stream.push(at(frame, seconds))
        assert len(scores) == len(stream.pts_seconds) == len(stream.so_far)
        found += stream.pts_seconds.tolist()
    assert found == wanted[: max(0, len(wanted) - delay)]
    scores = stream.finish()
    assert len(scores) == len(stream.pts_seconds) == len(stream.so_far) == min(delay, len(wanted))
    assert found + stream.pts_seconds.tolist() == wanted


def test_a_file_scores_as_its_frames_pushed(make_model: MakeModel, clips: Path) -> None:
    from actionrnn.video.decode import iter_frames

    model, path = make_model(rate_fps=4.0), clips / "red" / "ann_red.avi"
    stream = model.stream()
    scores = [stream.push(frame) for frame in iter_frames(path)]
    np.testing.assert_allclose(np.concatenate(scores), model.timeline(path).scores, atol=1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_saved_and_restored_anywhere_it_goes_on_the_same(
    make_model: MakeModel, tmp_path: Path, seed: int
) -> None:
    head = HeadConfig(
        kind=("gru", "lstm", "mean")[seed % 3],
        hidden_size=5,
        num_layers=1 + seed % 2,
        delay_steps=seed // 3,
    )
    model = make_model(head, VIEWS[seed % 3], (None, 8.0, 40.0)[seed % 2 + seed % 3 // 2])
    frames, times = recording(seed)
    expected = push_to_the_end(model.stream(), frames, times)
    cut = seed * 5
    first = model.stream()
    before = push_all(first, frames[:cut], times[:cut]) if cut else np.empty((0, 3), np.float32)
    first.save(tmp_path / "now.stream")
    second = model.stream().restore(tmp_path / "now.stream")
    first.finish()  # of the one that was saved alone
    after = push_to_the_end(second, frames[cut:], times[cut:])
    np.testing.assert_allclose(np.concatenate([before, after]), expected, atol=1e-5)


@pytest.mark.parametrize("end", [Stream.reset, Stream.finish])
@pytest.mark.parametrize("delay", [0, 2])
def test_reset_is_a_new_stream(
    make_model: MakeModel, end: Callable[[Stream], object], delay: int
) -> None:
    model = make_model(HeadConfig(hidden_size=6, delay_steps=delay), views="both")
    frames, times = recording(4)
    stream = model.stream()
    push_all(stream, frames, times)
    end(stream)
    assert len(stream.finish()) == len(stream.pts_seconds) == len(stream.so_far) == 0
    np.testing.assert_array_equal(
        push_all(stream, frames, times - 9), push_all(model.stream(), frames, times - 9)
    )


@pytest.mark.parametrize("seed", range(4))
def test_two_streams_never_touch_each_other(make_model: MakeModel, seed: int) -> None:
    model = make_model(HeadConfig(kind="lstm", hidden_size=6), VIEWS[seed % 3])
    inputs = [recording(seed), recording(seed + 50)]
    streams, found = [model.stream(), model.stream()], ([], [])
    for step in range(60):
        for which in np.random.default_rng([seed, step]).permutation(2):
            frames, times = inputs[which]
            found[which].append(streams[which].push(at(frames[step], times[step])))
    for (frames, times), scores in zip(inputs, found, strict=True):
        alone = push_all(model.stream(), frames, times)
        np.testing.assert_array_equal(np.concatenate(scores), alone)


@pytest.mark.parametrize("seed", range(6))
def test_streams_in_a_batch_score_as_alone(make_model: MakeModel, seed: int) -> None:
    """Three places, five recordings: they join late, pause, leave, and others take their places."""
    head = HeadConfig(hidden_size=6, delay_steps=seed % 3)
    model, rng = make_model(head, views=VIEWS[seed % 3]), np.random.default_rng(seed)
    recordings = [recording(10 * seed + number, int(rng.integers(5, 40))) for number in range(5)]
    batch, waiting = model.stream_batch(3), list(range(5))
    seats: list[list[int] | None] = [None] * 3  # recording, next frame
    found: list[list[np.ndarray]] = [[] for _ in recordings]
    while waiting or any(seats):
        pushed: list[Any] = [None] * 3
        for place, seat in enumerate(seats):
            if seat is None and waiting and rng.random() < 0.5:
                batch.reset(place)
                seats[place] = seat = [waiting.pop(0), 0]
            if seat is not None and rng.random() < 0.8:
                frames, times = recordings[seat[0]]
                stop = seat[1] + int(rng.integers(1, 4))
                pushed[place] = at(frames[seat[1] : stop], times[seat[1] : stop])
                seat[1] = stop
        scores = batch.push(pushed)
        for place, seat in enumerate(seats):
            if seat is not None:
                found[seat[0]].append(scores[place])
                if seat[1] >= len(recordings[seat[0]][0]):
                    found[seat[0]].append(batch.streams[place].finish())
                    seats[place] = None
    for (frames, times), parts in zip(recordings, found, strict=True):
        alone = push_to_the_end(model.stream(), frames, times)
        np.testing.assert_allclose(np.concatenate(parts), alone, atol=1e-5)


def test_each_wanted_frame_is_encoded_once(make_model: MakeModel, tiny_backbone: Backbone) -> None:
    counted: list[int] = []

    def count(_: Any, inputs: Any) -> None:
        counted.append(len(inputs[0]))

    frames, times = recording(0)
    model = make_model(rate_fps=60)
    chosen = choose_frames(times, model.config.sampling)
    assert tiny_backbone.network is not None
    handle = tiny_backbone.network.register_forward_pre_hook(count)
    try:
        assert len(push_all(model.stream(), frames, times)) == len(chosen)
    finally:
        handle.remove()
    assert sum(counted) == len(set(chosen.tolist())) < len(chosen)


def test_a_frame_that_is_not_wanted_is_not_made(make_model: MakeModel) -> None:
    model, (frames, times) = make_model(rate_fps=2), recording(0)
    made: list[int] = []

    def lazily(place: int) -> Frame:
        def make() -> np.ndarray:
            made.append(place)
            return frames[place]

        return Frame(times[place], make)

    stream = model.stream()
    scores = [stream.push(lazily(i)) for i in range(len(times))]
    assert made == choose_frames(times, model.config.sampling).tolist()
    np.testing.assert_array_equal(np.concatenate(scores), push_all(model.stream(), frames, times))


def test_the_caller_may_use_the_buffer_again(make_model: MakeModel) -> None:
    model, (frames, times) = make_model(), recording(0)
    stream, buffer, found = model.stream(), np.empty_like(frames[0]), []
    for frame, seconds in zip(frames, times, strict=True):
        buffer[:] = frame
        found.append(stream.push(at(buffer, seconds)))
        buffer[:] = 0
    np.testing.assert_array_equal(np.concatenate(found), push_all(model.stream(), frames, times))


@pytest.mark.parametrize(
    ("frames", "times", "reason"),
    [
        (np.zeros((4, 4), np.uint8), 0.0, "must be RGB uint8"),
        (np.zeros((4, 4, 3), np.float32), 0.0, "must be RGB uint8"),
        (np.zeros((0, 4, 3), np.uint8), 0.0, "no pixels"),
        (np.zeros((2, 4, 4, 3), np.uint8), [1.0, 0.5], "came after"),
        (np.zeros((4, 4, 3), np.uint8), float("nan"), "must be a number"),
    ],
)
def test_what_is_no_frame_is_refused_and_changes_nothing(
    make_model: MakeModel, frames: np.ndarray, times: Any, reason: str
) -> None:
    stream = make_model().stream()
    with pytest.raises(VideoError, match=reason):
        stream.push(at(frames, times))
    assert len(stream.push(at(np.zeros((4, 4, 3), np.uint8), 0.25))) == 1


def test_arrays_are_no_frames(make_model: MakeModel) -> None:
    model, array = make_model(), np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(TypeError, match=r"not ndarray; make one of an array with Frame\.from_arr"):
        model.stream().push(array)
    with pytest.raises(TypeError, match="not ndarray"):
        model.stream_batch(2).push([None, array])
    with pytest.raises(ValueError, match="1 items for 2 streams"):
        model.stream_batch(2).push([None])


def test_one_bad_stream_of_a_batch_holds_no_other_back(make_model: MakeModel) -> None:
    batch, frames = make_model().stream_batch(2), recording(0)[0]
    batch.push([at(frames[0], 1.0), at(frames[0], 1.0)])
    with pytest.raises(VideoError, match="came after"):
        batch.push([at(frames[1], 2.0), at(frames[1], 0.5)])
    alone = make_model().stream()
    alone.push(at(frames[0], 1.0))
    np.testing.assert_allclose(
        batch.push([at(frames[1], 2.0), None])[0], alone.push(at(frames[1], 2.0)), atol=1e-6
    )


def fails(kind: str, pts_seconds: float) -> Frame:
    """A frame that cannot be made, or turns out to be none when it is."""

    def make() -> np.ndarray:
        if kind == "raises":
            raise VideoError("frames of the format x cannot be converted")
        shape = {"two axes": (9, 9), "no square": (2, 4000, 3), "no pixels": (0, 9, 3)}[kind]
        return np.zeros(shape, np.uint8)

    return Frame(pts_seconds, make)


def lazily(frames: np.ndarray, times: np.ndarray, part: slice) -> list[Frame]:
    return [
        Frame(seconds, lambda frame=frame: frame)
        for frame, seconds in zip(frames[part], times[part], strict=True)
    ]


KINDS_OF_BAD = ("raises", "two axes", "no square", "no pixels")


@pytest.mark.parametrize("kind", KINDS_OF_BAD)
@pytest.mark.parametrize("views", VIEWS)
def test_a_frame_that_cannot_be_made_moves_no_stream_of_its_batch(
    make_model: MakeModel, views: str, kind: str
) -> None:
    model, rng = make_model(HeadConfig(kind="lstm", hidden_size=6), views), range(3)
    inputs = [recording(seed) for seed in rng]
    batch, alone = model.stream_batch(3), [model.stream() for _ in rng]
    for begin in (0, 20, 40):
        pushed = [lazily(*inputs[place], slice(begin, begin + 20)) for place in rng]
        bad = [list(frames) for frames in pushed]
        for place in range(5, 20):  # some of them are wanted
            bad[1][place] = fails(kind, bad[1][place].pts_seconds)
        with pytest.raises(VideoError):
            batch.push(bad)
        found = batch.push(pushed)
        for stream, frames, scores in zip(alone, pushed, found, strict=True):
            np.testing.assert_allclose(scores, stream.push(frames), atol=1e-6)


def test_a_push_with_a_bad_frame_in_its_middle_can_be_made_again_without_it(
    make_model: MakeModel,
) -> None:
    model, (frames, times) = make_model(rate_fps=None), recording(4)
    stream = model.stream()
    before = stream.push(at(frames[:10], times[:10]))
    some = lazily(frames, times, slice(10, 30))
    for bad in (0, 7, 19):
        with pytest.raises(VideoError, match="cannot be converted"):
            broken = fails("raises", some[bad].pts_seconds)
            stream.push([*some[:bad], broken, *some[bad + 1 :]])
        np.testing.assert_array_equal(stream.pts_seconds, times[:10])
    scores = np.concatenate([before, stream.push(some)])
    np.testing.assert_allclose(scores, push_all(model.stream(), frames[:30], times[:30]), atol=1e-6)


def test_a_kept_frame_that_cannot_be_made_later_holds_up_one_push_only(
    make_model: MakeModel,
) -> None:
    model = make_model(rate_fps=1)
    stream, frame = model.stream(), np.zeros((8, 8, 3), np.uint8)
    stream.push(at(frame, 0.0))
    assert len(stream.push(fails("raises", 0.5))) == 0  # it may be wanted at 1.0
    with pytest.raises(VideoError, match="cannot be converted"):
        stream.push(at(frame, 1.2))
    assert len(stream.push(at(frame, 1.2))) == 1
    assert stream.pts_seconds.tolist() == [1.2]


def test_a_backbone_that_fails_moves_no_stream(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (frames, times) = make_model(), recording(5)
    stream = model.stream()
    before = stream.push(at(frames[:30], times[:30]))
    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="out of memory"):
        patched.setattr(Backbone, "encode", raise_out_of_memory)
        stream.push(at(frames[30:], times[30:]))
    scores = np.concatenate([before, stream.push(at(frames[30:], times[30:]))])
    np.testing.assert_allclose(scores, push_all(model.stream(), frames, times), atol=1e-6)


def test_streams_in_several_threads_leave_torchs_thread_count_alone(
    make_model: MakeModel,
) -> None:
    """One thread is within its push while another, that has not used torch yet, makes one."""
    model, frame, before = make_model(), np.zeros((40, 40, 3), np.uint8), torch.get_num_threads()
    within, go_on = threading.Event(), threading.Event()

    def wait() -> np.ndarray:
        within.set()
        assert go_on.wait(60)
        return frame

    def count_after(pushed: Frame) -> int:
        model.stream().push(pushed)
        return torch.get_num_threads()

    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
            slow = first.submit(count_after, Frame(0.0, wait))
            assert within.wait(60)
            try:
                assert second.submit(count_after, at(frame, 0.0)).result() == 3
            finally:
                go_on.set()
            assert slow.result() == 3
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def raise_out_of_memory(*_: Any, **__: Any) -> None:
    raise RuntimeError("out of memory")


def test_a_model_that_looks_over_the_whole_clip_cannot_stream(tiny_model: Recognizer) -> None:
    for start in (tiny_model.stream, lambda: tiny_model.stream_batch(2)):
        with pytest.raises(ConfigError, match=r"4 frames evenly\) cannot stream.*folder_example"):
            start()


def test_every_shipped_configuration_streams() -> None:
    from actionrnn.config_reading import load_config, shipped_configs
    from actionrnn.video.sampling import FrameSampler

    for name in shipped_configs():
        FrameSampler(load_config(name).sampling)


@pytest.mark.parametrize("content", [None, b"", b"no stream"])
def test_a_file_that_is_no_stream(
    make_model: MakeModel, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "a.stream"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.stream: (no such|is not a whole) stream file"):
        make_model().stream().restore(path)


def test_a_stream_of_another_model_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    path = tmp_path / "a.stream"
    make_model().stream().save(path)
    for other, part in (
        (make_model(HeadConfig(hidden_size=7)).stream(), "head_sha256"),
        (make_model(HeadConfig(hidden_size=6, delay_steps=1)).stream(), "head_sha256"),
        (make_model(rate_fps=3).stream(), "sampling"),
    ):
        with pytest.raises(ModelError, match=f"was saved with {part}"):
            other.restore(path)


def test_a_stream_is_made_of_parts_and_goes_on_from_its_state(make_model: MakeModel) -> None:
    model, (frames, times) = make_model(views="both"), recording(0)
    parts = model.backbone, model.head, model.config.sampling
    first, second = Stream(*parts), Stream(*parts)
    whole = push_all(Stream(*parts), frames, times)
    before = push_all(first, frames[:30], times[:30])
    second.load_state_dict(first.state_dict())
    for stream in (first, second):  # neither disturbs the other
        after = push_all(stream, frames[30:], times[30:])
        np.testing.assert_allclose(np.concatenate([before, after]), whole, atol=1e-6)


def test_a_batch_has_a_stream(make_model: MakeModel) -> None:
    with pytest.raises(ValueError, match="at least one"):
        make_model().stream_batch(0)


KEEP = {"kind": "keep", "period_seconds": 2.0, "half_life_steps": 3.0}
NO_CUTS = {"reset_at_cuts": False, "cut_threshold": 0.5}


def parts_of(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The description and the tensors of a stream's file."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["stream"]), tensors


def write_parts(path: Path, described: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, path, metadata={"stream": json.dumps(described)})


def save_with_policy(stream: Stream, path: Path, policy: dict[str, Any], births: Any) -> None:
    """As it was saved while a stream had a policy of its state: in float32, a row a birth."""
    stream.save(path)
    described, tensors = parts_of(path)
    described["identity"]["policy"], described["births"] = policy, births
    for name in [name for name in tensors if name.startswith("state.")]:
        value = tensors.pop(name)
        if births:
            tensors[name] = torch.cat([value.float()] * len(births))
    if "reset_at_cuts" in policy:
        described["identity"] = in_old_form(described["identity"])
        tensors["colours.last"] = torch.zeros(16, 24)
    write_parts(path, described, tensors)


@pytest.mark.parametrize("policy", [KEEP, KEEP | NO_CUTS], ids=["later", "0.1"])
@pytest.mark.parametrize("cut", [0, 30])
def test_an_older_stream_that_kept_its_state_goes_on(
    make_model: MakeModel, tmp_path: Path, policy: dict[str, Any], cut: int
) -> None:
    model, (frames, times) = make_model(), recording(0)
    first, second = model.stream(), model.stream()
    for frame, seconds in zip(frames[:cut], times, strict=False):
        first.push(at(frame, seconds))
    save_with_policy(first, tmp_path / "old.stream", policy, [float(times[0])] if cut else [])
    second.restore(tmp_path / "old.stream")
    expected, found = (push_all(one, frames[cut:], times[cut:]) for one in (first, second))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(second.so_far, first.so_far, atol=1e-6)


@pytest.mark.parametrize("pooling", ["last", "running_mean"])
def test_a_stream_of_0_1_pooled_states_instead_of_logits(
    make_model: MakeModel, tmp_path: Path, pooling: Any
) -> None:
    head = HeadConfig(hidden_size=6, residual=False, temporal_pooling=pooling)
    model, (frames, times) = make_model(head), recording(0)
    first, second, hidden = model.stream(), model.stream(), []
    for frame, seconds in zip(frames[:30], times[:30], strict=True):
        if len(first.push(at(frame, seconds))):
            hidden.append(torch.from_numpy(first.state_dict()["state.hidden"][:, -1]))
    save_with_policy(first, tmp_path / "old.stream", KEEP | NO_CUTS, [float(times[0])])
    described, tensors = parts_of(tmp_path / "old.stream")
    del tensors["state.so_far"]
    mean = torch.stack(hidden).mean(dim=0)
    tensors["state.summary"] = mean if pooling == "running_mean" else hidden[-1].clone()
    write_parts(tmp_path / "old.stream", described, tensors)
    second.restore(tmp_path / "old.stream")
    np.testing.assert_allclose(
        second.state_dict()["state.so_far"],
        first.state_dict()["state.so_far"],
        rtol=1e-5,
        atol=1e-5,
    )
    expected, found = (push_all(one, frames[30:], times[30:]) for one in (first, second))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("policy", "rows", "named"),
    [
        (KEEP | {"kind": "restart"}, 2, "'restart'"),
        (KEEP | {"kind": "restart"}, 1, "'restart'"),
        (KEEP | {"kind": "forget"}, 1, "'forget'"),
        (KEEP | NO_CUTS | {"reset_at_cuts": True}, 1, "'restart at cuts'"),
    ],
)
def test_an_older_stream_that_did_not_keep_its_state_is_refused(
    make_model: MakeModel, tmp_path: Path, policy: dict[str, Any], rows: int, named: str
) -> None:
    model, (frames, times) = make_model(), recording(0)
    stream = model.stream()
    before = push_all(stream, frames[:30], times[:30])
    save_with_policy(stream, tmp_path / "old.stream", policy, [float(times[0])] * rows)
    with pytest.raises(ModelError, match=f"old.stream: .* policy {named}.*begin a new stream"):
        stream.restore(tmp_path / "old.stream")
    after = push_all(stream, frames[30:], times[30:])
    whole = push_all(model.stream(), frames, times)
    np.testing.assert_array_equal(np.concatenate([before, after]), whole)


@pytest.mark.parametrize("damage", ["missing", "two rows", "policy"])
def test_a_state_that_is_not_whole_is_refused(
    make_model: MakeModel, tmp_path: Path, damage: str
) -> None:
    model, path = make_model(), tmp_path / "a.stream"
    model.stream().save(path)
    described, tensors = parts_of(path)
    if damage == "missing":
        del tensors["state.hidden"]
    elif damage == "two rows":
        tensors["state.hidden"] = tensors["state.hidden"].repeat(2, 1, 1)
    else:
        described["identity"]["policy"] = "keep"
    write_parts(path, described, tensors)
    with pytest.raises(ModelError, match=r"a\.stream: is not a whole stream file"):
        model.stream().restore(path)


@pytest.mark.parametrize(
    "unanswered",
    [[], [1.0], [1.0, 2.0, 3.0], [2.0, 1.0], [1.0, float("nan")], [1.0, None], 5],
)
def test_steps_that_cannot_wait_for_their_answers_are_refused(
    make_model: MakeModel, tmp_path: Path, unanswered: object
) -> None:
    model = make_model(HeadConfig(hidden_size=6, residual=False, delay_steps=2))
    stream, path, (frames, times) = model.stream(), tmp_path / "a.stream", recording(0)
    push_all(stream, frames, times)
    stream.save(path)
    described, tensors = parts_of(path)
    assert len(described["unanswered_seconds"]) == 2
    write_parts(path, described | {"unanswered_seconds": unanswered}, tensors)
    with pytest.raises(ModelError, match=r"a\.stream: is not a whole stream file"):
        model.stream().restore(path)


def test_a_stream_saved_before_there_was_a_delay_goes_on(
    make_model: MakeModel, tmp_path: Path
) -> None:
    model, path, (frames, times) = make_model(), tmp_path / "a.stream", recording(0)
    stream = model.stream()
    push_all(stream, frames[:30], times[:30])
    stream.save(path)
    described, tensors = parts_of(path)
    assert described.pop("unanswered_seconds") == []
    assert "state.residual" not in tensors
    write_parts(path, described, tensors)
    restored = model.stream().restore(path)
    expected, found = (push_all(one, frames[30:], times[30:]) for one in (stream, restored))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_after_a_week_of_steps_so_far_goes_on_to_move(make_model: MakeModel, dtype: Any) -> None:
    """In float32, in which older streams were saved, a count ends at 2^24."""
    model, (frames, times), week = make_model(rate_fps=None), recording(0), 2**24
    stream = model.stream()
    stream.push(at(frames[0], times[0]))
    state = stream.state_dict()
    state["state.steps"] = np.full((1, 1), week, dtype)
    state["state.so_far"] = start = np.array([[9.0, 0.0, -9.0]], dtype)
    stream.load_state_dict(state)
    scores = np.concatenate([stream.push(at(frames[n], times[n])) for n in range(1, 41)])
    state = stream.state_dict()
    assert state["state.steps"].item() == week + 40
    # the logits but for a constant of each step, which the differences of classes do not have
    now = np.log(scores.astype(np.float64))
    expected = (week * start.astype(np.float64) + now.sum(axis=0)) / (week + 40)
    moved, wanted = (np.diff(so_far - start) for so_far in (state["state.so_far"], expected))
    np.testing.assert_allclose(moved, wanted, rtol=1e-3)


def test_a_damaged_stream_file_leaves_the_stream_as_it_was(
    make_model: MakeModel, tmp_path: Path
) -> None:
    model, (frames, times) = make_model(), recording(0)
    model.stream().save(tmp_path / "a.stream")
    described, _ = parts_of(tmp_path / "a.stream")
    del described["clock"]
    write_parts(tmp_path / "bad.stream", described, {})
    stream = model.stream()
    before = push_all(stream, frames[:30], times[:30])
    with pytest.raises(ModelError, match="not a whole stream file"):
        stream.restore(tmp_path / "bad.stream")
    after = push_all(stream, frames[30:], times[30:])
    np.testing.assert_allclose(
        np.concatenate([before, after]), push_all(model.stream(), frames, times), atol=1e-6
    )


@pytest.mark.parametrize(
    "clock",
    [
        {"next_tick": -1000},  # a thousand steps would come with the next frame
        {"next_tick": 10**6},  # none would, for a day
        {"first_seconds": -1e308},
        {"held_seconds": float("nan")},
        {"first_seconds": "soon"},
    ],
)
def test_a_clock_that_cannot_be_is_refused(
    make_model: MakeModel, tmp_path: Path, clock: dict[str, object]
) -> None:
    model, (frames, times) = make_model(), recording(0)
    stream = model.stream()
    push_all(stream, frames, times)
    stream.save(tmp_path / "a.stream")
    described, tensors = parts_of(tmp_path / "a.stream")
    described["clock"] |= clock
    write_parts(tmp_path / "bad.stream", described, tensors)
    with pytest.raises(ModelError, match=r"bad\.stream: is not a whole stream file"):
        model.stream().restore(tmp_path / "bad.stream")


@pytest.mark.realdata
def test_in_bfloat16_a_stream_scores_as_the_whole(real_data: Path) -> None:
    """The bundled backbone as it runs where bfloat16 is fast; frames decoded once, in full."""
    from actionrnn.config import BackboneConfig
    from actionrnn.features.backbone import load_backbone
    from actionrnn.video.decode import read_frames

    backbone = load_backbone(BackboneConfig(precision="bfloat16", device="cpu"))
    torch.manual_seed(0)
    config = Config(head=HeadConfig(hidden_size=16), sampling=Sampling(rate_fps=4))
    head = Head(config.head, backbone.feature_size, 3).eval()
    model = Recognizer(backbone, head.trained(), LABELS, config)
    frames = read_frames(
        real_data / "ucf101_clips" / "v_Basketball_g01_c01.avi",
        scale=backbone.preprocessing.scaled_size,
    )
    streamed = push_all(model.stream(), frames.data, frames.pts_seconds)
    whole = offline(model, frames.data, frames.pts_seconds)
    np.testing.assert_allclose(streamed, whole, atol=2e-2)  # 8 bits, batches of another size


def push_for_long(model: Recognizer, count: int) -> tuple[float, float]:
    """The resident memory's growth in the second half, in MB, by when the allocator has settled;
    and the last tenth's time over the second tenth's."""
    frames, _ = recording(0)
    stream = model.stream()
    parts, sizes = [], []
    begin = time.perf_counter()
    for number in range(count):
        stream.push(at(frames[number % len(frames)], number / 25))
        if (number + 1) % (count // 10) == 0:
            parts.append(time.perf_counter() - begin)
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]))
            begin = time.perf_counter()
    return (sizes[-1] - sizes[4]) * resource.getpagesize() / 1e6, parts[-1] / parts[1]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_memory_stays_flat(make_model: MakeModel) -> None:
    growth_mb, _ = push_for_long(make_model(views="both"), 5_000)
    assert growth_mb < 5


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_two_hundred_thousand_frames(make_model: MakeModel) -> None:
    growth_mb, slowdown = push_for_long(make_model(rate_fps=25), 200_000)
    assert growth_mb < 5
    assert slowdown < 1.5
