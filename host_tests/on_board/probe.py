"""Passes and fails on purpose, for test_interpreters.py; its name keeps it from being collected."""

import vectors

SLOW = ("test_bad",)


def test_good():
    print("seen")


def test_bad():
    raise AssertionError("one is not two")


def test_vectors():
    assert vectors.load("package-es256.json")


def test_firmware():
    from ota import errors

    assert errors.OtaError
