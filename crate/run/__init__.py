"""One run folder: what it holds, who owns it, and where its result comes from. Imports no torch."""
