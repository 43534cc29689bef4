"""What all stores in SQL have in common: what their rows mean, and what a scope asks of them."""
