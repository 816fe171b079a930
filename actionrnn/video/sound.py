"""The sound of a video for a copy of it: its packets as they are, converted to AAC, or none."""

from __future__ import annotations

import contextlib
import io
import itertools
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from actionrnn.errors import VideoError
from actionrnn.video.frame_index import Clock
from actionrnn.video.source import Source, open_container

Packets: TypeAlias = "Iterator[Packet[AudioStream]]"

# What AAC has (ISO/IEC 14496-3, table 1.18) and FFmpeg's encoder takes.
_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200)
_DEFAULT_RATE = 48000


def sound_of(source: Source, output: OutputContainer, begin_seconds: float = 0.0) -> Packets:
    """The packets of a video's sound, of a new stream of the output; none if it has no sound.

    They are copied where the output's format holds them. Others, such as those of cameras (G.711,
    ADPCM), are converted to AAC. Sound that cannot be read is left out with a warning.

    Args:
        output: nothing has been written to it yet.
        begin_seconds: subtracted from their times.
    """
    try:
        with open_container(source) as container:
            audio = container.streams.best("audio")
            if isinstance(audio, AudioStream):
                yield from _packets(audio, _timed_packets(container, audio, begin_seconds), output)
    except (av.FFmpegError, OSError, ValueError, VideoError) as error:
        warn_of_loss(source, error)


def warn_of_loss(source: Source, error: Exception) -> None:
    """Say that a copy has no sound, or none from here on."""
    reason = getattr(error, "strerror", None) or error
    warnings.warn(
        f"{source.name}: its sound cannot be written, and is left out ({reason}); convert it "
        "to AAC first to keep it",
        stacklevel=1,
    )


def _packets(audio: AudioStream, packets: Packets, output: OutputContainer) -> Packets:
    first = next(packets, None)
    if first is None:
        return iter(())  # declared, but none came
    packets = itertools.chain([first], packets)
    if _is_held(audio, first, output.format.name):
        return _copied(audio, packets, output)
    return _converted(audio, packets, output)


def _timed_packets(container: InputContainer, audio: AudioStream, begin_seconds: float) -> Packets:
    """All packets that have a time, up to where a truncated file ends."""
    time_base = audio.time_base or Fraction(1, 1000)
    begin, clock = round(begin_seconds / time_base), Clock(time_base, step=1)
    last = None
    with contextlib.suppress(av.FFmpegError, OSError):
        for packet in container.demux(audio):
            if not packet.size or packet.pts is None or packet.dts is None:
                continue
            shift = clock.shift(packet.dts) - begin
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            if last is None or packet.dts > last:  # a container takes no other order
                last = packet.dts
                yield packet


def _is_held(audio: AudioStream, first: Packet[AudioStream], container_format: str) -> bool:
    """Whether a format takes the sound; some (Opus in QuickTime) only fail when it is written."""
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            first.stream = trial.add_stream_from_template(audio)
            trial.mux(first)
    except (av.FFmpegError, OSError, ValueError):
        return False
    return True


def _copied(audio: AudioStream, packets: Packets, output: OutputContainer) -> Packets:
    copied = output.add_stream_from_template(audio)
    for packet in packets:
        packet.stream = copied
        yield packet


def _converted(audio: AudioStream, packets: Packets, output: OutputContainer) -> Packets:
    encoder = None
    for frame in _decoded(audio, packets):
        if encoder is None:
            rate = frame.rate if frame.rate in _AAC_RATES else _DEFAULT_RATE
            layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
            encoder = output.add_stream("aac", rate=rate, layout=layout)
        yield from encoder.encode(frame)
    if encoder is None:
        raise VideoError("no part of it can be decoded")
    yield from encoder.encode(None)


def _decoded(audio: AudioStream, packets: Packets) -> Iterator[av.AudioFrame]:
    """What is damaged is passed over."""
    if audio.codec_context is None:
        raise VideoError("there is no decoder for its codec")
    for packet in packets:
        try:
            frames = audio.codec_context.decode(packet)
        except (av.FFmpegError, OSError):
            continue
        yield from frames
