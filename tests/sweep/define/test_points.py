"""A sweep file and a command line give the same points as a list written by hand."""

from __future__ import annotations

from itertools import product

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from crate.config.schema import Objective, Sweep
from crate.errors import UserError
from crate.paths import CHECKOUT, CONF
from crate.sweep.define.count import num_values
from crate.sweep.define.files import read, register, sweep_files
from crate.sweep.define.points import points
from crate.tasks.identity import prepare
from tests.launching import TINY, launch

FILES = sweep_files([])
parser = OverridesParser.create()


def sweep(**fields):
    return Sweep(**{"name": "mine", "question": "?", "seeds": [], **fields})


def test_grids_are_crossed_and_the_seed_changes_fastest():
    made = points(
        sweep(
            grid={"model.sparsity": "0.1,0.5", "model.depth": [1, 2], "train.epochs": 3},
            seeds=[4, 7],
        ),
        ["model=crate_tiny"],
    )
    assert made == [
        [
            "model=crate_tiny",
            f"model.sparsity={a}",
            f"model.depth={d}",
            "train.epochs=3",
            f"seed={s}",
        ]
        for a, d, s in product(("0.1", "0.5"), (1, 2), (4, 7))
    ]


def test_keys_of_zip_go_together():
    zipped = {"optimizer.lr": [1e-3, 1e-4], "optimizer.weight_decay": "0.1,1.0"}
    made = points(sweep(grid={"seed": "range(2)"}, zip=zipped), [])
    pairs = (("0.001", "0.1"), ("0.0001", "1.0"))
    assert made == [
        [f"seed={seed}", f"optimizer.lr={lr}", f"optimizer.weight_decay={decay}"]
        for seed in (0, 1)
        for lr, decay in pairs
    ]


def test_what_is_typed_replaces_a_key_or_adds_one():
    grid = {"model.sparsity": "0.1,0.5", "model.depth": "1,2"}
    made = points(sweep(grid=grid, seeds=[0, 1]), ["model.depth=3", "train.epochs=1,2", "seed=9"])
    assert made == [
        ["model.depth=3", "seed=9", f"train.epochs={epochs}", f"model.sparsity={value}"]
        for epochs in (1, 2)
        for value in ("0.1", "0.5")
    ]


def test_values_of_yaml_are_read_by_the_type_of_their_key():
    grid = {"train.clip_norm": [None, 1], "train.epochs": ["1e1", 20.0], "init_from": ["/a=b.pt"]}
    made = points(sweep(grid=grid), [])
    parsed = [[each.value() for each in parser.parse_overrides(point)] for point in made]
    assert parsed == [[clip, epochs, "/a=b.pt"] for clip in (None, 1) for epochs in (10, 20)]


def test_excluded_points_are_left_out_and_not_all_of_them():
    grid = {"model.sparsity": [0.1, 0.5], "model.step_size": [0.1, 0.5]}
    row = {"model.sparsity": 0.5, "model.step_size": 0.1}
    made = points(sweep(grid=grid, exclude=[row]), [])
    assert ["model.sparsity=0.5", "model.step_size=0.1"] not in made and len(made) == 3
    with pytest.raises(UserError, match="excludes all of its 1 points"):
        points(sweep(grid=grid, exclude=[row]), ["model.sparsity=0.5", "model.step_size=0.1"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"zip": {"a": [1, 2], "b": [1, 2, 3]}}, "differ in length: a has 2, b has 3"),
        ({"grid": {"a": [1]}, "baseline": {"b": 1}}, "baseline names b, which is not swept"),
        ({"grid": {"a": [1]}, "exclude": [{"c": 1}]}, "exclude names c, which is not swept"),
        ({"grid": {"a": "interval(0,1)"}}, "no end of values"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        points(sweep(**fields), [])


def test_a_file_with_an_unknown_key_is_refused(tmp_path):
    (tmp_path / "typo.yaml").write_text("gird: {seed: 1}\n")
    with pytest.raises(UserError, match="there is no key gird\n  allowed: grid"):
        read(tmp_path / "typo.yaml")
    (tmp_path / "torn.yaml").write_text("grid: {seed: 1\n")
    with pytest.raises(UserError, match="torn.yaml is not YAML"):
        read(tmp_path / "torn.yaml")


def test_every_sweep_of_the_checkout_was_found():
    assert set(FILES) == {file.stem for file in (CHECKOUT / "sweeps").iterdir()}
    assert len(FILES) == 9


@pytest.mark.parametrize("name", FILES)
def test_every_point_of_every_sweep_composes_and_is_checked(name):
    register([])
    typed = OmegaConf.merge(OmegaConf.structured(Sweep), read(FILES[name]))
    definition = OmegaConf.to_object(typed)
    made = points(definition, [f"sweep={name}"])
    assert len(made) == len({tuple(point) for point in made})
    swept = [dict(override.split("=", 1) for override in point[1:]) for point in made]
    metric = definition.metric or Objective().metric
    for row in [definition.baseline, *definition.published]:
        values = {key: str(value) for key, value in row.items() if key != metric}
        assert any(values.items() <= point.items() for point in swept), row
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for point in made:
            config = prepare(compose("config", overrides=point))
            assert config.sweep.name == name and config.sweep.question.endswith("?")


def test_a_users_sweep_file_runs_and_trains_nothing_twice(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "question: Does it run?\ngrid: {model.sparsity: [0.1, 0.5]}\nseeds: [0, 1]\n"
    )
    ours = (f"--config-dir={tmp_path}", *TINY, "sweep=mine")
    typed = (*ours, "train.epochs=1", f"outputs={tmp_path}")
    first = launch(*typed)
    assert first.returncode == 0, first.stderr
    assert "0 done, 0 at work already, 4 to run" in first.stdout
    assert first.stdout.count("val/top1 last") == len(list((tmp_path / "runs").iterdir())) == 4
    again = launch(*typed, "seed=1", "model.sparsity=0.5,0.1")
    assert "2 done, 0 at work already, 0 to run" in again.stdout, again.stdout
    assert len(list((tmp_path / "runs").iterdir())) == 4


def test_every_point_is_checked_before_the_first_one_starts(tmp_path):
    values = "model.sparsity=0.1,-3,-4,many"
    done = launch("sweep=sparsity", values, "model.num_heads=5", f"outputs={tmp_path}")
    assert done.returncode == 1 and not done.stdout
    for text in ("model.sparsity=-3 is out", "model.sparsity=-4 is out", "model.sparsity=many"):
        assert text in done.stderr, done.stderr
    assert done.stderr.count("model.num_heads=5 does not divide") == 1
    assert "Traceback" not in done.stderr and not (tmp_path / "runs").exists()


def test_too_many_points_are_counted_and_refused_before_they_are_made():
    grid = {"model.sparsity": "range(1000000000)", "model.depth": [1, 2]}
    with pytest.raises(UserError, match=r"6,000,000,000 points \(3 x 1,000,000,000 x 2\)"):
        points(sweep(grid=grid), ["seed=0,1,2"])
    with pytest.raises(UserError, match="hydra.sweeper.max_points=12"):
        points(sweep(grid={"seed": "range(0, 12)"}), [], max_points=11)
    assert len(points(sweep(grid={"seed": "range(0, 12)"}), [], max_points=12)) == 12
    zipped = {"model.depth": "range(1,200001)", "model.num_heads": "range(1,200001)"}
    with pytest.raises(UserError, match="the sweep has 200,000 points\n"):
        points(sweep(zip=zipped), [])


@pytest.mark.parametrize("text", ["range(0,1,0.1)", "range(10,0,-3)", "range(5)", "1,2,3", "4"])
def test_values_are_counted_as_hydra_lists_them(text):
    override = OverridesParser.create().parse_override(f"key={text}")
    listed = [*override.sweep_iterator()] if override.is_sweep_override() else [text]
    assert num_values(override) == len(listed)
