"""Fails in the image that is to fail it."""

import behaviour


def run():
    """Called by boot.py on the first start of a new image."""
    if behaviour.name() == "self_test":
        raise ValueError("this image fails its self-test on purpose")
