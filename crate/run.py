def run(cfg, choices, overrides):
    from crate.config import check
    c = check.typed(cfg); print(c)
    from crate.config.signature import signature
    print(signature(c))
