"""What a composed configuration is checked for; `crate.config.check.typed` runs all of it."""
