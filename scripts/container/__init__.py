"""What `check_dockerfile.py` is made of: the Dockerfile as data, and its steps in a changed root."""
