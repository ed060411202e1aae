"""What keeps subscriptions and publications going, and takes orders: supervisor, control API."""
