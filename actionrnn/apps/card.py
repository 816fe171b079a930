"""A model's card: what it is, what it was trained on, how good it is, what it is not for.

Markdown with YAML front matter, the format of the Hugging Face hub's model cards.
"""

from __future__ import annotations

from typing import Any

import yaml

from actionrnn.datasets.recordings import BACKGROUND, tested_as
from actionrnn.model.model_file import ModelInfo
from actionrnn.model.privacy import public_training, shown_fold
from actionrnn.text import plain

_MOST_LABELS = 500
_MARKDOWN = str.maketrans(
    {c: f"\\{c}" for c in "\\`*_[]#|"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)

_CARD = """---
{front_matter}---

# {title}

Names the action in a video, at every frame: a frozen image backbone and a recurrent head, made
with actionrnn {version}.

```python
import actionrnn

model = actionrnn.load("{address}")
print(model.classify("clip.mp4"))
```

## The model

| | |
|---|---|
| backbone | {backbone}, frozen; weights sha256 {sha256} |
| head | {head} |
| frames | {sampling} |
| classes | {num_labels} |

{labels}

## Training data

{data}

## Scores

{scores}

## Intended use

{use}

## Limits

- The backbone is frozen and sees single frames; what no frame and no change between frames shows,
  the head cannot learn.
- Scores on other people, cameras and scenes than those tested may be far lower.
- Not for decisions about people (surveillance, employment, medicine) without a test of your own.

## Licence

{licence}
"""


_ONE = """Short clips of one action, or streams of such, from cameras and scenes like those of the
training data. The score of a class is its share among the classes above."""
_SEVERAL = """Clips and streams of actions that may overlap, from cameras and scenes like those of
the training data. The score of a class is the probability that it is seen, whatever else is:
several classes may be on at once (from 0.5), or none."""
_WITHOUT_NONE = """There is no class for none of these: a score can be above all others although
nothing of its class is seen. Train with `train.none_of_these=true` for a score of that, or with a
class `background` where it is annotated."""
_WITH_NONE = """There is no class for none of these: a score can be above all others although
nothing of its class is seen. `--none-rate 0.05` says 'none of these' of what is less usual than
95 % of held-out clips of the classes; how much of something else is found so cannot be measured
with this model, which was taught every class of its data (on Weizmann with three of ten classes
unseen: AUROC of steps 0.85)."""
_WITH_BACKGROUND = f"""Where none of the others is seen, the class `{BACKGROUND}` has the highest
score."""


def make_card(info: ModelInfo, address: str = "hf://USER/NAME") -> str:
    """The card of a model, in Markdown.

    Args:
        info: the model file's description; paths and the names of groups are left out.
        address: what the card's example loads.
    """
    head, training = info.config.head, public_training(info.training)
    clip = tested_as(info.config.data.layout, multi_label=head.multi_label)
    licence = weights_licence(info.provenance.backbone)
    shown = [_text(label) for label in info.labels[:_MOST_LABELS]]
    more = f" and {len(info.labels) - len(shown)} more" if len(info.labels) > len(shown) else ""
    front_matter: dict[str, Any] = {
        "library_name": "actionrnn",
        "pipeline_tag": "video-classification",
        "tags": ["video", "action-recognition", "recurrent", head.kind],
    }
    return _CARD.format(
        front_matter=yaml.safe_dump(front_matter | _results(training), sort_keys=False),
        title=_text(address.removeprefix("hf://").partition("@")[0].rpartition("/")[2]),
        version=_text(info.actionrnn_version),
        address=plain(address),
        backbone=_text(info.provenance.backbone),
        sha256=_text(info.provenance.weights_sha256),
        head=str(head),
        sampling=str(info.config.sampling),
        num_labels=len(info.labels),
        labels=", ".join(shown) + more,
        data=_data(training, clip),
        scores=_scores(training, clip, multi_label=head.multi_label),
        use=_use(info),
        licence=licence,
    )


def _use(info: ModelInfo) -> str:
    """What the model is for, and what it says where none of its classes is seen."""
    if info.config.head.multi_label:
        return _SEVERAL
    if BACKGROUND in info.labels:
        return f"{_ONE}\n{_WITH_BACKGROUND}"
    return f"{_ONE}\n{_WITH_NONE if info.config.train.none_of_these else _WITHOUT_NONE}"


def weights_licence(backbone: str) -> str:
    """What is known of the licence of a backbone's weights, in a sentence or two."""
    library, _, name = backbone.partition("/")
    if library == "efficientnet_lite0":
        known = "Apache-2.0 (EfficientNet-Lite0, trained on ImageNet)"
    elif library == "torchvision":
        known = "those of torchvision (BSD-3-Clause code; most weights are trained on ImageNet)"
    elif library == "timm":
        known = _timm_licence(name)
    else:
        known = "not known here"
    return (
        f"The backbone's weights, which are not in this file: {known}. The data that they and the "
        "head were trained on may have terms of their own. The head's weights: its author says."
    )


def _timm_licence(name: str) -> str:
    import timm

    try:
        licence = getattr(timm.models.get_pretrained_cfg(name), "license", None)
    except (RuntimeError, ValueError):
        licence = None
    return _text(licence or f"not said by timm; look at the page of timm/{name}")


def _data(training: dict[str, Any], clip: str) -> str:
    data = str(training.get("data") or "unknown")
    groups, num_clips = training.get("groups") or [], training.get("num_clips")
    return (
        f"{_text(data)}: {num_clips} {clip}s of {len(groups)} groups (people, "
        f"scenes), split {_text(str(training.get('split')))}, "
        f"{_text(shown_fold(training.get('fold')))}."
    )


def _scores(training: dict[str, Any], clip: str, *, multi_label: bool) -> str:
    scores = training.get("scores") or {}
    if "top1" not in scores:
        return "Not measured."
    accuracy = "exact match" if multi_label else "top-1"
    names = {
        "frame_map": "mAP of steps",
        "top1": accuracy,
        "mean_class_accuracy": "mean class accuracy",
        "baseline_mean_pool_top1": f"mean-pool baseline, {accuracy}",
    }
    seen, number = scores.get("seen_in_training") or 0, scores.get("num_clips")
    tested = f"{clip}s"
    if seen:
        verdict = "no test" if seen == number else "the score is too good"
        tested = f"{clip}s, {_text(str(seen))} of which it was TRAINED on: {verdict}"
    lines = [f"On {number} {tested}:", "", "| | score | 95 % interval |", "|---|---|---|"]
    for name, title in names.items():
        if isinstance(scores.get(name), float | int):
            bounds = (scores.get("intervals") or {}).get(name)
            interval = f"{bounds[0]:.1%} to {bounds[1]:.1%}" if bounds else "-"
            lines.append(f"| {title} | {scores[name]:.1%} | {interval} |")
    lines += _event_rows(scores)
    over = scores.get("intervals_over")
    if over:
        lines += ["", f"Intervals: bootstrap over {_text(str(over))}; of one group there is none."]
    if scores.get("leaked_clips"):
        leaked = f"{scores['leaked_clips']} of the {clip}s are of groups that it was trained on"
        lines += ["", f"{leaked}; the score is too good."]
    return "\n".join(lines)


def _event_rows(scores: dict[str, Any]) -> list[str]:
    """What the events find that a stream gives by the model's thresholds; none without these."""
    found = []
    for name, title, form in (
        ("event_recall", "events: actions found", "{:.1%}"),
        ("event_false_alarms_per_hour", "events: false alarms an hour", "{:.1f}"),
    ):
        value, bounds = scores.get(name), (scores.get("intervals") or {}).get(name)
        if isinstance(value, float | int):
            interval = " to ".join(map(form.format, bounds)) if bounds else "-"
            found.append(f"| {title} | {form.format(value)} | {interval} |")
    return found


def _results(training: dict[str, Any]) -> dict[str, Any]:
    """The hub's own table of results, `model-index`."""
    scores = training.get("scores") or {}
    if not isinstance(scores.get("top1"), float | int) or scores.get("seen_in_training"):
        return {}
    data = plain(str(training.get("data")))
    result = {
        "task": {"type": "video-classification"},
        "dataset": {"name": data, "type": data},
        "metrics": [{"type": "accuracy", "value": round(float(scores["top1"]), 4)}],
    }
    return {"model-index": [{"name": "actionrnn", "results": [result]}]}


def _text(text: str) -> str:
    """Text from other people's files, escaped: Markdown shows it as it is."""
    return plain(text).translate(_MARKDOWN)
