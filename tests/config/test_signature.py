"""A signature is stable over versions, and only a change that can change a result changes it."""

from __future__ import annotations

import copy
from dataclasses import fields, is_dataclass

import pytest

from crate.config import schema
from crate.config.check import typed
from crate.config.signature import signature
from crate.data import facts
from crate.data.completion import complete
from crate.tasks.identity import file_hash

# Written down once: a change here makes every finished run of every user a stranger.
GOLDEN = {
    (): "7d8ee2a4f211",
    ("model=crate_tiny", "data=digits", "optimizer=lion"): "79b2cadd51d9",
    ("model=vit_small", "schedule=authors", "augment=flip_crop", "seed=3"): "99b7fb7cbf18",
    (
        "optimizer=sgd",
        "train.clip_norm=1",
        "deterministic=true",
        "model.patch_size=[4,2]",
    ): "eabf14b90e1f",
}

# Every field by its path, on the side where it belongs.
IDENTITY = set(
    """
    seed deterministic precision evaluators objective.metric objective.direction
    train.epochs train.batch_size train.clip_norm train.ema train.label_smoothing train.decay_all
    model._target_ model.kwargs model.img_size model.in_chans model.num_classes model.patch_size
    model.embed_dim model.depth model.num_heads model.global_pool model.head_dim model.step_size
    model.sparsity model.compression model.sparsifier
    optimizer._target_ optimizer.kwargs optimizer.lr optimizer.weight_decay optimizer.betas
    optimizer.eps optimizer.momentum optimizer.nesterov
    data._target_ data.kwargs data.img_size data.in_chans data.num_classes data.mean data.std
    data.crop_pct data.val_fraction data.published data.on_corrupt data.cache_px
    schedule._target_ schedule.kwargs schedule.warmup_epochs
    augment._target_ augment.kwargs augment.mixup augment.cutmix augment.min_scale augment.flip_prob
    augment.num_ops augment.magnitude augment.fill
    """.split()
)
NOT_IDENTITY = set(
    """
    task device ranks sweep name resume rerun other_code other_data
    init_from checkpoint outputs export_to
    train.accumulation_steps train.log_every_steps train.checkpoint_every_steps
    train.checkpoint_every_min train.keep train.profile train.compile train.recompute
    model.allow_long
    data.root data.download data.workers data.cache data.suggested.patch_size
    data.suggested.epochs
    data.suggested.batch_size data.suggested.warmup_epochs
    tracker._target_ tracker.kwargs tracker.project tracker.entity tracker.mode tracker.group
    tracker.job_type tracker.tags tracker.name tracker.swept tracker.published tracker.queue_size
    tracker.finish_timeout_s
    """.split()
)


def leaves(node, at=""):
    for entry in fields(node):
        value = getattr(node, entry.name)
        if is_dataclass(value):
            yield from leaves(value, f"{at}{entry.name}.")
        else:
            yield f"{at}{entry.name}"


def changed(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [changed(value[0]), *value[1:]] if value else ["another"]
    if isinstance(value, dict):
        return {"another": 1}
    return "another" if value is None else f"{value}_"


def configurations(composed):
    """Return one configuration for each typed node, so that every field of the schema occurs."""
    base = typed(composed())
    yield base
    for group, nodes in schema.SCHEMAS.items():
        for node in nodes:
            config = copy.deepcopy(base)
            values = {
                entry.name: 8 if str(value).startswith(("???", "${")) else copy.deepcopy(value)
                for entry in fields(node)
                for value in [getattr(node(), entry.name)]
            }
            setattr(config, group, node(**values))
            yield config


def test_golden_hashes(composed):
    hashes = {key: signature(typed(composed(*key))) for key in GOLDEN}
    assert hashes == GOLDEN


def test_every_field_is_on_its_side(composed):
    moved, stayed = set(), set()
    for config in configurations(composed):
        before = signature(config)
        for path in leaves(config):
            other = copy.deepcopy(config)
            *parents, name = path.split(".")
            node = other
            for parent in parents:
                node = getattr(node, parent)
            value = getattr(node, name)
            sized = name in ("img_size", "patch_size") and "suggested" not in path
            setattr(node, name, 99 if sized else changed(value))
            (moved if signature(other) != before else stayed).add(path)
    assert moved == IDENTITY
    assert stayed == NOT_IDENTITY


def test_a_size_and_its_square_pair_are_the_same(composed):
    one, two = typed(composed("model.patch_size=4")), typed(composed("model.patch_size=[4,4]"))
    assert signature(one) == signature(two)


def test_a_field_added_later_at_its_neutral_value_changes_no_hash(composed):
    from dataclasses import dataclass

    @dataclass
    class Later(schema.Train):
        later: float | None = schema.option(None, "a field of the future", neutral=None)

    config = typed(composed())
    before = signature(config)
    values = {entry.name: getattr(config.train, entry.name) for entry in fields(config.train)}
    config.train = Later(**values)
    assert signature(config) == before
    config.train = Later(**values, later=0.99)
    assert signature(config) != before


def test_how_a_configuration_was_typed_does_not_matter(composed):
    sizes = ("model.embed_dim=384", "model.depth=12", "model.num_heads=6")
    spelt = typed(composed(*sizes, "model.global_pool=token"))
    assert signature(spelt) == signature(typed(composed("model=crate_tiny")))


def test_a_folders_identity_is_its_classes_files_and_bytes(composed, tmp_path):
    def tree(name, content=b"1234", extra=()):
        for split in ("train", "val"):
            for label in ("cat", "dog", *extra):
                folder = tmp_path / name / split / label
                folder.mkdir(parents=True)
                (folder / "image.jpg").write_bytes(content)
        cfg = composed("data=imagefolder", f"data.root={tmp_path / name}")
        assert not complete(cfg)
        config = typed(cfg)
        return signature(config, facts.identity(config.data))

    here = tree("here")
    assert here == tree("moved elsewhere")
    assert here != tree("longer", b"12345")
    assert here != tree("another class", extra=("emu",))


def test_initial_weights_count_by_content(composed, tmp_path):
    (tmp_path / "a.pt").write_bytes(b"weights")
    (tmp_path / "b.pt").write_bytes(b"weights")
    (tmp_path / "c.pt").write_bytes(b"others")
    config = typed(composed())
    a, b, c = (signature(config, None, file_hash(tmp_path / f"{name}.pt")) for name in "abc")
    assert a == b != c and a != signature(config)


@pytest.mark.parametrize("key", ["train.epochs=3", "model.sparsity=0.2", "seed=1"])
def test_what_changes_a_result_changes_the_hash(composed, key):
    assert signature(typed(composed(key))) != signature(typed(composed()))
