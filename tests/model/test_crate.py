"""The model's parts compute the papers' formulas, and refuse arguments that make no model."""

from __future__ import annotations

import ast
import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import crate
from crate.model import CRATE, ISTA, MSSA, Trace
from crate.model.mssa import _fused_is_slower
from crate.model.patch_embedding import PatchEmbedding
from tests.formulas import attention_columns, ista_columns, ista_three_products, mssa_columns

PACKAGE = Path(crate.__file__).parent
SMALL = {
    "img_size": 8,
    "patch_size": 4,
    "num_classes": 3,
    "embed_dim": 12,
    "depth": 2,
    "num_heads": 3,
}


def small(**changes) -> CRATE:
    torch.manual_seed(0)
    return CRATE(**(SMALL | changes)).double()


def tokens(dim: int = 12, num: int = 5) -> torch.Tensor:
    return torch.randn(2, num, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(("step_size", "sparsity"), [(0.1, 0.1), (0.5, 0.0), (0.02, 2.0)])
def test_ista_equals_its_three_product_and_its_column_form(step_size, sparsity):
    ista, x = ISTA(12, step_size, sparsity).double(), tokens()
    ours, D = ista(x), ista.dictionary
    torch.testing.assert_close(ours, ista_three_products(x, D, step_size, sparsity))
    for image in range(2):
        columns = ista_columns(x[image].T, D, step_size, sparsity)
        torch.testing.assert_close(ours[image], columns.T)


def test_ista_spends_two_matrix_products():
    with FlopCounterMode(display=False) as counter:
        ISTA(12)(tokens().float())
    product = 2 * (2 * 5) * 12 * 12
    assert counter.get_total_flops() == 2 * product


def test_dictionary_is_drawn_kaiming_uniform():
    weights = ISTA(300).dictionary
    bound = (6 / 300) ** 0.5
    assert 0.99 * bound < weights.abs().max() <= bound
    assert weights.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_step_size_and_sparsity_are_no_weights():
    model = small(step_size=0.3, sparsity=0.7)
    assert all(type(layer.ista.step_size) is float for layer in model.layers)
    assert {(layer.ista.step_size, layer.ista.sparsity) for layer in model.layers} == {(0.3, 0.7)}
    assert not [name for name in model.state_dict() if "step_size" in name or "sparsity" in name]


def test_a_new_step_size_or_sparsity_counts_at_once_and_is_exact_in_every_dtype():
    x, D = tokens(), ISTA(12).dictionary
    changed = ISTA(12)
    changed.dictionary, changed.sparsity = D, 0.7
    changed.step_size = 0.3
    casts = [changed, copy.deepcopy(changed), copy.deepcopy(changed).half().bfloat16()]
    for ista in casts:
        ista.double().dictionary.data.copy_(D)
        assert (ista.step_size, ista.sparsity) == (0.3, 0.7)
        torch.testing.assert_close(ista(x), ista_three_products(x, D.double(), 0.3, 0.7))


@pytest.mark.parametrize("head_dim", [4, 7])
def test_mssa_equals_the_papers_column_form(head_dim):
    mssa, x = MSSA(12, 3, head_dim).double(), tokens()
    U = [rows.T for rows in mssa.subspaces.weight.detach().split(head_dim)]
    for image in range(2):
        columns = mssa_columns(x[image].T, U, mssa.output.weight, mssa.output.bias)
        torch.testing.assert_close(mssa(x)[image], columns.T)


def test_mssa_leaves_the_output_matrix_out_only_for_one_full_width_head():
    assert isinstance(MSSA(12, 1, 12).output, nn.Identity)
    assert isinstance(MSSA(12, 1, 6).output, nn.Linear)
    assert isinstance(MSSA(12, 2, 6).output, nn.Linear)
    assert MSSA(12, 2, 6).output.bias is not None
    assert MSSA(12, 2, 6).subspaces.bias is None


def test_attention_map_is_the_papers_and_its_rows_sum_to_one():
    model, trace = small(), Trace(attention=True)
    model(images(2, 3, 8, 8), trace=trace)
    for layer in trace.layers:
        assert layer.attention.shape == (2, 3, 5, 5)
        torch.testing.assert_close(layer.attention.sum(-1), torch.ones(2, 3, 5).double())
        theirs = attention_columns(layer.projection[1, 2].detach().T)
        torch.testing.assert_close(layer.attention[1, 2], theirs.T)


@pytest.mark.parametrize("num_tokens", [50, 600])
def test_attention_in_bf16_is_that_in_fp32_by_either_kernel(num_tokens):
    torch.manual_seed(0)
    mssa, x = MSSA(24, 3, 8), torch.randn(2, num_tokens, 24)
    expected = mssa(x)
    with torch.autocast("cpu", torch.bfloat16):
        output = mssa(x)
        is_explicit = _fused_is_slower(mssa.project(x))
    assert is_explicit == (num_tokens == 50) and not _fused_is_slower(mssa.project(x))
    assert (output.float() - expected).norm() < 0.01 * expected.norm()


def test_explicit_attention_gives_the_logits_and_gradients_of_the_fused_one():
    x = images(2, 3, 8, 8)
    fused, explicit = small(), small()
    trace = Trace(attention=True)
    logits = explicit(x, trace=trace)
    torch.testing.assert_close(logits, fused(x))
    logits.square().sum().backward()
    fused(x).square().sum().backward()
    for ours, theirs in zip(explicit.parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_trace_changes_no_logit():
    model, x = small(), images(2, 3, 8, 8)
    assert torch.equal(model(x, trace=Trace()), model(x))


def test_a_trace_holds_every_tensor_of_every_layer_and_maps_only_on_demand():
    model, trace = small(), Trace()
    model(images(2, 3, 8, 8), trace=trace)
    first, last = trace.layers
    assert first.projection.shape == (2, 3, 5, 4)
    assert first.tokens_in.shape == first.half.shape == first.tokens_out.shape == (2, 5, 12)
    assert first.attention is None
    assert last.tokens_in is first.tokens_out
    normed = model.layers[0].norm1(first.tokens_in)
    torch.testing.assert_close(first.projection, model.layers[0].mssa.project(normed))


def test_a_trace_used_twice_holds_the_second_pass():
    model, trace = small(), Trace()
    model(images(2, 3, 8, 8), trace=trace)
    model(images(4, 3, 8, 8), trace=trace)
    assert [len(layer.half) for layer in trace.layers] == [4, 4]


def test_patches_run_row_by_row_with_values_ordered_row_column_channel():
    stem = PatchEmbedding((4, 6), (2, 3), in_chans=2, embed_dim=5)
    x = images(1, 2, 4, 6)
    expected = [
        [x[0, c, 2 * row + i, 3 * column + j] for i in range(2) for j in range(3) for c in range(2)]
        for row in range(2)
        for column in range(2)
    ]
    assert torch.equal(stem.cut(x)[0], torch.tensor(expected, dtype=torch.float64))


def test_average_pool_counts_the_cls_token():
    model, x = small(global_pool="avg"), tokens()
    expected = model.fc_norm(sum(x[:, n] for n in range(5)) / 5)
    torch.testing.assert_close(model.forward_head(x, pre_logits=True), expected)
    torch.testing.assert_close(model.forward_head(x), model.head(expected))


def test_token_pool_reads_the_cls_token_alone():
    model, x = small(), tokens()
    x_other = torch.cat([x[:, :1], torch.randn(2, 4, 12).double()], dim=1)
    assert torch.equal(model.forward_head(x), model.forward_head(x_other))


def test_cls_token_and_positions_are_drawn_with_unit_variance():
    model = CRATE(img_size=64, patch_size=4, embed_dim=384, depth=1)
    assert model.pos_embed.shape == (1, 257, 384)
    assert model.pos_embed.std().item() == pytest.approx(1, abs=0.02)
    assert model.cls_token.std().item() == pytest.approx(1, abs=0.2)


BAD = [
    ({"num_heads": 5}, "num_heads: given 5, allowed a divisor of embed_dim 12"),
    ({"patch_size": 3}, "patch_size: given 3 x 3, allowed whatever divides img_size 8 x 8"),
    ({"img_size": (8, 9)}, "patch_size: given 4 x 4, allowed whatever divides img_size 8 x 9"),
    ({"img_size": (8, 8, 8)}, "img_size: given (8, 8, 8), allowed pixels >= 1, one number or"),
    ({"patch_size": 0}, "patch_size: given 0, allowed pixels >= 1"),
    ({"global_pool": "map"}, "global_pool: given 'map', allowed token or avg"),
    ({"global_pool": None}, "global_pool: given None, allowed token or avg"),
    ({"step_size": 0}, "step_size: given 0, allowed above 0"),
    ({"step_size": float("nan")}, "step_size: given nan, allowed above 0"),
    ({"sparsity": -0.1}, "sparsity: given -0.1, allowed 0 or more"),
    ({"depth": 0}, "depth: given 0, allowed 1 or more"),
    ({"num_heads": 0}, "num_heads: given 0, allowed 1 or more"),
    ({"head_dim": 0}, "head_dim: given 0, allowed 1 or more"),
    ({"num_classes": -1}, "num_classes: given -1, allowed 0"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message[:28] for _, message in BAD])
def test_impossible_arguments_are_refused_with_what_was_given_and_what_is_allowed(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        small(**changes)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 3, 16, 8), (2, 1, 8, 8), (3, 8, 8)])
def test_images_of_another_size_are_refused_with_what_to_do(shape):
    given = " x ".join(map(str, shape[1:]))
    with pytest.raises(ValueError, match=f"given {given}, allowed 3 x 8 x 8 .*resize.*img_size"):
        small()(images(*shape))


def crate_imports(folder: str) -> set[str]:
    """Return the parts of the package that the modules of a folder import anywhere."""
    names = set()
    for path in (PACKAGE / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                names.add(node.module)
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("crate.")}


def test_model_and_measures_import_no_other_part_and_the_package_imports_nothing():
    assert crate_imports("model") == {"model"}
    assert crate_imports("measures") == {"measures"}
    assert "import" not in (PACKAGE / "__init__.py").read_text()
