"""Configuration: the typed tree, its checks, its identity, and errors a user can act on.

Imports no torch: composing, checking and hashing a configuration take milliseconds.
"""
