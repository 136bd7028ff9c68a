"""Independent witnesses for every gradient, and the report on them."""
