"""Everything that actionrnn raises on purpose.

ActionrnnError
├── ConfigError      an invalid configuration key, type or value
├── VideoError       a video that is missing, damaged or cannot be used
├── BackboneError    an unknown backbone, or weights that are missing
├── FeatureError     stored features that are damaged or do not belong together
├── DatasetError     labelled videos, groups or splits that cannot be used
├── ModelError       a model file that cannot be read, or does not fit
└── ProjectError     a project of the studio, or a change to it, that cannot be used

Each message is one line: the value, what is wrong with it, what to do.
"""


class ActionrnnError(Exception):
    """The parent of every error below; its message is meant for the user."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class ConfigError(ActionrnnError):
    """An invalid configuration key, type or value."""


class VideoError(ActionrnnError):
    """A video that is missing, damaged or cannot be used."""


class BackboneError(ActionrnnError):
    """An unknown backbone, or weights that are missing."""


class FeatureError(ActionrnnError):
    """Stored features that are damaged or do not belong together."""


class DatasetError(ActionrnnError):
    """Labelled videos, groups or splits that cannot be used."""


class ModelError(ActionrnnError):
    """A model file that cannot be read, or does not fit."""


class ProjectError(ActionrnnError):
    """A project of the studio, or a change to it, that cannot be used."""


def first_line(error: BaseException) -> str:
    r"""The first line of another library's error, as the reason in one of these messages.

    >>> first_line(ValueError("no such key\nTraceback ...")), first_line(KeyboardInterrupt())
    ('no such key', 'KeyboardInterrupt')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def missing_extra(what: str, extra: str) -> str:
    """The message where an optional package is not installed.

    Args:
        what: what is missing, such as "HDF5 needs h5py".
        extra: the extra of `actionrnn` (in pyproject.toml) that installs it.
    """
    return f"{what}; add it with `pip install 'actionrnn[{extra}]'`"
