"""Everything that actionrnn raises on purpose.

ActionrnnError
├── ConfigError      a configuration key, type or value that cannot be
├── VideoError       a video that is missing, broken or of no use
├── BackboneError    an unknown backbone, or weights that are not here
├── FeatureError     stored features that are damaged or do not belong together
├── DatasetError     labelled videos, groups or splits that cannot be used
└── ModelError       a model file that cannot be read, or does not fit

Each message is one line: the value, what is wrong with it, what to do.
"""


class ActionrnnError(Exception):
    """The parent of every error below; its message is meant for the user."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class ConfigError(ActionrnnError):
    """A configuration key, type or value that cannot be."""


class VideoError(ActionrnnError):
    """A video that is missing, broken or of no use."""


class BackboneError(ActionrnnError):
    """An unknown backbone, or weights that are not here."""


class FeatureError(ActionrnnError):
    """Stored features that are damaged or do not belong together."""


class DatasetError(ActionrnnError):
    """Labelled videos, groups or splits that cannot be used."""


class ModelError(ActionrnnError):
    """A model file that cannot be read, or does not fit."""
