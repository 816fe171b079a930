"""actionrnn: a frozen CNN encodes video frames, a recurrent head names the action.

The public names below are imported on first use, so that `import actionrnn`
and `actionrnn --help` load no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from actionrnn.config import Config, Sampling
    from actionrnn.config_reading import load_config
    from actionrnn.errors import (
        ActionrnnError,
        BackboneError,
        ConfigError,
        DatasetError,
        FeatureError,
        ModelError,
        ProjectError,
        VideoError,
    )
    from actionrnn.evaluation.evaluate import evaluate
    from actionrnn.evaluation.report import Report
    from actionrnn.features.backbone import Backbone, load_backbone
    from actionrnn.features.extract import extract_features, extract_to_store
    from actionrnn.features.provenance import Features
    from actionrnn.features.store import FeatureStore
    from actionrnn.model.events import Event, EventDetector
    from actionrnn.model.heads import Head
    from actionrnn.model.recognizer import Recognizer, load
    from actionrnn.model.segments import Segment
    from actionrnn.model.stream import Stream, StreamBatch
    from actionrnn.model.timeline import Prediction, Timeline
    from actionrnn.options import EventRule, SegmentRule
    from actionrnn.training.train import train
    from actionrnn.video.decode import iter_frames, read_frames
    from actionrnn.video.frame import Frame, Frames

_HOME_OF = {
    "ActionrnnError": "errors",
    "Backbone": "features.backbone",
    "BackboneError": "errors",
    "Config": "config",
    "ConfigError": "errors",
    "DatasetError": "errors",
    "Event": "model.events",
    "EventDetector": "model.events",
    "EventRule": "options",
    "FeatureError": "errors",
    "FeatureStore": "features.store",
    "Features": "features.provenance",
    "Frame": "video.frame",
    "Frames": "video.frame",
    "Head": "model.heads",
    "ModelError": "errors",
    "Prediction": "model.timeline",
    "ProjectError": "errors",
    "Recognizer": "model.recognizer",
    "Report": "evaluation.report",
    "Sampling": "config",
    "Segment": "model.segments",
    "SegmentRule": "options",
    "Stream": "model.stream",
    "StreamBatch": "model.stream",
    "Timeline": "model.timeline",
    "VideoError": "errors",
    "evaluate": "evaluation.evaluate",
    "extract_features": "features.extract",
    "extract_to_store": "features.extract",
    "iter_frames": "video.decode",
    "load": "model.recognizer",
    "load_backbone": "features.backbone",
    "load_config": "config_reading",
    "read_frames": "video.decode",
    "train": "training.train",
}

__all__ = [
    "ActionrnnError",
    "Backbone",
    "BackboneError",
    "Config",
    "ConfigError",
    "DatasetError",
    "Event",
    "EventDetector",
    "EventRule",
    "FeatureError",
    "FeatureStore",
    "Features",
    "Frame",
    "Frames",
    "Head",
    "ModelError",
    "Prediction",
    "ProjectError",
    "Recognizer",
    "Report",
    "Sampling",
    "Segment",
    "SegmentRule",
    "Stream",
    "StreamBatch",
    "Timeline",
    "VideoError",
    "evaluate",
    "extract_features",
    "extract_to_store",
    "iter_frames",
    "load",
    "load_backbone",
    "load_config",
    "read_frames",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'actionrnn' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"actionrnn.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
