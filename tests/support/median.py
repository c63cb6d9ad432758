"""Median and a plain mean: aggregators of a third party, as the source of a throw-away plugin."""

AGGREGATORS = """
from fedtrack import hookimpl
from fedtrack_local import Aggregator


class Median(Aggregator):
    name = "median"
    summary = "Coordinate-wise median of the results"

    def __init__(self, reference):
        self.reference = reference
        self.results = []

    def accept(self, site, params, params_type, weight):
        from fedtrack_local import check_fits

        check_fits(site, params, self.reference)
        self.results.append(params)

    def result(self):
        import numpy as np

        return {
            name: np.median([params[name] for params in self.results], axis=0).astype(array.dtype)
            for name, array in self.reference.items()
        }


class Mean(Aggregator):
    name = "mean"
    summary = "Mean of the results, however many steps are behind each"
    can_merge = True

    def __init__(self, reference):
        self.reference = reference
        self.count, self.sums = 0, {}

    def accept(self, site, params, params_type, weight):
        self.add(1, params)

    def add(self, count, sums):
        self.count += count
        self.sums = {name: self.sums.get(name, 0.0) + sums[name] for name in self.reference}

    def partial(self):
        import numpy as np
        from fedtrack_local import PartialAverage

        return PartialAverage(float(self.count), {name: [np.asarray(sum_)] for name, sum_ in self.sums.items()})

    def merge(self, partial, origin):
        self.add(partial.weight, {name: state[0] for name, state in partial.tensors.items()})

    def result(self):
        return {name: (self.sums[name] / self.count).astype(array.dtype) for name, array in self.reference.items()}


@hookimpl
def fedtrack_aggregators():
    return [Median, Mean]
"""
