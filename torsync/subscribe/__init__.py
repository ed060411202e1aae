"""One cycle of a subscription: poll, look, plan, stage, fetch, commit, clean."""
