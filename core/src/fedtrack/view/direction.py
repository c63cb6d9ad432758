"""Direction: whether higher or lower values of a metric are better, guessed from its name where nobody says it."""

from __future__ import annotations

import re

_LOWER = re.compile(
    r"(?:^|[^a-z])(?:loss|error|err|mse|rmse|mae|nll|perplexity|ppl|wer|cer|brier|ece|fid|seconds|latency|"
    r"crossentropy|divergence|kl|hausdorff|hd95|fpr|fnr)(?:[^a-z]|$)"
)
_HIGHER = re.compile(
    r"(?:^|[^a-z])(?:acc|accuracy|auc|auroc|auprc|f1|precision|recall|sensitivity|specificity|iou|dice|map|bleu|rouge|r2|"
    r"psnr|ssim|score|tpr|tnr|kappa|mcc|top1|top5)(?:[^a-z0-9]|$)"
)


def guessed(key: str) -> str:
    """Return ``higher`` or ``lower`` for a metric whose name tells, otherwise ""."""
    plain = re.sub(r"([a-z])([A-Z])", r"\1_\2", key).lower()
    if _LOWER.search(plain):
        return "lower"
    return "higher" if _HIGHER.search(plain) else ""
