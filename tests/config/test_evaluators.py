"""A user's own evaluators are typed nodes, and their mistakes are reported before a run starts."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from crate.config.check import typed
from crate.config.own import stored_key
from crate.config.schema import Evaluator, dump, restore
from crate.config.signature import signature
from crate.errors import UserError

OWN = "+evaluators.knn._target_=tests.config.test_evaluators.measure"


def measure(model, batches, ranks, k=5, metric="cosine"):
    return {"top1": 0.0}


def test_keys_beyond_the_schema_are_arguments(composed):
    config = typed(composed(OWN, "+evaluators.knn.k=20", "+evaluators.knn.every_epochs=3"))
    target = "tests.config.test_evaluators.measure"
    assert config.evaluators == {"knn": Evaluator(target, {"k": 20}, "val", 3)}
    nested = typed(composed(OWN, "+evaluators.knn.kwargs.k=20", "+evaluators.knn.every_epochs=3"))
    assert config == nested and signature(config) == signature(nested)


def test_an_evaluator_is_part_of_a_runs_identity_and_none_leaves_no_mark(composed):
    without, with_one = typed(composed()), typed(composed(OWN))
    assert signature(without) != signature(with_one)
    with_one.evaluators = {}
    assert signature(without) == signature(with_one)


def test_a_stored_configuration_brings_its_evaluators(composed):
    config = typed(composed(OWN, "+evaluators.knn.k=20"))
    assert typed(restore(dump(config))) == config
    read = OmegaConf.to_object(restore(dump(config)))  # as a job of a sweep reads its point
    assert read == config and signature(read) == signature(config)
    stored = dump(config)
    del stored["evaluators"]  # as in the checkpoints of earlier versions
    assert typed(restore(stored)).evaluators == {}


def test_an_argument_of_a_stored_evaluator_can_be_overridden(composed):
    tree = restore(dump(typed(composed(OWN, "+evaluators.knn.k=20"))))
    for key in ("evaluators.knn.k", "evaluators.knn.metric"):
        assert stored_key(tree, key) == key.replace("knn.", "knn.kwargs.")
    assert stored_key(tree, "evaluators.knn.split") == "evaluators.knn.split"
    assert stored_key(tree, "evaluators.other.k") == "evaluators.other.k"
    OmegaConf.update(tree, stored_key(tree, "evaluators.knn.k"), 7, force_add=True)
    assert typed(tree).evaluators["knn"].kwargs == {"k": 7}


@pytest.mark.parametrize(
    ("typed_words", "message"),
    [
        (["+evaluators.knn=my.function"], "evaluators.knn names no function(.|\n)*\\+evaluators"),
        (["+evaluators.knn.k=3"], "evaluators.knn names no function"),
        (["+evaluators.val._target_=a.b"], "evaluators.val has no usable name"),
        ([OWN, "+evaluators.knn.split=test"], "evaluators.knn.split=test is unknown"),
        ([OWN, "+evaluators.knn.every_epochs=0"], "every_epochs=0 is out of range"),
        ([OWN, "+evaluators.knn.every_epochs=x"], "evaluators.knn: .*'x'"),
        ([OWN, "+evaluators.knn.kk=3"], "measure does not take kk(.|\n)*allowed: k, metric"),
        ([OWN, "+evaluators.knn.k=3", "+evaluators.knn.kwargs.k=4"], "are the same argument"),
        (["+evaluators.knn._target_=no_such.function"], "no_such.function cannot be imported"),
    ],
)
def test_mistakes_are_named(composed, typed_words, message):
    with pytest.raises(UserError, match=message):
        typed(composed(*typed_words))
