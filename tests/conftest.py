"""Settings that hold for every test."""

from __future__ import annotations

import os
import signal
from itertools import product
from pathlib import Path

# Two test processes share two cores; this has to be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A suite in the background, or under nohup, inherits ignored signals; what it starts must not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from crate.config import schema
from crate.data.published import PUBLISHED
from crate.paths import CONF
from tests import made

schema.register()


@pytest.fixture
def composed():
    """Return a function that composes as the command line: composed("model=crate_tiny") -> cfg."""

    def compose_with(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", overrides=list(overrides))

    return compose_with


@pytest.fixture(scope="session")
def fashion_mnist() -> Path:
    """Return the folder of Debian's package dataset-fashion-mnist."""
    published = PUBLISHED["fashion_mnist"]
    assert published.system_folder is not None
    if published.missing(published.system_folder) and "REQUIRE_PACKAGES" not in os.environ:
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    return published.system_folder


@pytest.fixture(scope="session")
def roots(tmp_path_factory):
    """Return trees with as many classes as the published sets, of crops of two real photographs."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    folder = tmp_path_factory.mktemp("roots")
    for name, classes in (("imagefolder", 3), ("imagenet100", 100), ("imagenet1k", 1000)):
        for split, number in product(("train", "val"), range(classes)):
            class_folder = folder / name / split / f"n{number:08d}"
            class_folder.mkdir(parents=True)
            left = number % 500
            photograph = photographs[number % 2].crop((left, left // 4, left + 80, left // 4 + 60))
            photograph.save(class_folder / "photograph.JPEG", quality=80)
    roots = {name: folder / name for name in ("imagefolder", "imagenet100", "imagenet1k")}
    with pytest.MonkeyPatch.context() as patch:
        for name, make in made.MAKERS.items():
            make(folder / name, photographs)
            made.trust(patch, name, folder / name)
            roots[name] = folder / name
        yield roots
