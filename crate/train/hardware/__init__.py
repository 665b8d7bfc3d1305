"""The device: which one, in which arithmetic, with compiled layers or a trace of its costs."""
