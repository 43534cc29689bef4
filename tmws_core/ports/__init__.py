"""What the core needs from the world, in its own words."""
