"""An override is rewritten only where Hydra would read another value than the one typed."""

from __future__ import annotations

import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString

from crate.config.commandline.config_dir import options_by_group
from crate.config.commandline.flags import ALIASES, take_apart
from crate.config.commandline.overrides import normal
from crate.errors import UserError
from crate.paths import CHECKOUT, CONF

# What is typed -> the values that Hydra reads, after the type of the key.
READ = {
    "train.epochs=1e3": [1000],
    "train.epochs=1e2,2.5e2": [100, 250],
    "train.epochs=range(1e1,3e1,1e1)": [10, 20],
    "train.epochs=1.5": [1.5],
    "train.epochs=1e-3": [0.001],
    "train.epochs=1e400": [float("inf")],
    "model.patch_size=[4.0,8]": [[4, 8]],
    "optimizer.lr=1e-3": [0.001],
    "optimizer.lr=1e0": [1.0],
    "model.kwargs.width=1e3": [1000.0],
    "name=1e400": ["1e400"],
    "name=007": ["007"],
    "name=true": ["true"],
    "name=null": [None],
    "name=it's": ["it's"],
    "name=a,1e3": ["a", "1e3"],
    "name=/a(b)": ["/a(b)"],
    "tracker.entity=~me": ["~me"],
    "model.kwargs.file=~/x": ["~/x"],
    "precision=bf16,fp32": ["bf16", "fp32"],
    "outputs=${oc.env:HOME}/x": ["${oc.env:HOME}/x"],
    "deterministic=1": [1],
    "+train.epochs=2": [2],
}


@pytest.mark.parametrize("text", READ)
def test_a_value_is_read_by_the_type_of_its_key(text):
    override = OverridesParser.create().parse_override(normal(text))
    values = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
    read = [value.text if isinstance(value, QuotedString) else value for value in values]
    assert read == READ[text] and list(map(type, read)) == list(map(type, READ[text]))
    assert normal(normal(text)) == normal(text)


@pytest.mark.parametrize("text", ["seed=1", "~seed", "a=b=[", "+model.kwargs.x=1", "word"])
def test_other_overrides_are_not_rewritten(text):
    assert normal(text) == text


def test_a_value_of_a_switch_is_true_or_false():
    for text in ("deterministic=2", "train.decay_all=true,7", "rerun=-1"):
        with pytest.raises(UserError, match="is neither true nor false"):
            normal(text)


def test_every_flag_of_the_authors_scripts_is_answered_as_the_readme_does():
    groups = options_by_group([CONF])
    row = re.compile(r"\| `(?:\S+\.py )?(--\S+) (\S+)`[^|]*\| `?([^`|]+)")
    table = row.findall((CHECKOUT / "README.md").read_text())
    checked = set()
    for flag, value, ours in table:
        (error,) = take_apart([flag, value], groups).errors
        if value == "DATA_DIR":
            assert f"data.root={value}" in error.fix and f"data.root={value}" in ours
        elif "=" in ours and not ours.startswith("experiment="):
            assert error.fix == ours
        checked.add(flag.lstrip("-").replace("-", "_"))
    assert len(checked) > 10 and checked >= set(ALIASES) - {"learning_rate", "lambda", "eta"}
