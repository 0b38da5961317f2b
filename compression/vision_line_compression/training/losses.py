# SPDX-License-Identifier: AGPL-3.0-or-later
"""Distillation losses: each a pure function of student and teacher tensors, with its formula and its source.

Shapes: B images, C classes, N anchors (all levels together), R bins of a box side, K channels of a feature map.
All losses are float32 scalars, zero where student and teacher agree, and differentiable in the student alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def bernoulli_kl(student: Tensor, teacher: Tensor, foreground: Tensor, temperature: float) -> Tensor:
    """Divergence of class scores, one Bernoulli variable for each class of each foreground anchor.

    With p = sigmoid(teacher / T) and q = sigmoid(student / T):

        L = T^2 / |F| * sum_{a in F} sum_c [ p log(p / q) + (1 - p) log((1 - p) / (1 - q)) ]

    A sigmoid head scores each class by itself, so a softmax over classes would teach a competition that the head does
    not have. T^2 keeps the gradient's size while T changes.

    Args:
        student: logits (B, C, N).
        teacher: logits (B, C, N).
        foreground: bool (B, N), the anchors F that count; none at all gives zero.
        temperature: T > 0; larger softens both sides.

    Source: Hinton et al., "Distilling the knowledge in a neural network", 2015 (temperature and T^2); the Bernoulli
    form per class is that of Yang et al., "Bridging cross-task protocol inconsistency for distillation in dense object
    detection", ICCV 2023.
    """
    soft_student, soft_teacher = student / temperature, teacher / temperature
    p = soft_teacher.sigmoid()
    present = p * (functional.logsigmoid(soft_teacher) - functional.logsigmoid(soft_student))
    absent = (1 - p) * (functional.logsigmoid(-soft_teacher) - functional.logsigmoid(-soft_student))
    return _foreground_mean((present + absent).sum(dim=1), foreground) * temperature**2


def bin_kl(student: Tensor, teacher: Tensor, foreground: Tensor, temperature: float, bins: int) -> Tensor:
    """Divergence of the distributions over a box side's distance, where a head predicts bins (DFL: v8, v10, 11).

    With p = softmax(teacher / T) and q = softmax(student / T) over the R bins of each of the four sides:

        L = T^2 / (4 |F|) * sum_{a in F} sum_{side} sum_r p log(p / q)

    Args:
        student: logits (B, 4 R, N), side by side.
        teacher: logits (B, 4 R, N).
        foreground: bool (B, N).
        temperature: T > 0.
        bins: R.

    Source: Zheng et al., "Localization distillation for dense object detection", CVPR 2022.
    """
    batch, _, anchors = student.shape
    log_q = functional.log_softmax(student.view(batch, 4, bins, anchors) / temperature, dim=2)
    log_p = functional.log_softmax(teacher.view(batch, 4, bins, anchors) / temperature, dim=2)
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=2).mean(dim=1)
    return _foreground_mean(divergence, foreground) * temperature**2


def distance_l1(student: Tensor, teacher: Tensor, foreground: Tensor) -> Tensor:
    """Difference of box sides in grid cells, where a head predicts distances without bins (26).

        L = 1 / (4 |F|) * sum_{a in F} sum_{side} | student - teacher |

    Args:
        student: distances (B, 4, N).
        teacher: distances (B, 4, N).
        foreground: bool (B, N).
    """  # fmt: skip
    return _foreground_mean((student - teacher).abs().mean(dim=1), foreground)


def angle_difference(student: Tensor, teacher: Tensor, foreground: Tensor) -> Tensor:
    """Difference of rotated boxes' angles, the same for any number of half turns, which leave a rectangle what it is.

        L = 1 / |F| * sum_{a in F} sin^2 (student - teacher)        (0 to 1)

    Ultralytics teaches labels by sin^2 of twice the difference, which is 0 at a quarter turn too: a box with its sides
    swapped. The teacher's sides are learned side by side, so a quarter turn is wrong here.

    Args:
        student: angles (B, 1, N) in radians.
        teacher: angles (B, 1, N).
        foreground: bool (B, N).
    """  # fmt: skip
    return _foreground_mean((student - teacher).sin().square().squeeze(1), foreground)


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Difference of where two feature maps look; needs no equal channel counts, so it suits a pruned student.

    With the spatial map Q = sum_k |F_k|^2, flattened and divided by its Euclidean norm:

        L = mean_B || Q_student - Q_teacher ||_2^2        (0 to 2, whatever the resolution)

    Args:
        student: features (B, K, h, w).
        teacher: features (B, K', h, w).

    Source: Zagoruyko and Komodakis, "Paying more attention to attention", ICLR 2017, activation-based with p = 2; the
    sum over places replaces their mean, which shrinks with the resolution.
    """
    return (_attention(student) - _attention(teacher)).square().sum(dim=1).mean()


def channel_wise(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Divergence of each channel's distribution over the places of a feature map (CWD).

    With phi = softmax over the h w places of F_k / T:

        L = T^2 / K * mean_B sum_k sum_i phi_teacher log(phi_teacher / phi_student)

    Args:
        student: features (B, K, h, w), projected to the teacher's channels where they differ.
        teacher: features (B, K, h, w).
        temperature: T > 0.

    Source: Shu et al., "Channel-wise knowledge distillation for dense prediction", ICCV 2021.
    """
    log_q = functional.log_softmax(student.flatten(2) / temperature, dim=2)
    log_p = functional.log_softmax(teacher.flatten(2) / temperature, dim=2)
    return (log_p.exp() * (log_p - log_q)).sum(dim=2).mean() * temperature**2


def score_weighted_l2(student: Tensor, teacher: Tensor, score: Tensor) -> Tensor:
    """Squared difference of feature maps, weighted by what the teacher is sure of: Ultralytics' own distillation.

        L = sum_{b,i} w_bi sum_k (student - teacher)^2 / (K sum_{b,i} w_bi)

    Args:
        student: features (B, K, h, w), projected to the teacher's channels.
        teacher: features (B, K, h, w).
        score: the weights w (B, h w), the teacher's best class probability at each place.

    Source: ultralytics 8.4, `ultralytics.nn.distill_model`, documented in its knowledge-distillation guide.
    """
    squared = (student - teacher).square().flatten(2).sum(dim=1)
    return (squared * score).sum() / (score.sum() * student.shape[1] + 1e-9)


def _foreground_mean(values: Tensor, foreground: Tensor) -> Tensor:
    """Return the mean of (B, N) values over the foreground; zero, yet in the graph, where there is none."""
    weight = foreground.to(values.dtype)
    return (values * weight).sum() / weight.sum().clamp(min=1)


def _attention(features: Tensor) -> Tensor:
    return functional.normalize(features.square().sum(dim=1).flatten(1), dim=1)


def teacher_best_score(logits: Tensor) -> Tensor:
    """Return the best class probability (B, N) of class logits (B, C, N)."""
    return torch.amax(logits, dim=1).sigmoid()
