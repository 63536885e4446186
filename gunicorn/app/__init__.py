"""The doors: commands, and the base classes of custom applications."""
