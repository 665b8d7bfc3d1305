"""`--help` and docs/configuration.md explain every key as the schema does."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import pytest

from crate.config.reference import document, groups
from crate.config.reference.help import answer
from crate.config.reference.nodes import keys
from crate.config.schema import SCHEMAS, Config
from crate.errors import UserError
from crate.paths import CONF
from crate.sweep.launchers import LAUNCHERS
from crate.sweep.options import Sweeper

HYDRA = {
    "hydra.launcher": [each.options_type for each in LAUNCHERS.values()],
    "hydra.sweeper": (Sweeper,),
}


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


def paths_of(node, at=""):
    """Return every dotted key of a typed node, by walking a value instead of its declarations."""
    for entry in fields(node):
        value = getattr(node, entry.name)
        if is_dataclass(value):
            yield from paths_of(value, f"{at}{entry.name}.")
        else:
            yield f"{at}{entry.name}"


def every_key():
    named = set(paths_of(Config())) - {"sweep"}
    for group, kinds in (SCHEMAS | HYDRA).items():
        for kind in kinds:
            named |= set(paths_of(kind(), f"{group}."))
    return named


def test_the_reference_has_every_key_of_the_schema():
    sweeps = {key for key in keys() if key.startswith("sweep.")}
    assert set(keys()) - sweeps == every_key() and "sweep.grid" in sweeps


def test_the_page_is_current_and_lists_every_key():
    page = document.FILE.read_text()
    assert page == document.document(), "write it anew: python -m crate.config.reference.document"
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for key in keys():
        if not key.endswith("._target_"):
            assert any(row.startswith(f"| `{key}` |") for row in rows), key


def asked(*topics):
    return answer(["--help", *topics], []).splitlines()


def test_a_key_is_explained():
    lines = [line.split(maxsplit=1) for line in asked("model.sparsity")]
    rows = {words[0]: words[1] for words in lines if len(words) == 2}
    assert rows["model.sparsity:"] == "lambda, weight of the l1 term in ISTA"
    assert (rows["type"], rows["allowed"], rows["default"]) == ("number", "at least 0", "0.1")
    assert "crate_tiny" in rows["options"] and "vit_tiny" not in rows["options"]
    assert rows["declared"] == "crate/config/schema/model.py: CRATE"
    assert ["sweeps/sparsity.yaml:", "[0.02, 0.1, 0.5]"] in lines


@pytest.mark.parametrize(
    ("topic", "lines"),
    [
        ("optimizer.betas", ["default    [0.9, 0.99]  (lion)", "[0.9, 0.999]  (adam, adamw)"]),
        ("lr", ["optimizer.lr: peak learning rate", "conf/optimizer/lion.yaml: 0.0002"]),
        ("train.epochs=3", ["default    as data.suggested.epochs"]),
        ("precision", ["allowed    auto, fp32, bf16, fp16"]),
        ("model.kwargs.model_name", ["set in     conf/model/timm.yaml: ???"]),
        ("hydra.launcher.slots", ["options    every one"]),
        ("optimizer.nesterov", ["options    optimizer=sgd"]),
        ("augment", ["flip_crop       Random resized crop and horizontal flip, as in the paper"]),
        ("train", ["train: how to train"]),
        ("crate_nano", ["conf/model/crate_nano.yaml", "embed_dim: 192"]),
        ("sweep=demo", ["sweeps/demo.yaml", "seeds: [0, 1]"]),
    ],
)
def test_any_key_group_or_option_is_explained(topic, lines):
    lines = [line.strip() for line in asked(topic)]
    for line in lines:
        assert line in lines


def test_every_key_and_group_has_an_answer():
    for topic in (*keys(), *groups.groups(), "data.suggested", "hydra.launcher"):
        assert len(asked(topic)) > 2, topic
    for group in groups.groups():
        text = "\n".join(asked(group))
        assert all(name in text for name in groups.options(group, [CONF]))


def test_an_unknown_word_is_an_error_and_no_word_gives_the_general_help():
    for topic, fix in (("model.sparcity", "--help model.sparsity"), ("data=digit", "data=digits")):
        with pytest.raises(UserError) as error:
            asked(topic)
        assert str(error.value).endswith(fix)
    general = answer(["-h"], [])
    assert answer(["model=vit_tiny", "--help", "--cfg", "job"], []) == general
    assert "--help KEY" in general


def test_a_users_own_options_are_listed(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("# My photographs.\ndefaults: [imagefolder]\n")
    arguments = ["--help", "data.on_corrupt", f"--config-dir={tmp_path}"]
    assert "imagenet1k, mine" in answer(arguments, [tmp_path])
    assert "My photographs" in answer(["--help", "data"], [tmp_path])
