"""Evaluators: functions that measure a model on a split, while it trains and afterwards."""
