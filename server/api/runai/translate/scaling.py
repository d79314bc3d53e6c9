"""How many replicas an inference has, from `spec.autoscaling`. Pure."""

from dataclasses import dataclass

from ....domain.serving import Scaling
from ....errors import Invalid, NotImplementedYet
from .. import wire_inference as wire

WHERE = "spec.autoscaling"
METRICS = ("throughput", "concurrency", "latency")
PERCENTAGE = 70.0  # of the threshold that is aimed at, unless it is said. Source: AutoScaling, runapy 1.224.0
IGNORED = "FieldIgnored"  # the reason of an event
# Knative's stable window, which Run:ai's inferences stand on: what a decision downwards looks back upon.
WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class Replicas:
    """
    Args:
        least: at least so many, while there is traffic. initial: to begin with; None: as many as `least`.
        scaling: None where their number stays as it is.
        warnings: reason and message of events that tell what has no effect.
    """

    least: int
    initial: int | None
    scaling: Scaling | None
    warnings: tuple[tuple[str, str], ...]


def replicas_of(asked: wire.AutoScaling) -> Replicas:
    """
    Source of the defaults and rules: AutoScaling of runapy 1.224.0.

    Raises:
        Invalid: names the field that contradicts another. NotImplementedYet: names what is not served.
    """
    low = 1 if asked.min_replicas is None else asked.min_replicas
    least = max(low, 1)
    most = least if asked.max_replicas is None else asked.max_replicas
    if most < least:
        raise Invalid(f"{WHERE}.maxReplicas", f"{most} is below minReplicas, {low}")
    if asked.concurrency_hard_limit:
        raise NotImplementedYet(f"{WHERE}.concurrencyHardLimit")
    _check_metric(asked, low, most)
    if asked.scale_to_zero_retention_seconds and low:
        raise Invalid(f"{WHERE}.scaleToZeroRetentionSeconds", f"is for minReplicas 0, and it is {low}")
    initial = least if asked.initial_replicas is None else asked.initial_replicas
    if not low <= initial <= most:
        raise Invalid(f"{WHERE}.initialReplicas", f"{initial} is not within {low} and {most}")
    woken = least if asked.activation_replicas is None else asked.activation_replicas
    if woken > most or woken < least:
        raise Invalid(f"{WHERE}.activationReplicas", f"{woken} is not within {least} and {most}")
    return Replicas(
        least,
        None if initial == least else initial,
        _scaling(asked, low, most, woken),
        tuple((IGNORED, message) for message in _idle_fields(asked, low, most)),
    )


def _check_metric(asked: wire.AutoScaling, low: int, most: int) -> None:
    metric, threshold = asked.metric, asked.metric_threshold
    if metric is None:
        if low < most and (low, most) != (0, 1):
            raise Invalid(
                f"{WHERE}.metric", f"is missing, for minReplicas is below maxReplicas: {', '.join(METRICS)}"
            )
        if threshold is not None:
            raise Invalid(f"{WHERE}.metricThreshold", "is for a metric; name that, or leave it out")
        return
    if metric not in METRICS:
        raise NotImplementedYet(f"{WHERE}.metric: {metric}")
    if threshold is None:
        raise Invalid(f"{WHERE}.metricThreshold", f"is missing, for there is a metric, {metric}")
    if metric == "latency" and low == 0:
        raise Invalid(f"{WHERE}.metric", "latency cannot go to zero; set minReplicas to 1 at least")


def _scaling(asked: wire.AutoScaling, low: int, most: int, woken: int) -> Scaling | None:
    least = max(low, 1)
    if low == most:
        return None
    target = (asked.metric_threshold or 0) * (asked.metric_threshold_percentage or PERCENTAGE) / 100
    metric = asked.metric if least < most else None
    return Scaling(
        most=most,
        no_traffic_timeout_s=0 if low else asked.scale_to_zero_retention_seconds or WINDOW_S,
        qpm=target * 60 if metric == "throughput" else None,
        concurrency=target if metric == "concurrency" else None,
        latency_ms=float(asked.metric_threshold or 0) if metric == "latency" else None,
        calm_s=max(WINDOW_S, asked.scale_down_delay_seconds or 0),
        woken=None if woken == least else woken,
    )


def _idle_fields(asked: wire.AutoScaling, low: int, most: int) -> list[str]:
    """Sentences about what was given and has no effect."""
    told: list[str] = []
    if asked.metric is not None and max(low, 1) == most:
        told.append(f"{WHERE}.metric has no effect: there is one number of replicas, {most}")
    if asked.metric_threshold_percentage is not None and asked.metric not in ("throughput", "concurrency"):
        told.append(f"{WHERE}.metricThresholdPercentage is for throughput and concurrency, and has no effect")
    if asked.scale_down_delay_seconds and max(low, 1) == most:
        told.append(f"{WHERE}.scaleDownDelaySeconds has no effect: no number of replicas is decided")
    if asked.activation_replicas is not None and low:
        told.append(f"{WHERE}.activationReplicas has no effect: with minReplicas {low} it never is at zero")
    if asked.initialization_timeout_seconds is not None:
        name = "initializationTimeoutSeconds"
        told.append(f"{WHERE}.{name} has no effect; use spec.servingConfiguration.{name}")
    return told
