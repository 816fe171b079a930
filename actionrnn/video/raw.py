"""Raw video: coded pictures one after the other, of which nothing tells the times.

Its headers may state a frame rate. Of a recording at a variable rate they state the ticks of a
clock instead (90000 a second), which no header tells from a rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from av.container import InputContainer
from av.format import Flags
from av.video.stream import VideoStream

from actionrnn.config import Sampling

# Formats whose times are the numbers of the frames, though FFmpeg gives them another time base
_NUMBERED = ("dirac", "mpjpeg")

_RATES = 1, 240  # frames a second that a header is believed

_MOST_DIGITS = 10**6  # of a numerator or denominator that FFmpeg holds


@dataclass(frozen=True)
class RawRate:
    """The rate of raw video that states none."""

    fps: float = Sampling.frame_folder_fps
    overrules: bool = False
    """Take it for raw video that states another, too."""

    @property
    def exact(self) -> Fraction:
        """As FFmpeg can hold it."""
        return max(Fraction(self.fps).limit_denominator(_MOST_DIGITS), Fraction(1, _MOST_DIGITS))

    def counted(self, stream: VideoStream) -> Fraction | None:
        """The rate of a stream whose frames are to be counted, whatever times its packets have;
        None: those are times, or steps at the rate that it states.
        """
        if not (_is_numbered(stream) or _has_no_times(stream)):
            return None
        stated = declared_rate(stream)
        if stated is None or self.overrules:
            return self.exact
        return stated if _is_numbered(stream) else None


RAW_RATE = RawRate()
"""Where nothing is given."""


def declared_rate(stream: VideoStream) -> Fraction | None:
    """The frames a second that a stream states, on the average; None: it does not.

    FFmpeg says 25, or what it was told to assume, of raw streams and of pictures one after the
    other; what the former state in their headers is the decoder's. H.263's headers name no rate
    but the clock of all such streams, 30000 / 1001.
    """
    if not is_raw(stream):
        return stream.average_rate
    if _format_name(stream) == "h263":
        return None
    guess = stream.guessed_rate if is_raw_mpeg4(stream) else None
    rates = stream.codec_context.framerate, guess
    lowest, highest = _RATES
    return next((rate for rate in rates if rate and lowest <= rate <= highest), None)


def is_raw(stream: VideoStream) -> bool:
    """Whether nothing tells the times of its frames."""
    return are_numbers(stream) or _has_no_times(stream)


def is_raw_mpeg4(stream: VideoStream) -> bool:
    """Whether its header has but a clock, and its pictures state their distance in ticks."""
    return _format_name(stream) == "m4v"


def are_numbers(stream: VideoStream) -> bool:
    """Whether its times are the numbers of its frames."""
    name = _format_name(stream)
    return name == "image2" or name.endswith("_pipe") or _is_numbered(stream)


def _is_numbered(stream: VideoStream) -> bool:
    return _format_name(stream) in _NUMBERED


def _has_no_times(stream: VideoStream) -> bool:
    container = stream.container
    assert isinstance(container, InputContainer)
    return Flags.no_timestamps in Flags(container.format.flags)


def _format_name(stream: VideoStream) -> str:
    return stream.container.format.name
