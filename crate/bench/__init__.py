"""`python -m crate.bench`: how fast each part is, beside a reference, in one run."""
