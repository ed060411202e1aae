"""What keeps subscriptions going: configuration file, supervisor."""
