"""The durations of earlier runs, on which estimates are based. Imports no torch."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml
from omegaconf import OmegaConf

from crate.config.schema import Config, restore
from crate.config.signature import shape
from crate.cost import UNKNOWN, Cost, cost
from crate.data.facts import num_images
from crate.run.folder import RunFolder, runs_by_signature
from crate.run.provenance import cpu_name


@dataclass
class Measured:
    """Finished runs of one shape: device-seconds of an epoch, hardware, one of their folders."""

    example: Path
    seconds: list[float] = field(default_factory=list)
    hardware: set[str] = field(default_factory=set)

    @property
    def where(self) -> str:
        """The number of runs and their hardware, in words."""
        number = len(self.seconds)
        return f"{number} run{'s' * (number > 1)} on {', '.join(sorted(self.hardware))}"


@dataclass(frozen=True)
class Rate:
    """FLOP/s that runs of one shape reached, and the FLOPs of one forward pass of their model."""

    flops_per_s: float
    forward_flops: float
    measured: Measured


class History:
    """The finished runs below `outputs` that a launcher ran, by shape."""

    def __init__(self, outputs: str, *, launcher: str) -> None:
        self._shapes: dict[str, Measured] = {}
        for path in runs_by_signature(outputs).values():
            epoch = RunFolder(path).status.measured
            if epoch and epoch.launched_by == launcher:
                measured = self._shapes.setdefault(epoch.shape, Measured(path))
                measured.seconds.append(epoch.device_s_per_epoch)
                measured.hardware.add(epoch.hardware)

    def of(self, config: Config) -> tuple[float, str] | None:
        """Return the median device-seconds of an epoch of this shape, and its source in words."""
        measured = self._shapes.get(shape(config))
        if measured is None:
            return None
        return statistics.median(measured.seconds), f"measured in {measured.where}"

    def scaled(self, config: Config, whole: Cost) -> tuple[float, str] | None:
        """Return device-seconds of an epoch by the rate of another shape, and its source in words.

        That shape is the one nearest in the FLOPs of a forward pass: small models reach a small
        part of the rate of large ones.
        """
        if not whole.train_flops or not whole.forward_flops:
            return None
        rates = [rate for rate in self._rates if _may_serve(config, rate.measured)]
        if not rates:
            return None
        size = math.log(whole.forward_flops)
        nearest = min(rates, key=lambda rate: abs(math.log(rate.forward_flops) - size))
        seconds = whole.train_flops / config.train.epochs / nearest.flops_per_s
        return seconds, f"scaled by FLOPs from another shape, measured in {nearest.measured.where}"

    @cached_property
    def _rates(self) -> list[Rate]:
        """The rate of each shape whose FLOPs are known; reads one configuration a shape."""
        rates = []
        for measured in self._shapes.values():
            config, whole = _priced(measured.example)
            if config is not None and whole.train_flops and whole.forward_flops:
                flops = whole.train_flops / config.train.epochs
                seconds = statistics.median(measured.seconds)
                rates.append(Rate(flops / seconds, whole.forward_flops, measured))
        return rates


def _may_serve(config: Config, measured: Measured) -> bool:
    """Return whether the runs were on a device that the configuration may get."""
    return config.device != "cpu" or measured.hardware == {cpu_name()}


def _priced(run: Path) -> tuple[Config | None, Cost]:
    """Return a run's configuration and cost; (None, UNKNOWN) if this version cannot read them.

    The stored configuration may be of another version, and its images may be gone.
    """
    try:
        config = OmegaConf.to_object(restore(yaml.safe_load((run / "config.yaml").read_text())))
        assert isinstance(config, Config)
        return config, cost(config, num_images)
    except Exception:  # a run that cannot be priced is no base of an estimate
        return None, UNKNOWN
