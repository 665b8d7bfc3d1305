"""A number is refused in a YAML file where true or false is asked for."""

from __future__ import annotations

import pytest
from hydra._internal.utils import create_config_search_path
from omegaconf import OmegaConf

from crate.config.commandline.yaml_truths import require_truths
from crate.errors import UserError
from crate.paths import CONF
from tests.launching import launch


def test_a_number_is_neither_true_nor_false_in_a_users_file(tmp_path):
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "odd.yaml").write_text("defaults: [sgd, _self_]\nnesterov: 7\n")
    done = launch(f"--config-dir={tmp_path}", "optimizer=odd", "--cfg=job")
    assert done.returncode == 1
    assert f"optimizer.nesterov: 7 in {tmp_path / 'optimizer' / 'odd.yaml'}" in done.stderr


def test_all_of_them_are_named_with_their_keys():
    content = OmegaConf.create({"train": {"decay_all": 5, "recompute": 2}, "rerun": 1, "seed": 5})
    with pytest.raises(UserError) as error:
        require_truths(content, "", CONF / "experiment" / "mine.yaml")
    assert "train.decay_all: 5" in str(error.value) and "train.recompute: 2" in str(error.value)
    assert "rerun" not in str(error.value) and "seed" not in str(error.value)


def test_the_files_of_the_checkout_are_read_with_the_check():
    paths = [element.path for element in create_config_search_path(str(CONF)).get_path()]
    assert paths.index(f"conf://{CONF}") < paths.index(str(CONF))
    elsewhere = create_config_search_path("/somewhere/else").get_path()
    assert not any(str(element.path).startswith("conf://") for element in elsewhere)
