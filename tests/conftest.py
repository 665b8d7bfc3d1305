"""Settings that hold for every test."""

from __future__ import annotations

import os

# Two test processes share two cores; this has to be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from crate.config import schema
from crate.config.commandline import CONF

schema.register()


@pytest.fixture
def composed():
    """Composes a configuration as the command line would: composed("model=crate_tiny") -> cfg."""

    def compose_with(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", overrides=list(overrides))

    return compose_with
