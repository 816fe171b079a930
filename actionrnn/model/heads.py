"""The recurrent head: features of frames become a score at every step.

One step, with x_t the (normalised) feature of frame t:

    u_t = LayerNorm(P x_t + b)                the projection; without it u_t = x_t
    h_t = f(h_(t-1) W_hh + u_t W_xh + b)      the recurrent layer: RNN, LSTM or GRU
    z_t = W h_(t+d) + V x_t + b               the logits of now; V: the residual path

Two answers are read from them. *Now*, softmax(z_t), is what a timeline, a stream and segments show.
*So far*, the softmax of the running mean of z_1 ... z_t, is what is said about the whole clip; a
clip's answer is its last value. With `head.multi_label` a sigmoid stands in place of each softmax.

Every z_t uses the frames up to t + d alone, so `forward` over a sequence, for training, and `step`
after `step` (`head_step.py`) give the same numbers. d is `head.delay_steps`, 0 by default: the
state sees d more frames before step t is answered. At a recording's end its last frame is repeated
d times, so that every step has an answer.
(Elman 1990; LSTM: Hochreiter and Schmidhuber 1997; GRU: Cho et al. 2014; the projection: An et
al., ICCV 2023, who have a ReLU behind it.)
"""

from __future__ import annotations

import numpy as np
import torch
from einops import repeat
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from actionrnn.config import HeadConfig
from actionrnn.model import head_step
from actionrnn.model.scoring import Readouts
from actionrnn.model.trained_head import TrainedHead

State = dict[str, Tensor]

_CORES = {"rnn_tanh": nn.RNN, "rnn_relu": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
LEAST_VARIATION = 1e-6
"""Relative to a feature's mean: single precision has 1.2e-7, so below it is rounding alone."""


class Head(nn.Module):
    """A recurrent layer (or none: `mean`) and a linear classifier of each step.

    Args:
        config: kind, sizes, dropout, whether there are a projection and a residual path, and the
            delay.
        feature_size: D.
        num_classes: K.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: HeadConfig, feature_size: int, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.feature_size, self.num_classes = feature_size, num_classes
        self.register_buffer("mean", torch.zeros(feature_size))
        self.register_buffer("std", torch.ones(feature_size))
        input_size = feature_size * (2 if config.temporal_differences else 1)
        self.projection: nn.Sequential | None = None
        core_size = input_size
        if config.projection and config.kind != "mean":
            core_size = config.hidden_size
            self.projection = nn.Sequential(
                nn.Linear(input_size, core_size), nn.LayerNorm(core_size)
            )
        self.core = _make_core(config, core_size)
        self.delay_steps = head_step.delay_steps(config)
        """How many further steps are seen before a step is answered; without a state: none."""
        hidden_size = input_size if self.core is None else config.hidden_size
        self.classifier = nn.Linear(hidden_size, num_classes)
        self.residual: nn.Linear | None = None
        if config.residual and self.core is not None:
            self.residual = nn.Linear(input_size, num_classes, bias=False)
            nn.init.zeros_(self.residual.weight)  # training starts from the recurrent path alone

    def set_normalisation(self, mean: Tensor, std: Tensor) -> None:
        """Remember the training set's statistics of (rescaled) features, (D,) each.

        A feature that does not vary (std at most a millionth of its mean, or of the std of the
        one that varies most) keeps its scale: its first change after the training must not come
        in as millions.
        """
        varies = std > LEAST_VARIATION * torch.maximum(mean.abs(), std.max())
        self.mean.copy_(mean)
        self.std.copy_(torch.where(varies, std, 1.0))

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The logits of now, z, at every step; `so_far` pools them.

        Args:
            features: (B, T, D).
            lengths: (B,), the valid steps of each row; default: all. Whatever values
                follow them change nothing.

        Returns:
            (B, T, K); zero behind a row's length.
        """
        valid = _valid_steps(features, lengths)  # (B, T, 1)
        return self._run(self.standardise(features).masked_fill_(~valid, 0), valid)

    def run(self, standardised: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`forward` of what `standardise` has made, (B, T, D), which may need a gradient."""
        valid = _valid_steps(standardised, lengths)
        # whatever stands behind a row's length, NaN included, must not reach a gradient
        return self._run(standardised.masked_fill(~valid, 0), valid)

    def _run(self, known: Tensor, valid: Tensor) -> Tensor:
        """The logits of now; `known`, a new tensor, is 0 where `valid` is false."""
        if self.delay_steps:
            known = _with_last_repeated(known, valid, self.delay_steps)
        inputs = self._dropout(self._inputs(known))  # (B, T, I), with a delay T + d steps
        hidden = inputs if self.core is None else self.core(self._project(inputs))[0]  # (B, T, H)
        hidden = self._dropout(hidden[:, self.delay_steps :])
        logits: Tensor = self.classifier(hidden)
        if self.residual is not None:
            logits = logits + self.residual(inputs[:, : logits.shape[1]])
        return logits.masked_fill(~valid, 0)

    def so_far(self, logits: Tensor) -> Tensor:
        """The logits of so far at every step, from those of now: (B, T, K) -> (B, T, K)."""
        if self._pooling == "last":
            return logits
        if self._pooling == "running_mean":
            steps = torch.arange(1, logits.shape[1] + 1, device=logits.device)
            return logits.cumsum(dim=1) / steps[:, None]
        pooled, rows = torch.zeros_like(logits[:, 0]), []
        for step, now in enumerate(logits.unbind(dim=1), start=1):
            pooled = head_step.so_far_step(
                torch, self.config, now, pooled, torch.full_like(now[:, :1], step)
            )
            rows.append(pooled)
        return torch.stack(rows, dim=1)

    def clip_logits(self, logits: Tensor, lengths: Tensor) -> Tensor:
        """The clip's answer, so far at its last valid step: (B, T, K), lengths (B,) -> (B, K)."""
        return last_step(self.so_far(logits), lengths)

    def scores(self, logits: Tensor) -> Tensor:
        """Probabilities in float32 from logits, of now or of so far, (..., K) -> (..., K).

        They sum to 1; of a multi-label head, each is that of its class alone. Whatever shows a
        score takes it from here: recogniser, stream, report and export.
        """
        found: Tensor = head_step.scores(torch, self.config, logits.float())
        return found

    def pooled(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """The answers for P clips from those at their steps: (N, K) -> (P, K).

        Args:
            steps: the logits of now, of one clip after another, each in the order of time.
            lengths: (P,), of each clip at least one; they add up to N.
        """
        if self._pooling == "running_mean":
            return segment_reduce(steps, "mean", lengths)
        ends = lengths.cumsum(dim=0).repeat_interleave(lengths)
        age = ends - 1 - torch.arange(len(steps), device=steps.device)  # 0 at the clip's last step
        decay = 0.0 if self._pooling == "last" else self.config.pooling_decay
        weights = torch.full((), decay, device=steps.device) ** age  # (N,)
        sums, total = (
            segment_reduce(one, "sum", lengths)
            for one in (steps * weights[:, None], weights[:, None])
        )
        return sums / total

    def step(self, features: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The logits of now after one more frame, as of `TrainedHead.step`; without dropout."""
        state = self.initial_state(len(features), features.device) if state is None else state
        return head_step.step(_TorchParts(self), features, state)

    def initial_state(self, batch_size: int, device: torch.device | None = None) -> State:
        """The state before the first frame: zeros; see `head_step.EXACT`.

        (Apple's GPUs have float32 alone.)
        """
        exact = torch.float32 if device is not None and device.type == "mps" else torch.float64
        return {
            name: torch.zeros(
                batch_size,
                *shape,
                dtype=exact if name in head_step.EXACT else torch.float32,
                device=device,
            )
            for name, shape in head_step.state_shapes(_TorchParts(self)).items()
        }

    def trained(self) -> TrainedHead:
        """The same in NumPy, with a copy of the weights: what answers."""
        tensors = {name: v.detach().cpu().numpy().copy() for name, v in self.state_dict().items()}
        return TrainedHead(self.config, tensors)

    @classmethod
    def of(cls, trained: TrainedHead) -> Head:
        """The same in torch, with a copy of the weights, in evaluation mode."""
        head = cls(trained.config, trained.feature_size, trained.num_classes)
        head.load_state_dict({name: torch.tensor(v) for name, v in trained.tensors.items()})
        return head.eval()

    def rescale(self, features: Tensor) -> Tensor:
        """What is standardised: features (..., D) after `head.input_scaling`."""
        if self.config.input_scaling == "sqrt":
            # In place: each tensor of this size that is made costs more than the arithmetic.
            root = features.abs()
            if root.device.type == "cpu":
                # torch's own takes ten times as long over zeros, which half of many features are
                np.sqrt(root.numpy(), out=root.numpy())
            else:
                root.sqrt_()
            return root.copysign_(features)
        found: Tensor = head_step.rescaled(torch, self.config, features)
        return found

    def standardise(self, features: Tensor) -> Tensor:
        """Features (..., D), rescaled, with mean 0 and standard deviation 1 in the training set.

        They get no gradient: what needs one takes it from `run`.
        """
        rescaled = self.rescale(features)
        centred = rescaled - self.mean if rescaled is features else rescaled.sub_(self.mean)
        return centred.div_(self.std)

    def _inputs(self, normal: Tensor) -> Tensor:
        if not self.config.temporal_differences:
            return normal
        difference = torch.zeros_like(normal)
        difference[:, 1:] = normal[:, 1:] - normal[:, :-1]
        return torch.cat([normal, difference], dim=-1)

    def _project(self, inputs: Tensor) -> Tensor:
        """What the recurrent layer reads, (..., H), or the inputs themselves, (..., I)."""
        return inputs if self.projection is None else self.projection(inputs)

    def _dropout(self, sequence: Tensor) -> Tensor:
        """One mask per clip for all its steps (Gal and Ghahramani, NIPS 2016)."""
        if not self.training or self.config.dropout == 0:
            return sequence
        kept = 1 - self.config.dropout
        mask = torch.empty_like(sequence[:, :1]).bernoulli_(kept) / kept  # (B, 1, I)
        return sequence * mask if sequence.requires_grad else sequence.mul_(mask)

    @property
    def _pooling(self) -> str:
        return "running_mean" if self.core is None else self.config.temporal_pooling


class _TorchParts:
    """A head as `head_step` reads it."""

    xp = torch

    def __init__(self, head: Head) -> None:
        self.config = head.config
        self.tensors: dict[str, Tensor] = {
            **dict(head.named_parameters()),
            **dict(head.named_buffers()),
        }

    def linear(self, x: Tensor, weight: str, bias: str | None = None) -> Tensor:
        """X W^T + b, (B, I) -> (B, O), by the names of W and b."""
        return F.linear(x, self.tensors[weight], None if bias is None else self.tensors[bias])


@torch.inference_mode()
def read_out(head: Head, values: NDArray[np.float32]) -> Readouts:
    """The answers for every step of one sequence of features (T, D)."""
    head.eval()
    logits = head(torch.from_numpy(np.ascontiguousarray(values))[None].to(head.mean.device))
    now, so_far = (head.scores(part)[0].cpu().numpy() for part in (logits, head.so_far(logits)))
    return Readouts(now, so_far)


def segment_reduce(values: Tensor, how: str, lengths: Tensor) -> Tensor:
    """The sum or mean of each of P consecutive parts of a tensor: (N, ...) -> (P, ...)."""
    if values.device.type != "mps":
        return torch.segment_reduce(values, how, lengths=lengths)
    # Apple's GPUs have no kernel for it
    return torch.segment_reduce(values.cpu(), how, lengths=lengths.cpu()).to(values.device)


def last_step(logits: Tensor, lengths: Tensor) -> Tensor:
    """The clip's answer: (B, T, K) and lengths (B,) -> the last valid logits (B, K)."""
    index = repeat(lengths - 1, "b -> b 1 k", k=logits.shape[2])
    return logits.gather(1, index)[:, 0]


def _make_core(config: HeadConfig, input_size: int) -> nn.RNNBase | None:
    if config.kind == "mean":
        return None
    options = {"nonlinearity": config.kind.removeprefix("rnn_")} if "rnn_" in config.kind else {}
    between_layers = config.dropout if config.num_layers > 1 else 0.0
    core: nn.RNNBase = _CORES[config.kind](
        input_size,
        config.hidden_size,
        config.num_layers,
        batch_first=True,
        dropout=between_layers,
        **options,
    )
    return core


def _with_last_repeated(sequences: Tensor, valid: Tensor, count: int) -> Tensor:
    """(B, T, D) -> (B, T + count, D): each row goes on with its last valid step to its end."""
    last = last_step(sequences, valid.sum(dim=1)[:, 0])[:, None]  # (B, 1, D)
    return torch.cat([sequences.where(valid, last), last.expand(-1, count, -1)], dim=1)


def _valid_steps(features: Tensor, lengths: Tensor | None) -> Tensor:
    batch, steps, _ = features.shape
    if lengths is None:
        return torch.ones(batch, steps, 1, dtype=torch.bool, device=features.device)
    if lengths.shape != (batch,) or not bool(((lengths >= 1) & (lengths <= steps)).all()):
        raise ValueError(f"lengths must be (B,) = ({batch},) in 1 ... {steps}, got {lengths}")
    return (torch.arange(steps, device=features.device) < lengths[:, None])[:, :, None]
