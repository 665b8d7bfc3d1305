"""Every timm model fits the data's images and classes, or is refused with a clear message."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.models import _builder
from timm.optim import param_groups_weight_decay

from crate.errors import UserError
from crate.model import CRATE
from crate.model.from_timm import ArgumentError, check, create
from crate.tasks.identity import prepare
from crate.train.optimizers.optimizer import parameter_groups

# Convnets, which have no argument img_size, and transformers, which are built for one size.
NAMES = ["resnet10t", "mobilenetv3_small_050", "vit_tiny_patch16_224", "levit_128s"]


def kwargs(name, size=32, **more):
    facts = {"model_name": name, "img_size": size, "in_chans": 1, "num_classes": 10}
    return facts | more


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_timms_own_fitted_to_the_data(name, monkeypatch):
    monkeypatch.setattr(_builder, "load_pretrained", lambda *_, **__: pytest.fail("downloads"))
    check((1, 32, 32), 10, **kwargs(name, pretrained=False))
    torch.manual_seed(0)
    ours = create(**kwargs(name)).eval()
    torch.manual_seed(0)
    size = {"img_size": 32} if timm.get_pretrained_cfg_value(name, "fixed_input_size") else {}
    theirs = timm.create_model(name, in_chans=1, num_classes=10, **size).eval()
    x = torch.randn(2, 1, 32, 32)
    assert type(ours) is type(theirs) and ours(x).shape == (2, 10)
    assert torch.equal(ours(x), theirs(x))


def test_timm_builds_crate_and_accepts_a_pair_as_image_size():
    model = create(**kwargs("crate_tiny_patch16_224", [16, 32], patch_size=8, depth=1))
    assert isinstance(model, CRATE) and model.patch_embed.grid_size == (2, 4)


def test_a_size_that_the_check_refuses_fails_on_the_cpu_and_the_suggested_one_works():
    with pytest.raises(
        ArgumentError, match=r"does not fit.*\n  allowed: 32, 64,.* pixels"
    ) as refused:
        check((1, 16, 16), 10, **kwargs("convnext_atto", 16))
    assert refused.value.instead == {"img_size": 32}
    with pytest.raises(RuntimeError):
        create(**kwargs("convnext_atto", 16))(torch.zeros(2, 1, 16, 16))
    assert create(**kwargs("convnext_atto"))(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (kwargs("resnet10t", num_classes=7), "it gives 1 x 7"),
        (kwargs("resnet10t", in_chans=3), "does not fit"),
        (kwargs("resnet10t", features_only=True), "it gives list"),
        (kwargs("vit_tiny_patch16_224", 64), "Input height"),
        (kwargs("resnet10tt"), "timm has no model resnet10tt; did you mean resnet10t?"),
        (kwargs("resnet18.nothing"), "timm has no model resnet18.nothing"),
        (kwargs("crate_tiny_patch16_224", sparsty=1), "allowed: sparsity, "),
    ],
)
def test_a_model_that_cannot_train_is_refused(given, message):
    with pytest.raises(ValueError) as refused:
        check((1, 32, 32), 10, **given)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("model.kwargs.model_name=convnext_atto data.img_size=16", "data.img_size=32"),
        ("model.kwargs.model_name=resnet10tt", "model.kwargs.model_name=resnet10t"),
        (
            "model.kwargs.model_name=crate_tiny_patch16_224 +model.kwargs.sparsty=1",
            "+model.kwargs.sparsity=VALUE",
        ),
        ("model.kwargs.model_name=resnet10t +model.kwargs.qqq=1", "no model.kwargs.qqq"),
    ],
)
def test_the_error_names_what_to_type(composed, typed, fix):
    with pytest.raises(UserError) as refused:
        prepare(composed("model=timm", "precision=fp32", *typed.split()))
    assert refused.value.fix == fix and refused.value.allowed
    assert str(refused.value).endswith(f"  type:    {fix}")


def test_a_model_with_dynamic_img_size_may_differ_from_the_size_of_the_data():
    check((1, 32, 32), 10, **kwargs("vit_tiny_patch16_224", 64, dynamic_img_size=True))


def test_weights_that_timm_does_not_have_get_a_clear_error():
    check((1, 32, 32), 10, **kwargs("crate_tiny_patch16_224", patch_size=16, pretrained=True))
    with pytest.raises(ValueError, match="cannot load its weights: No pretrained weights exist"):
        create(**kwargs("crate_tiny_patch16_224", pretrained=True))


def test_what_xcit_names_by_a_pattern_is_left_undecayed_as_timm_does():
    model = create(**kwargs("xcit_nano_12_p16_224"))
    theirs = param_groups_weight_decay(model, 0.1, no_weight_decay_list=model.no_weight_decay())
    ours = parameter_groups(model, 0.1, decay_all=False)
    undecayed, expected = (
        {id(w) for group in groups if not group["weight_decay"] for w in group["params"]}
        for groups in (ours, theirs)
    )
    assert undecayed == expected
