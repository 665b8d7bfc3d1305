"""Operators of a layer are rows of two tables or classes of the user, as such or by name."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import timm
import torch

from crate.config.schema import CRATE as Schema
from crate.config.target import arguments
from crate.errors import UserError
from crate.model import COMPRESSIONS, CRATE, SPARSIFIERS, Trace
from crate.paths import CHECKOUT
from crate.tasks.identity import prepare
from tests.launching import TINY, launch, run_folder

CODE = '''
from torch import nn

import my_parts


class Mean(nn.Module):
    """Every token gets the mean of all tokens."""

    def __init__(self, dim, num_heads, head_dim):
        super().__init__()
        self.output = nn.Linear(dim, dim)

    def forward(self, tokens, record=None):
        return self.output(tokens.mean(dim=1, keepdim=True)).expand_as(tokens)


class MLP(nn.Sequential):
    has_skip = True

    def __init__(self, dim, step_size, sparsity):
        super().__init__(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))


class Nothing(nn.Identity):
    has_norm = False

    def __init__(self, dim, step_size, sparsity):
        super().__init__()


class Wide(nn.Module):
    def __init__(self, dim, width):
        super().__init__()
'''
SMALL = {"img_size": 8, "patch_size": 4, "num_classes": 3, "embed_dim": 12, "depth": 2}
SMALL["num_heads"] = 3


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Return a folder of the user's own modules, made importable as by --config-dir."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my_operators.py").write_text(CODE)
    (folder / "my_parts.py").write_text("width = 2\n")
    (folder / "model").mkdir()
    head = "defaults: [crate_nano, _self_]\n"
    (folder / "model" / "mean.yaml").write_text(f"{head}compression: my_operators.Mean\n")
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))


def images():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_names_that_the_configuration_knows_are_the_rows():
    """Code without torch reads the names from the schema; both have to be changed together."""
    choices = {name: field.metadata["choices"] for name, field in fields(Schema).items()}
    assert choices["compression"] == tuple(COMPRESSIONS)
    assert choices["sparsifier"] == tuple(SPARSIFIERS)


def fields(schema):
    return schema.__dataclass_fields__


@pytest.mark.parametrize("as_class", [False, True])
def test_a_users_operators_take_the_places_of_mssa_and_ista(mine, as_class):
    import my_operators

    torch.manual_seed(0)
    given = {"compression": "my_operators.Mean", "sparsifier": "my_operators.MLP"}
    if as_class:
        given = {"compression": my_operators.Mean, "sparsifier": my_operators.MLP}
    model, trace = CRATE(**SMALL, **given), Trace(attention=True)
    assert model(images(), trace=trace).shape == (2, 3)
    for layer, record in zip(model.layers, trace.layers, strict=True):
        half = record.tokens_in + layer.mssa(layer.norm1(record.tokens_in))
        assert torch.equal(record.half, half)
        assert torch.equal(record.tokens_out, half + layer.ista(layer.norm2(half)))
        assert record.projection is record.attention is None
        assert "compression=my_operators.Mean, sparsifier=my_operators.MLP" in repr(layer)
    again = CRATE(**SMALL, **given)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(images()), model(images()))


def test_a_sparsifier_without_norm_leaves_the_stream_as_it_is(mine):
    model, trace = CRATE(**SMALL, sparsifier="my_operators.Nothing"), Trace()
    model(images(), trace=trace)
    assert not any("norm2" in name for name, _ in model.named_parameters())
    assert all(torch.equal(each.half, each.tokens_out) for each in trace.layers)


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_timm_builds_a_model_with_a_users_operator_and_torchscript_compiles_it(mine):
    arguments = SMALL | {"sparsifier": "my_operators.MLP"}
    model = timm.create_model("crate_tiny_patch16_224", **arguments)
    assert type(model.layers[0].ista).__name__ == "MLP"
    assert "sparsifier=ista" in repr(CRATE(**SMALL).layers[0])
    scripted = torch.jit.script(model.eval())
    assert torch.equal(scripted(images()), model(images()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mhssa", r"compression: given 'mhssa', allowed mssa, a class, or its dotted name"),
        ("nowhere.Mean", "given 'nowhere.Mean', which cannot be imported: No module"),
        ("torch.nn.Meen", "given 'torch.nn.Meen', but torch.nn has no class Meen"),
    ],
)
def test_an_operator_that_is_not_there_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        CRATE(**SMALL, compression=name)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            "model.compression=mhssa",
            "model.compression=mhssa is unknown\n"
            "  allowed: mssa, the dotted name of your class\n"
            "  type:    model.compression=mssa",
        ),
        (
            "model.sparsifier=nowhere.Soft",
            "model.sparsifier=nowhere.Soft cannot be imported: No module named 'nowhere'\n"
            "  allowed: a module in the checkout, in --config-dir or installed\n"
            "  type:    --config-dir=FOLDER, the folder that holds nowhere",
        ),
        (
            "model.sparsifier=my_operators.Wide",
            "model.sparsifier: my_operators.Wide cannot be called as Wide(dim, step_size, sparsity)"
            ": too many positional arguments\n"
            "  allowed: a class that takes dim, step_size, sparsity",
        ),
    ],
)
def test_a_wrong_name_is_refused_before_anything_starts(composed, mine, typed, message):
    with pytest.raises(UserError) as refused:
        prepare(composed(typed))
    assert str(refused.value) == message


def test_a_target_without_these_parameters_is_called_as_before(composed):
    assert not {"compression", "sparsifier"} & arguments(prepare(composed()).model).keys()
    config = prepare(composed("model.compression=torch.nn.RNN"))
    assert arguments(config.model)["compression"] == "torch.nn.RNN"


def test_a_users_operators_train_and_their_code_is_recorded(mine, tmp_path):
    typed = ("model=mean", "model.sparsifier=my_operators.MLP", *TINY, "train.epochs=1")
    typed += ("schedule.warmup_epochs=0", "device=cpu", f"outputs={tmp_path}")
    done = launch(f"--config-dir={mine}", *typed)
    assert done.returncode == 0, done.stdout + done.stderr
    run = run_folder(tmp_path)
    code = json.loads((run / "meta.json").read_text())["code"]
    assert {str(mine / "my_operators.py"), str(mine / "my_parts.py")} <= code.keys()
    weights = torch.load(run / "checkpoints" / "best.pt")["model"]
    assert "layers.1.ista.2.bias" in weights and "layers.1.mssa.output.weight" in weights
    checkpoint = f"checkpoint={run / 'checkpoints' / 'best.pt'}"
    evaluated = launch(f"--config-dir={mine}", "task=evaluate", checkpoint)
    assert evaluated.returncode == 0, evaluated.stdout + evaluated.stderr
    exported = launch(f"--config-dir={mine}", "task=export", checkpoint)
    lines = re.findall(r"^(?:import|sys\.path|model =).*", exported.stdout, re.MULTILINE)
    program = "\n".join([*lines, "print(type(model.layers[0].mssa), type(model.layers[0].ista))"])
    command = [sys.executable, "-c", program]
    used = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    assert used.stdout == "<class 'my_operators.Mean'> <class 'my_operators.MLP'>\n", used.stderr
