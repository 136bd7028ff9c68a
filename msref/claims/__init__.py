"""The claims of the papers as experiments that anybody can run."""
