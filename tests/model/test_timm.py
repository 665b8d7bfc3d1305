"""timm builds the published sizes, and timm's own tools work on them."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.data import resolve_data_config
from timm.optim import param_groups_weight_decay

from crate.model import CRATE
from crate.model.registration import SIZES
from crate.tasks.identity import prepare

NAME = "crate_tiny_patch16_224"
TINY = {
    "img_size": 8,
    "patch_size": 4,
    "num_classes": 3,
    "embed_dim": 12,
    "depth": 2,
    "num_heads": 3,
}

PUBLISHED = {
    "crate_tiny_patch16_224": 6_090_856,
    "crate_small_patch16_224": 13_116_328,
    "crate_base_patch16_224": 22_796_008,
    "crate_large_patch16_224": 77_641_192,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_count_equals_the_published_one(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    assert sum(weight.numel() for weight in model.parameters()) == PUBLISHED[name]


@pytest.mark.parametrize("name", SIZES)
def test_the_configuration_has_the_registered_sizes(composed, name):
    model = prepare(composed(f"model={name.removesuffix('_patch16_224')}")).model
    assert {key: getattr(model, key) for key in SIZES[name]} == SIZES[name]


def test_timm_lists_exactly_the_four_sizes():
    assert set(timm.list_models("crate_*")) == set(PUBLISHED)


def test_every_argument_reaches_the_model():
    model = timm.create_model(
        NAME,
        num_classes=10,
        img_size=(28, 32),
        patch_size=4,
        in_chans=1,
        depth=1,
        step_size=0.5,
        sparsity=0.02,
        global_pool="avg",
    )
    assert isinstance(model, CRATE)
    assert model(torch.randn(2, 1, 28, 32)).shape == (2, 10)
    assert model.patch_embed.grid_size == (7, 8)
    assert (model.layers[0].ista.step_size, model.layers[0].ista.sparsity) == (0.5, 0.02)
    assert (model.global_pool, model.embed_dim, len(model.layers)) == ("avg", 384, 1)


def test_a_checkpoint_path_loads_our_weights(tmp_path):
    trained = CRATE(**TINY)
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    model = timm.create_model(NAME, checkpoint_path=tmp_path / "weights.pt", **TINY)
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(model(x), trained(x))


def test_pretrained_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"given pretrained=True, allowed False.*checkpoint_path="):
        timm.create_model(NAME, pretrained=True, **TINY)


def test_pretrained_with_a_file_loads_it(tmp_path):
    trained = CRATE(**TINY)
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    overlay = {"file": str(tmp_path / "weights.pt"), "num_classes": 3}
    model = timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay=overlay, **TINY)
    assert torch.equal(model.head.weight, trained.head.weight)


def test_a_dropout_rate_of_zero_is_what_crate_has_and_any_other_is_refused():
    assert isinstance(timm.create_model(NAME, drop_rate=0.0, **TINY), CRATE)
    with pytest.raises(TypeError, match="drop_rate"):
        timm.create_model(NAME, drop_rate=0.1, **TINY)


def test_data_configuration_is_the_published_evaluation():
    config = resolve_data_config({}, model=timm.create_model(NAME, depth=1))
    assert config["input_size"] == (3, 224, 224)
    assert config["mean"] == (0.485, 0.456, 0.406)
    assert config["std"] == (0.229, 0.224, 0.225)
    assert (config["crop_pct"], config["interpolation"]) == (0.875, "bilinear")


def test_features_then_head_is_the_forward_pass():
    model, x = CRATE(**TINY), torch.randn(2, 3, 8, 8)
    features = model.forward_features(x)
    assert features.shape == (2, 5, model.num_features)
    assert torch.equal(model.forward_head(features), model(x))
    pre_logits = model.forward_head(features, pre_logits=True)
    assert pre_logits.shape == (2, model.head_hidden_size)
    assert torch.equal(model.get_classifier()(pre_logits), model(x))
    assert model.num_prefix_tokens == features.shape[1] - model.patch_embed.num_patches


def test_reset_classifier_replaces_the_head_and_keeps_dtype_mode_and_pool():
    model = CRATE(**TINY, global_pool="avg").double().eval()
    model.reset_classifier(7)
    assert model(torch.randn(2, 3, 8, 8).double()).shape == (2, 7)
    assert (model.num_classes, model.global_pool) == (7, "avg")
    assert not model.head.training
    model.reset_classifier(0, global_pool="token")
    assert model(torch.randn(2, 3, 8, 8).double()).shape == (2, 12)
    assert model.global_pool == "token"
    with pytest.raises(ValueError, match="global_pool: given 'max', allowed token or avg"):
        model.reset_classifier(5, global_pool="max")


def test_no_classes_leave_an_identity_as_timm_does():
    model = CRATE(**(TINY | {"num_classes": 0}))
    assert isinstance(model.get_classifier(), torch.nn.Identity)


def test_timm_leaves_the_undecayed_weights_undecayed():
    model = CRATE(**TINY)
    names = model.no_weight_decay()
    assert names == {"pos_embed", "cls_token"}
    groups = param_groups_weight_decay(model, weight_decay=0.1, no_weight_decay_list=names)
    undecayed = [group["params"] for group in groups if group["weight_decay"] == 0]
    undecayed = {id(weight) for weights in undecayed for weight in weights}
    assert {id(model.pos_embed), id(model.cls_token)} <= undecayed
    assert id(model.layers[0].ista.dictionary) not in undecayed
