"""A launch of a sweep: check, freeze, plan or record, hand over, wait."""
