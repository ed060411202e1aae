"""systemd: telling it how the service is doing, and the units that it is started by."""
