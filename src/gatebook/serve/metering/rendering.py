"""Totals → the text that Prometheus reads."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gatebook.model.counting import BOUNDS_S, Report, Sample, Spread
from gatebook.serve.metering.catalogue import ALL, BY_NAME, Family

Key = tuple[str, ...]


def render(reports: Mapping[str, Report], accept: str) -> tuple[str, bytes]:
    """(content type, body), in the format of Prometheus or OpenMetrics that `accept` (a header, or empty) asks for."""
    encoder, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(tuple(families(reports))))
    encode: Callable[[CollectorRegistry], bytes] = encoder
    return content_type, encode(registry)


class _Collected(Collector):
    def __init__(self, metrics: tuple[Metric, ...]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics

    def describe(self) -> Iterable[Metric]:
        return ()


def families(reports: Mapping[str, Report]) -> Iterable[Metric]:
    """Every family of the catalogue, also one without numbers yet."""
    samples: dict[str, dict[Key, float]] = {family.name: {} for family in ALL}
    spreads: dict[str, dict[Key, Spread]] = {family.name: {} for family in ALL}
    for room, report in reports.items():
        for sample in report.samples:
            key, of_family = _key(room, sample), samples[sample.name]
            of_family[key] = of_family.get(key, 0) + sample.value
        for spread in report.spreads:
            key, known = _key(room, spread), spreads[spread.name]
            known[key] = known[key].plus(spread) if key in known else spread
    for family in ALL:
        yield _metric(family, samples[family.name], spreads[family.name])


def _key(room: str, number: Sample | Spread) -> Key:
    return (room, *number.labels) if BY_NAME[number.name].by_room else number.labels


def _metric(family: Family, samples: Mapping[Key, float], spreads: Mapping[Key, Spread]) -> Metric:
    labels = (("room",) if family.by_room else ()) + family.labels
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=labels)
        for key, spread in spreads.items():
            histogram.add_metric(key, _cumulated(spread.counts), spread.total_s)
        return histogram
    make = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = make(family.name, family.help, labels=labels)
    for key, value in samples.items():
        metric.add_metric(key, value)
    return metric


def _cumulated(counts: tuple[int, ...]) -> list[tuple[str, float]]:
    bounds = [f"{bound:g}" for bound in BOUNDS_S] + ["+Inf"]
    so_far, pairs = 0, []
    for bound, count in zip(bounds, counts, strict=True):
        so_far += count
        pairs.append((bound, float(so_far)))
    return pairs
