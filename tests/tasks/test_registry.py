"""Tasks are rows of a table or modules of the user, and get a typed configuration."""

from __future__ import annotations

import importlib

import pytest
from omegaconf import OmegaConf

from crate.errors import UserError
from crate.paths import CONF
from crate.tasks import registry
from crate.tasks.registry import TASKS, find
from tests.launching import launch

COUNTING = """
import sys
from crate.config.schema import CRATE, Config
from crate.errors import UserError

def run(request):
    config = request.config()
    assert isinstance(config, Config) and isinstance(config.model, CRATE)
    assert "torch" not in sys.modules or sys.modules["torch"] is None
    if config.seed == 1:
        raise UserError("seed=1 is odd", "an even seed", "seed=2")
    if config.seed == 3:
        raise RuntimeError("three")
    print(f"{config.task} counts {config.model.depth * config.seed} from {request.overrides}")
    return float(config.seed)
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Return a folder for --config-dir: a package and a file with a task each, and a YAML file."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "research").mkdir()
    (folder / "research" / "counting.py").write_text(COUNTING)
    (folder / "alone.py").write_text(COUNTING)
    (folder / "empty_task.py").write_text("runs = 1\n")
    (folder / "piping.py").write_text("def run(request):\n    raise BrokenPipeError(32, 'mine')\n")
    (folder / "task").mkdir()
    (folder / "task" / "count.yaml").write_text("# @package _global_\ntask: research.counting\n")
    (folder / "task" / "lost.yaml").write_text("# @package _global_\ntask: exprot\n")
    return folder


def test_each_row_is_a_module_with_an_option_of_its_name():
    assert {file.stem for file in (CONF / "task").glob("*.yaml")} == TASKS.keys()
    for name, module in TASKS.items():
        assert OmegaConf.load(CONF / "task" / f"{name}.yaml") == {"task": name}
        assert find(name) is importlib.import_module(module)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("evalute", ["no task evalute; did you mean task=evaluate?", "train", "export"]),
        ("profile", ["no task profile", "train, "]),  # a module of Python's own with a `run`
        ("no.such.module", ["No module named 'no'", "--config-dir=FOLDER", "holds no"]),
        ("crate.paths", ["no function run(request)"]),
        ("a b", ["no task a b"]),
    ],
)
def test_a_task_that_cannot_be_found_is_named(name, words):
    with pytest.raises(UserError) as error:
        find(name)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("typed", "task"),
    [
        ("task=research.counting", "research.counting"),
        ("task=alone", "alone"),
        ("task=count", "research.counting"),
    ],
)
def test_a_users_own_task_runs_with_its_typed_configuration(mine, typed, task):
    done = launch(f"--config-dir={mine}", typed, "seed=2", "model.depth=3", torch=False)
    assert done.returncode == 0, done
    assert done.stdout == f"{task} counts 6 from ['{typed}', 'seed=2', 'model.depth=3']\n"


def test_mistakes_beside_a_users_own_task_are_explained(mine):
    words = (f"--config-dir={mine}", "task=research.counting")
    done = launch(*words, "model.depht=3", "model.depth=x", torch=False)
    assert done.returncode == 1 and "model.depth?" in done.stderr and "=x" in done.stderr, done
    assert "task" not in done.stderr and "Traceback" not in done.stderr
    done = launch(*words, "model.depth=-1", torch=False)
    assert done.returncode == 1 and "model.depth=-1 is out of range" in done.stderr, done
    done = launch(*words, "seed=1", torch=False)
    assert done.returncode == 1 and "seed=1 is odd\n  allowed: an even seed" in done.stderr, done
    done = launch(*words, "seed=3", torch=False)
    assert done.returncode == 1 and "RuntimeError: three" in done.stderr, done


def test_a_users_own_task_that_cannot_run_is_an_error(mine):
    done = launch(f"--config-dir={mine}", "task=lost")
    assert done.returncode == 1 and "no task exprot; did you mean task=export?" in done.stderr, done
    done = launch(f"--config-dir={mine}", "task=empty_task")
    assert done.returncode == 1 and "no function run(request)" in done.stderr, done
    done = launch(f"--config-dir={mine}", "task=piping")
    assert done.returncode == 1 and "BrokenPipeError" in done.stderr, "of another pipe than stdout"
    done = launch("task=weigths")
    assert "task has no option weigths\n  allowed: " in done.stderr, "nothing is close to it"
    done = launch("task=research.counting")
    assert done.returncode == 1 and "--config-dir=FOLDER, the folder that holds research" in (
        done.stderr
    ), done


def test_only_a_users_dotted_name_is_registered_as_a_task(monkeypatch):
    stored = []
    store = registry.ConfigStore.instance()
    monkeypatch.setattr(store, "store", lambda name, *_, **__: stored.append(name))
    registry.register(["task=trian", "task=train", "task=profile", "task=__main__"])
    registry.register(["model.task=a.b", "-m"])
    assert stored == []
    registry.register(["+task=a.b", "task=crate.x"])
    assert stored == ["a.b", "crate.x"]
