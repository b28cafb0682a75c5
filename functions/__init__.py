"""The triggers: decode, delegate to one step, emit its report."""
