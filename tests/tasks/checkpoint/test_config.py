"""Checkpoints whose stored configuration is damaged are refused by name."""

from __future__ import annotations

import copy
from contextlib import suppress

import pytest
import torch

from crate.config import schema
from crate.config.check import typed
from crate.data.completion import complete
from crate.errors import UserError
from crate.tasks.checkpoint.config import stored


def change(*keys, to):
    def changed(config):
        config = copy.deepcopy(config)
        node = config
        for key in keys[:-1]:
            node = node[key]
        if to is None:
            del node[keys[-1]]
        else:
            node[keys[-1]] = to
        return config

    return changed


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda config: [1], "its configuration is list, not named values"),
        (lambda config: {}, "model has no _target_"),
        (change("data", to=None), "data has no _target_"),
        (change("model", to=3), "model has no _target_"),
        (change("model", "_target_", to=7), "model has no _target_"),
        (change("model", "depth", to="deep"), "deep"),
        (change("train", to=[1]), "damaged or of another version"),
        (change("schemas", to=[1]), "schemas is not a mapping"),
        (change("nonsense", to=1), "nonsense"),
    ],
)
def test_a_checkpoint_whose_configuration_is_damaged_is_refused(composed, tmp_path, damage, reason):
    cfg = composed("model=crate_nano")
    config = damage(schema.dump(typed(cfg, complete(cfg))))
    file = tmp_path / "best.pt"
    torch.save({"config": config, "model": {"w": torch.zeros(1)}, "signature": "a"}, file)
    for task in ("evaluate", "export"):
        cfg = composed(f"task={task}", f"checkpoint={file}")
        with pytest.raises(UserError) as error:
            stored(cfg, [f"task={task}", f"checkpoint={file}"])
        assert str(file) in str(error.value) and reason in str(error.value), error.value


@pytest.mark.parametrize("keys", [("data", "img_size"), ("data", "mean"), ("model", "img_size")])
def test_a_configuration_that_lacks_a_value_is_read_or_refused(composed, tmp_path, keys):
    cfg = composed("model=crate_nano")
    config = change(*keys, to=None)(schema.dump(typed(cfg, complete(cfg))))
    file = tmp_path / "best.pt"
    torch.save({"config": config, "model": {"w": torch.zeros(1)}}, file)
    for words in (["task=evaluate"], ["task=evaluate", "data=cifar10"]):
        words = [*words, f"checkpoint={file}"]
        with suppress(UserError):
            typed(stored(composed(*words), words)[0])
