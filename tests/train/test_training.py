"""Each part of training equals torch's or its formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crate.config.check import typed
from crate.config.schema import pair
from crate.config.target import call
from crate.data.loading.loader import eval_batches, train_batches
from crate.data.loading.prefetch import on_device
from crate.data.splits import load_split
from crate.data.transforms import training
from crate.errors import UserError
from crate.model import CRATE
from crate.ranks import Ranks
from crate.train.evaluation.accuracy import accuracy
from crate.train.hardware.device import resolve_device, resolve_precision
from crate.train.optimizers.optimizer import build_optimizer, parameter_groups, set_lr
from crate.train.schedule import authors, cosine
from crate.train.setup import build
from crate.train.step import backward
from tests.launching import TINY, launch, metrics, run_folder

CPU = torch.device("cpu")


def setup_of(composed, *overrides):
    config = typed(composed(*TINY, "precision=fp32", "device=cpu", *overrides))
    return config, build(config, {})


def batch(config, size=13):
    side = config.data.img_size
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, 1, side, side), generator=draw, dtype=torch.uint8)
    return images, torch.randint(0, 10, (size,), generator=draw)


def loss_of(config, setup, images, labels):
    """Return the loss of the batch at step 0; add its gradient to the model's."""
    images, labels = images.to(setup.device), labels.to(setup.device)
    return backward(config.train, setup, setup.learner.model, images, labels, step=0)


def gradients(model):
    return [weight.grad.clone() for weight in model.parameters()]


@pytest.mark.parametrize("parts", [2, 3, 5, 13])
def test_accumulating_parts_of_uneven_size_gives_the_whole_batchs_gradient(composed, parts):
    config, setup = setup_of(composed, "train.batch_size=13")
    images, labels = batch(config)
    whole = loss_of(config, setup, images, labels)
    expected = gradients(setup.learner.model)
    setup.learner.model.zero_grad()
    config.train.accumulation_steps = parts
    assert torch.allclose(loss_of(config, setup, images, labels), whole, atol=1e-6)
    for ours, theirs in zip(gradients(setup.learner.model), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_loss_is_torchs_cross_entropy_with_label_smoothing(composed):
    config, setup = setup_of(composed, "train.label_smoothing=0.2", "train.batch_size=13")
    images, labels = batch(config)
    logits = setup.learner.model(setup.images.normalize(images))
    expected = nn.CrossEntropyLoss(label_smoothing=0.2)(logits, labels)
    assert torch.allclose(loss_of(config, setup, images, labels), expected)


def test_clipping_really_clips_and_null_is_off(tmp_path):
    def losses(*arguments):
        outputs = tmp_path / str(len(list(tmp_path.iterdir())))
        common = ("optimizer=sgd", "optimizer.lr=0.05", "train.epochs=1", "precision=fp32")
        done = launch(*TINY, *common, *arguments, f"outputs={outputs}")
        assert done.returncode == 0, done.stderr
        return [row["train/loss"] for row in metrics(run_folder(outputs)) if "train/loss" in row]

    free, loose, tight = losses(), losses("train.clip_norm=1e6"), losses("train.clip_norm=1e-6")
    assert free == loose, "a bound that is never met changes nothing"
    assert free[-1] < free[0] - 0.01 and abs(tight[-1] - free[0]) < abs(free[-1] - free[0])


def test_decay_reaches_every_weight_or_none_of_norms_biases_cls_and_positions():
    model = CRATE(16, 8, 1, 10, 16, 2, 2)
    (everything,) = parameter_groups(model, 0.3, decay_all=True)
    assert len(everything["params"]) == len(list(model.parameters()))
    decayed, free = parameter_groups(model, 0.3, decay_all=False)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    names = {id(weight): name for name, weight in model.named_parameters()}
    assert {names[id(weight)] for weight in decayed["params"]} == {
        "patch_embed.proj.weight",
        "head.weight",
        *(f"layers.{i}.mssa.subspaces.weight" for i in range(2)),
        *(f"layers.{i}.mssa.output.weight" for i in range(2)),
        *(f"layers.{i}.ista.dictionary" for i in range(2)),
    }
    assert len(decayed["params"]) + len(free["params"]) == len(names)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("lion", "Lion"), ("adamw", "AdamW"), ("adam", "Adam"), ("sgd", "SGD")],
)
def test_every_optimizer_takes_its_options(composed, name, kind):
    overrides = ["optimizer.lr=0.01", "optimizer.weight_decay=0.2"]
    if name != "sgd":
        overrides.append("optimizer.betas=[0.8,0.95]")
    _, setup = setup_of(composed, f"optimizer={name}", *overrides)
    group = setup.learner.optimizer.param_groups[0]
    assert type(setup.learner.optimizer).__name__ == kind
    assert group["lr"] == 0.01 and group["weight_decay"] == 0.2
    assert name == "sgd" or group["betas"] == (0.8, 0.95)


def test_cosine_warms_up_linearly_then_falls_to_zero_per_step():
    factor = cosine(total_steps=100, steps_per_epoch=10, warmup_epochs=2)
    assert [factor(step) for step in (0, 9, 19)] == [1 / 20, 0.5, 1.0]
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer := torch.optim.SGD([torch.zeros(1)], lr=1.0), T_max=80
    )
    for step in range(20, 100):
        assert math.isclose(factor(step), torchs.get_last_lr()[0], abs_tol=1e-9)
        optimizer.step()
        torchs.step()


def test_the_authors_factor_is_their_formula_once_per_epoch():
    factor = authors(total_steps=2000, steps_per_epoch=10, warmup_epochs=20)
    for epoch in range(200):
        expected = min((epoch + 1) / 20, 0.5 * (1 + math.cos(math.pi * epoch / 200)))
        assert factor(10 * epoch) == factor(10 * epoch + 9) == expected


def test_the_rate_of_every_group_follows_the_factor(composed):
    config, setup = setup_of(composed, "train.decay_all=false")
    optimizer = setup.learner.optimizer
    assert set_lr(optimizer, 0.25) == 0.25 * config.optimizer.lr
    set_lr(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5 * config.optimizer.lr}


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_evaluation_is_exact_whatever_the_batch(composed, batch_size):
    config, setup = setup_of(composed)
    images = load_split(config.data, "val")
    normalize, transform = setup.images.normalize, setup.images.transform
    batches = eval_batches(images, transform, batch_size=batch_size, workers=0)
    batches = ((normalize(images), labels) for images, labels in batches)
    metrics = accuracy(setup.learner.model.eval(), batches, Ranks())
    correct1 = correct5 = 0
    loss = 0.0
    with torch.no_grad():
        for image, label in (images[index] for index in range(len(images))):
            logits = setup.learner.model(normalize(transform(image)[None]))[0]
            ranked = logits.argsort(descending=True).tolist()
            correct1 += ranked[0] == label
            correct5 += label in ranked[:5]
            loss += F.cross_entropy(logits.double(), torch.tensor(label)).item()
    assert metrics["top1"] == 100 * correct1 / 360
    assert metrics["top5"] == 100 * correct5 / 360
    assert math.isclose(metrics["loss"], loss / 360, rel_tol=1e-6)


def test_top5_of_two_classes_is_all_of_them():
    batches = [(torch.zeros(4, 1, 1, 1), torch.tensor([0, 1, 0, 1]))]
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    assert accuracy(model, batches, Ranks())["top5"] == 100.0


def test_auto_precision_is_native_or_fp32():
    assert resolve_precision("auto", CPU) in ("bf16", "fp32")
    assert resolve_precision("fp32", CPU) == "fp32"
    with pytest.raises(UserError, match="device=cuda:7"):
        resolve_device("cuda:7")


def test_a_target_that_refuses_its_arguments_says_so(composed):
    config = typed(composed())
    config.model.img_size = 15
    with pytest.raises(UserError, match="crate.model.CRATE: .*15 x 15"):
        call(config.model)


@pytest.mark.parametrize("augment", ["flip_crop", "mixup_cutmix"])
def test_a_step_whose_crops_the_device_resizes_is_the_one_whose_worker_did(composed, augment):
    config, setup = setup_of(composed, f"augment={augment}")
    crop = call(config.augment, img_size=pair(config.data.img_size))
    train_images, losses = setup.images.splits["train"], []
    for transform in (setup.train_transform, training(config.data, crop, resize_on_device=True)):
        batches = train_batches(
            train_images,
            transform,
            batch_size=64,
            seed=0,
            start=0,
            stop=1,
            workers=0,
        )
        for images, labels in on_device(batches, CPU):
            losses.append(loss_of(config, setup, images, labels))
    assert torch.allclose(*losses, atol=1e-3) and not torch.equal(*losses)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_step_on_a_gpu_follows_the_cpus(composed):
    config, setup = setup_of(composed)
    images, labels = batch(config)
    on_cpu = loss_of(config, setup, images, labels)
    config = typed(composed(*TINY, "precision=fp32", "device=cuda"))
    assert torch.allclose(
        loss_of(config, build(config, {}), images, labels).cpu(), on_cpu, atol=1e-4
    )


def test_building_an_optimizer_remembers_its_peak_rate(composed):
    config, setup = setup_of(composed)
    optimizer = build_optimizer(config.optimizer, setup.learner.model, decay_all=True)
    assert optimizer.param_groups[0]["initial_lr"] == config.optimizer.lr
