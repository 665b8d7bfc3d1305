"""timm's tools that look inside a model give the tensors of CRATE's trace."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.data import resolve_model_data_config
from timm.layers import set_fused_attn
from timm.models import get_model_input_config
from timm.optim import create_optimizer_v2
from timm.utils import AttentionExtract

from crate.model import Trace

NAME = "crate_tiny_patch16_224"
SMALL = {
    "img_size": (8, 12),
    "patch_size": 4,
    "num_classes": 3,
    "embed_dim": 12,
    "depth": 3,
    "num_heads": 3,
}


def small(**arguments):
    torch.manual_seed(0)
    return timm.create_model(NAME, **(SMALL | arguments)).double()


def images():
    return torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(1)).double()


def traced(model):
    trace = Trace(attention=True)
    with torch.no_grad():
        model(images(), trace=trace)
    return trace.layers


def as_map(tokens):
    """Return the patches on their 2 x 3 grid, one by one: (B, 7, d) -> (B, d, 2, 3)."""
    rows = [[tokens[:, 1 + 3 * row + column] for column in range(3)] for row in range(2)]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


@pytest.fixture
def explicit_attention():
    """Switch timm to explicit attention for the models that a test builds."""
    set_fused_attn(False)
    yield
    set_fused_attn(True)


@pytest.mark.parametrize(("wanted", "layers"), [((0, 2), [0, 2]), ((-1,), [2]), (2, [1, 2])])
def test_feature_extraction_gives_the_traces_tokens_on_their_grid(wanted, layers):
    model = small()
    extractor = small(features_only=True, out_indices=wanted)
    extractor.model.load_state_dict(model.state_dict(), strict=False)
    records = traced(model)
    for feature, layer in zip(extractor(images()), layers, strict=True):
        torch.testing.assert_close(feature, as_map(records[layer].tokens_out))
    assert extractor.feature_info.channels() == [12] * len(layers)
    assert extractor.feature_info.reduction() == [4] * len(layers)


@pytest.mark.parametrize("kind", ["fx", "hook"])
def test_feature_extraction_by_graph_and_by_hook_gives_the_traces_tokens(kind):
    records = traced(small())
    features = small(features_only=True, out_indices=(0, 2), feature_cls=kind)(images())
    for feature, layer in zip(features, (0, 2), strict=True):
        torch.testing.assert_close(feature, records[layer].tokens_out)


def test_an_extractor_holds_no_layer_that_it_does_not_need():
    extractor = small(features_only=True, out_indices=(0, 1))
    names = [name for name, _ in extractor.model.named_parameters()]
    assert not [name for name in names if name.startswith(("layers.2", "fc_norm", "head"))]


def test_intermediates_in_every_form():
    model, x = small(), images()
    records = traced(model)
    final, features = model.forward_intermediates(x)
    assert torch.equal(final, model.forward_features(x)) and len(features) == 3
    assert torch.equal(model.forward_head(final), model(x))
    (pair,) = model.forward_intermediates(
        x, indices=[1], return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
    )
    torch.testing.assert_close(torch.cat(pair[::-1], dim=1), records[1].tokens_out)
    early, _ = model.forward_intermediates(x, indices=[1], stop_early=True)
    torch.testing.assert_close(early, records[1].tokens_out)
    (normed,) = model.forward_intermediates(
        x, 1, norm=True, return_prefix_tokens=True, intermediates_only=True
    )
    torch.testing.assert_close(normed[1][:, 0], model.forward_head(final, pre_logits=True))
    with pytest.raises(ValueError, match=r"output_fmt: given 'NHWC', allowed NCHW or NLC"):
        model.forward_intermediates(x, output_fmt="NHWC")


def test_pruning_keeps_what_the_intermediates_need():
    model, x = small(), images()
    expected = model.forward_intermediates(x, [0, 1], norm=True, intermediates_only=True)
    assert model.prune_intermediate_layers([0, -2]) == [0, 1]
    assert (len(model.layers), model.num_classes) == (2, 0)
    pruned = model.forward_intermediates(x, [0, 1], norm=True, intermediates_only=True)
    for ours, theirs in zip(pruned, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("method", ["fx", "hook"])
def test_attention_extract_finds_the_traces_maps_by_its_own_names(explicit_attention, method):
    model = small()
    records = traced(model)
    maps = AttentionExtract(model, method=method)(images())
    assert len(maps) == 3
    for attention, layer in zip(maps.values(), records, strict=True):
        torch.testing.assert_close(attention, layer.attention)


def test_the_switch_for_explicit_attention_changes_no_logit_and_no_name(explicit_attention):
    explicit = small()
    set_fused_attn(True)
    fused = small()
    assert not explicit.layers[0].mssa.fused_attn and fused.layers[0].mssa.fused_attn
    assert explicit.state_dict().keys() == fused.state_dict().keys()
    torch.testing.assert_close(explicit(images()), fused(images()))


def test_gradient_checkpointing_computes_layers_twice_and_gives_the_same_gradients():
    plain, thrifty = small().train(), small().train()
    thrifty.set_grad_checkpointing()
    calls = []
    thrifty.layers[1].register_forward_pre_hook(lambda *_: calls.append(1))
    for model in (plain, thrifty):
        model(images()).square().sum().backward()
    assert len(calls) == 2
    for one, other in zip(plain.parameters(), thrifty.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    traced(thrifty)
    thrifty.set_grad_checkpointing(False)
    thrifty(images()).sum().backward()
    assert len(calls) == 4  # once for the trace, once without checkpointing


def test_layer_decay_shrinks_the_rate_layer_by_layer_from_the_head_down():
    model = small()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1.0, layer_decay=0.5)
    scales = {
        id(weight): group["lr_scale"]
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    depths = {"patch_embed": 4, "cls_token": 4, "pos_embed": 4, "fc_norm": 0, "head": 0}
    depths |= {f"layers.{i}": 3 - i for i in range(3)}
    for name, weight in model.named_parameters():
        (below,) = [depth for start, depth in depths.items() if name.startswith(start)]
        assert scales[id(weight)] == 0.5**below, name


def test_timm_knows_what_images_a_model_takes():
    model = small(in_chans=1)
    assert get_model_input_config(model)["input_size"] == (1, 8, 12)
    assert resolve_model_data_config(timm.create_model(NAME, depth=1))["crop_pct"] == 0.875


@pytest.mark.parametrize("pool", ["token", "avg"])
@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_torchscript_gives_the_same_logits_and_messages(tmp_path, pool):
    model = small(global_pool=pool).eval()
    torch.jit.save(torch.jit.script(model), tmp_path / "model.pt")
    scripted = torch.jit.load(tmp_path / "model.pt")
    assert torch.equal(scripted(images()), model(images()))
    with pytest.raises(torch.jit.Error, match="given 3 x 8 x 8, allowed 3 x 8 x 12"):
        scripted(images()[..., :8])
