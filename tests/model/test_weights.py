"""Weights load completely or not at all, whether our code or the authors' saved them."""

from __future__ import annotations

import re

import pytest
import timm
import torch
import torch.nn.functional as F

from crate.model import CRATE, load_weights
from crate.model.official import convert, is_official

SMALL = {
    "img_size": 16,
    "patch_size": 4,
    "num_classes": 3,
    "embed_dim": 12,
    "depth": 1,
    "num_heads": 3,
}


def resampled(positions: torch.Tensor, old: tuple, new: tuple) -> torch.Tensor:
    """Return positions (1, 1 + rows*columns, d) on another grid, channel by channel; keep CLS."""
    grid = positions[0, 1:].T.reshape(-1, 1, *old)
    grid = F.interpolate(grid, size=new, mode="bicubic", antialias=True)
    return torch.cat([positions[:, :1], grid.reshape(1, -1, new[0] * new[1]).mT], dim=1)


def test_weights_of_the_same_model_load_unchanged_and_without_a_note():
    trained, model = CRATE(**SMALL), CRATE(**SMALL)
    assert load_weights(model, trained.state_dict()) == []
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, trained.state_dict()[name])


@pytest.mark.parametrize(("img_size", "new"), [(32, (8, 8)), (8, (2, 2)), ((16, 24), (4, 6))])
def test_positions_of_another_size_are_interpolated_with_a_note(img_size, new):
    trained, model = CRATE(**SMALL), CRATE(**(SMALL | {"img_size": img_size}))
    notes = load_weights(model, trained.state_dict())
    assert notes == [f"pos_embed: 4 x 4 interpolated (bicubic) to {new[0]} x {new[1]}"]
    expected = resampled(trained.pos_embed.detach(), (4, 4), new)
    torch.testing.assert_close(model.pos_embed.detach(), expected)
    assert torch.equal(model.head.weight, trained.head.weight)
    assert model(torch.randn(1, 3, *model.patch_embed.img_size)).isfinite().all()


def test_loading_leaves_the_given_weights_as_they_were():
    weights = CRATE(**SMALL).state_dict()
    shapes = {name: weight.shape for name, weight in weights.items()}
    load_weights(CRATE(**(SMALL | {"img_size": 32})), weights)
    assert {name: weight.shape for name, weight in weights.items()} == shapes


def test_positions_of_a_rectangle_need_its_grid():
    trained = CRATE(**(SMALL | {"img_size": (8, 24)}))
    model = CRATE(**SMALL)
    message = "given 12 patch positions, which is no square grid, to be interpolated to 4 x 4: pass"
    with pytest.raises(ValueError, match=message):
        load_weights(model, trained.state_dict())
    with pytest.raises(ValueError, match="given 12 patch positions, which is not old_grid 3 x 6"):
        load_weights(model, trained.state_dict(), old_grid=(3, 6))
    notes = load_weights(model, trained.state_dict(), old_grid=(2, 6))
    assert notes == ["pos_embed: 2 x 6 interpolated (bicubic) to 4 x 4"]
    expected = resampled(trained.pos_embed.detach(), (2, 6), (4, 4))
    torch.testing.assert_close(model.pos_embed.detach(), expected)


def test_an_old_grid_of_as_many_patches_but_another_form_is_interpolated():
    trained = CRATE(**(SMALL | {"img_size": (8, 32)}))
    model = CRATE(**SMALL)
    notes = load_weights(model, trained.state_dict(), old_grid=(2, 8))
    assert notes == ["pos_embed: 2 x 8 interpolated (bicubic) to 4 x 4"]
    assert not torch.equal(model.pos_embed, trained.pos_embed)


@pytest.mark.parametrize("no_embed_class", [False, True])
def test_positions_of_timms_vit_are_interpolated_too(no_embed_class):
    changes = {
        "patch_size": 4,
        "embed_dim": 12,
        "depth": 1,
        "num_heads": 3,
        "num_classes": 3,
        "no_embed_class": no_embed_class,
    }
    trained = timm.create_model("vit_tiny_patch16_224", img_size=16, **changes)
    model = timm.create_model("vit_tiny_patch16_224", img_size=24, **changes)
    notes = load_weights(model, trained.state_dict())
    assert notes == ["pos_embed: 4 x 4 interpolated (bicubic) to 6 x 6"]
    assert torch.equal(model.blocks[0].attn.qkv.weight, trained.blocks[0].attn.qkv.weight)


MISFITS = {
    "a weight is missing": (
        lambda weights: weights.pop("layers.0.ista.dictionary"),
        "missing (1): layers.0.ista.dictionary",
    ),
    "a weight is unknown": (
        lambda weights: weights.update(extra=torch.zeros(1)),
        "unexpected (1): extra",
    ),
    "a shape is wrong": (
        lambda weights: weights.update({"head.weight": torch.zeros(5, 12)}),
        "wrong shape (1): head.weight given 5 x 12, expected 3 x 12",
    ),
    "positions are of another width": (
        lambda weights: weights.update(pos_embed=torch.zeros(1, 5, 6)),
        "wrong shape (1): pos_embed given 1 x 5 x 6, expected 1 x 17 x 12",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_weights_that_do_not_fit_are_refused_by_name_and_nothing_is_loaded(case):
    break_it, message = MISFITS[case]
    weights = CRATE(**SMALL).state_dict()
    break_it(weights)
    model = CRATE(**SMALL)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with pytest.raises(ValueError, match=re.escape(message)):
        load_weights(model, weights)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_a_long_list_of_misfits_is_cut_and_counted():
    with pytest.raises(ValueError, match=r"missing \(20\): (\S+, ){5}\.\.\."):
        load_weights(CRATE(**SMALL), {})


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_authors_checkpoint_converts_however_it_was_saved(cls_reference, prefix, wrapped):
    official = {prefix + name: w for name, w in cls_reference.under("state_dict/").items()}
    checkpoint = {"epoch": 3, "state_dict": official} if wrapped else official
    assert is_official(checkpoint)
    model = CRATE(**cls_reference.arguments).double()
    assert load_weights(model, convert(checkpoint)) == []
    torch.testing.assert_close(model(cls_reference["images"]), cls_reference["logits"])


def test_every_single_missing_weight_is_refused_by_name(cls_reference):
    official = cls_reference.under("state_dict/")
    for name in official:
        rest = {other: weight for other, weight in official.items() if other != name}
        with pytest.raises(ValueError, match=re.escape(f"missing {name}; unknown none")):
            convert(rest)


@pytest.mark.parametrize("name", ["norm.weight", "transformer.layers.1.0.fn.to_out.0.scale"])
def test_an_unknown_weight_is_refused_by_name(cls_reference, name):
    official = cls_reference.under("state_dict/") | {name: torch.zeros(1)}
    with pytest.raises(ValueError, match=re.escape(f"missing none; unknown {name}")):
        convert(official)


def test_a_prefix_on_some_names_only_is_refused(cls_reference):
    official = cls_reference.under("state_dict/")
    official["module.cls_token"] = official.pop("cls_token")
    with pytest.raises(ValueError, match=r"missing cls_token; unknown module\.cls_token"):
        convert(official)


def test_one_full_width_head_has_no_output_matrix_to_convert(cls_reference):
    official = cls_reference.under("state_dict/")
    without = {name: weight for name, weight in official.items() if ".to_out." not in name}
    model = CRATE(**(cls_reference.arguments | {"num_heads": 1, "head_dim": 24}))
    assert load_weights(model.double(), convert(without)) == []
    with pytest.raises(ValueError, match=r"missing \(6\): layers.0.mssa.output.weight"):
        load_weights(CRATE(**cls_reference.arguments).double(), convert(without))


def test_our_own_weights_are_not_official():
    weights = CRATE(**SMALL).state_dict()
    assert not is_official(weights)
    with pytest.raises(ValueError, match="unknown pos_embed"):
        convert(weights)
