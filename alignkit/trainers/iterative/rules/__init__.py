"""What each method sets in the loop: one module per method, with its configuration and its `Rule`."""
