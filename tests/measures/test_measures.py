"""The measures equal the papers' formulas in column form."""

from __future__ import annotations

import math

import pytest
import torch

from crate.measures import coding_rate, nonzero_fraction
from tests.formulas import coding_rate_columns


def projections(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(3, 2, 9, 4), (2, 1, 3, 8)], ids=["N > p", "N < p"])
@pytest.mark.parametrize("eps_squared", [0.01, 0.5])
def test_coding_rate_equals_the_papers_column_form(shape, eps_squared):
    V = projections(*shape)
    expected = [coding_rate_columns([head.T for head in image], eps_squared) for image in V]
    rates = coding_rate(V, eps_squared)
    torch.testing.assert_close(rates, torch.tensor(expected, dtype=torch.float64))


def test_coding_rate_ignores_the_length_of_tokens():
    V = projections(2, 3, 7, 4)
    lengths = projections(2, 3, 7, 1).abs() + 1e-30
    torch.testing.assert_close(coding_rate(V * lengths * 1e-20), coding_rate(V))


def test_a_zero_token_contributes_nothing_and_all_zeros_have_rate_zero():
    V = projections(1, 2, 6, 4)
    V[0, :, 2] = 0
    expected = coding_rate_columns([head.T for head in V[0]], 0.01)
    assert coding_rate(V).item() == pytest.approx(expected, abs=1e-10)
    assert coding_rate(torch.zeros(2, 3, 5, 4)).tolist() == [0, 0]


def test_gradient_of_the_coding_rate_is_finite_at_a_zero_token():
    V = projections(1, 2, 6, 4)
    V[0, :, 2] = 0
    V.requires_grad_()
    coding_rate(V).sum().backward()
    assert V.grad.isfinite().all()


def test_coding_rate_reaches_its_upper_bound_and_never_passes_it():
    heads, head_dim = 3, 4
    bound = heads * head_dim / 2 * math.log(101)
    orthogonal = torch.eye(head_dim).repeat(1, heads, 5, 1)  # each direction equally often
    assert coding_rate(orthogonal).item() == pytest.approx(bound, rel=1e-12)
    assert (coding_rate(projections(20, heads, 50, head_dim)) < bound).all()


@pytest.mark.parametrize(
    ("size", "heads", "head_dim", "bound"),
    [("T", 6, 64, 886), ("S", 12, 48, 1329), ("B", 12, 64, 1772)],
)
def test_upper_bounds_of_the_published_sizes(size, heads, head_dim, bound):
    orthogonal = torch.eye(head_dim).expand(1, heads, -1, -1)
    assert round(coding_rate(orthogonal).item()) == bound


def test_coding_rate_is_computed_in_float64_whatever_is_given():
    V = projections(2, 3, 7, 4).bfloat16()
    assert coding_rate(V).dtype == torch.float64
    assert torch.equal(coding_rate(V), coding_rate(V.double()))


def test_nonzero_fraction_counts_entries_that_are_not_exactly_zero():
    tokens = torch.zeros(3, 4, 5)
    tokens[1, 0, :3] = torch.tensor([1.0, -1.0, 1e-30])
    tokens[2] = 7
    assert nonzero_fraction(tokens).tolist() == [0, 3 / 20, 1]


def test_measures_refuse_tensors_of_another_form():
    with pytest.raises(ValueError, match="projections: given 3 dimensions, allowed 4"):
        coding_rate(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="eps_squared: given 0, allowed above 0"):
        coding_rate(torch.zeros(1, 2, 3, 4), eps_squared=0)
    with pytest.raises(ValueError, match="tokens: given 2 dimensions, allowed 3"):
        nonzero_fraction(torch.zeros(2, 3))
