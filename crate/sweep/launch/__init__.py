"""One launch: plan, freeze, hand over, wait."""
