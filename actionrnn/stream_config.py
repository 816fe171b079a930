"""The settings of what runs on a recording: each field is documented here, each default lives here.

They belong to the moment, not to a model, and so stand in no configuration file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from actionrnn.config_types import (
    STRICT_KEYS,
    NonNegativeFloat,
    PositiveFloat,
    Probability,
    first_problem,
)
from actionrnn.errors import ConfigError

StateKind = Literal["keep", "restart", "forget"]
Section = TypeVar("Section")


@dataclass(frozen=True, config=STRICT_KEYS)
class StatePolicy:
    """What becomes of the recurrent state in a recording much longer than the training's clips.

    The defaults are the best of docs/streaming.md's table.
    """

    kind: StateKind = "restart"
    """keep: the state of the first frame on, for ever; restart: a new state every half
    period beside the one before, and the more confident of the two answers; forget: what was
    seen fades with a half-life."""
    period_seconds: PositiveFloat | None = None
    """restart: how old a state grows; the very first grows two and a half periods old, and
    is alone for two. None: half the median length of the clips that the head was trained on, so
    that a recording no longer than such a clip is answered as by `classify`."""
    half_life_steps: PositiveFloat = 3.0
    """forget: the number of steps after which what was seen counts half."""


@dataclass(frozen=True, config=STRICT_KEYS)
class SegmentRule:
    """How the scores of a timeline become segments with one label each."""

    smooth_seconds: NonNegativeFloat = 0.5
    """The scores are averaged over so much time around each step; 0: not at all."""
    min_seconds: NonNegativeFloat = 1.0
    """Shorter segments go to their neighbours."""
    threshold: Probability = 0.0
    """Below this score it is nothing."""


@dataclass(frozen=True, config=STRICT_KEYS)
class LiveOptions:
    """How a live source is followed."""

    max_lag_seconds: PositiveFloat = 0.5
    """Frames that wait longer for the model are dropped, so that answers are never older."""
    stall_seconds: PositiveFloat = 5.0
    """Without a picture for so long, the source is opened anew."""
    give_up_seconds: NonNegativeFloat = 60.0
    """Without a picture for so long, it is given up."""
    first_wait_seconds: PositiveFloat = 0.5
    """Before it is opened anew; doubled each time, up to `longest_wait_seconds`."""
    longest_wait_seconds: PositiveFloat = 8.0
    reset_on_reconnect: bool = False
    """Begin with a new state after an interruption, instead of going on with the old one."""


def parse_section(kind: type[Section], values: Mapping[str, Any]) -> Section:
    """One dataclass of this file from some of its fields; None stands for the default.

    Raises:
        ConfigError: a value is wrong; the message names it.
    """
    given = {key: value for key, value in values.items() if value is not None}
    try:
        return TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        raise ConfigError(first_problem(error)) from None
