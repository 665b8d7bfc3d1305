"""The name, tags and values that a sweep gives to Weights & Biases for each point."""

from __future__ import annotations

from crate.config.label import short_names, short_path
from crate.config.schema import Config, Sweep, Wandb
from crate.sweep.define.swept import Values, is_baseline

LONGEST_NAME, LONGEST_TAG = 128, 64  # characters, by W&B's limits


def describe(config: Config, swept: Values, values: Values) -> None:
    """Fill in the name, tags, swept values and published result of a wandb tracker.

    `values` are all overrides of the point by key, `swept` those that differ between points. Values
    that the user typed for the tracker stay.
    """
    tracker, sweep = config.tracker, config.sweep
    if not isinstance(tracker, Wandb):
        return
    tracker.swept = tracker.swept or swept
    tracker.name = tracker.name or run_name(swept, config.seed)
    if sweep is None:
        return
    tracker.published = _published(sweep, swept, sweep.metric or config.objective.metric)
    tags = [sweep.name, *(["baseline"] if is_baseline(sweep.baseline, values) else [])]
    tracker.tags = [*tracker.tags, *(tag for tag in tags if tag not in tracker.tags)]
    tracker.tags = [tag for tag in tracker.tags if len(tag) <= LONGEST_TAG]


def run_name(swept: Values, seed: int) -> str:
    """Return the name of a run, `sparsity=0.5 seed=1`: its swept values and its seed.

    A value that would make the name longer than W&B allows is left out.
    """
    names = short_names(swept)
    last = f"seed={seed}"
    left, words = LONGEST_NAME - len(last), []
    for key, value in swept.items():
        word = f"{names[key]}={short_path(str(value))}"
        if key != "seed" and len(word) < left:
            words.append(word)
            left -= len(word) + 1
    return " ".join([*words, last])


def _published(sweep: Sweep, swept: Values, metric: str) -> Values:
    """Return the published values of a point, without its swept values."""
    published: Values = {}
    for row in sweep.published:
        keys = row.keys() & swept.keys()
        if keys and metric in row and all(row[key] == swept[key] for key in keys):
            published |= {key: value for key, value in row.items() if key not in swept}
    return published
